# SPDX-License-Identifier: MIT
"""A model process with real trials, whose workers fail in the way that the prefetch factor selects."""

import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress
from enum import IntEnum

import torch

from tests.support.faulty_model import FaultyModel
from virnuc_profiler.inference.sequences.dataset import SequenceDataset
from virnuc_profiler.sweep.trial.run import measure_configuration
from virnuc_profiler.sweep.worker import child
from virnuc_profiler.targets import builtin_source


class WorkerFault(IntEnum):
    NONE = 4
    ONE_KILLED = 201
    ALL_KILLED = 202
    ONE_STOPPED = 203
    BLOCKS = 204
    RAISES = 205


class Raising(SequenceDataset):
    def __iter__(self):
        raise ValueError("a bad record")


class Blocking(SequenceDataset):
    def __iter__(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
        yield from ()


SIGNALS = {  # number of workers that get the signal, and the signal
    WorkerFault.ONE_KILLED: (1, signal.SIGKILL),
    WorkerFault.ALL_KILLED: (None, signal.SIGKILL),
}
STOPPED_S = 8.0
"""Seconds after which a stopped worker continues."""
DATASETS = {WorkerFault.RAISES: Raising, WorkerFault.BLOCKS: Blocking}


class FaultyWorkers(FaultyModel):
    def run_trial(self, workload, configuration, output_dir, on_progress=None, on_tokens=None, brief=False):
        fault = configuration.prefetch_factor
        builtin_source.SequenceDataset = DATASETS.get(fault, SequenceDataset)

        stopped = []

        def model(tokens, cu_seqlens, max_seqlen):
            workers = [process.pid for process in multiprocessing.active_children()]
            if fault == WorkerFault.ONE_STOPPED and not stopped:
                stopped.append(workers[0])
                os.kill(workers[0], signal.SIGSTOP)
                threading.Timer(STOPPED_S, os.kill, (workers[0], signal.SIGCONT)).start()
            if fault in SIGNALS:
                hit, number = SIGNALS[fault]
                for pid in workers[:hit]:
                    with suppress(ProcessLookupError):  # an earlier batch killed it, and it was reaped
                        os.kill(pid, number)
            return torch.ones(len(tokens), 4)

        return measure_configuration(
            configuration.replace(prefetch_factor=1), workload.path, output_dir, model, "cpu",
            cooldown_s=0.0, on_progress=on_progress,
        )  # fmt: skip


def main(*arguments):
    """Entry point that the supervisor starts."""
    child.main(*arguments, make_model=FaultyWorkers)
