# SPDX-License-Identifier: MIT
"""A small program that turns sequences into vectors, as a target of its own, with a knob for each thing it does wrong.

It needs PyTorch only for the faults that are PyTorch's. `make` is its factory.
"""

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from multiprocessing import resource_tracker, shared_memory
from pathlib import Path

import numpy as np

from virnuc_profiler import pack_statistics
from virnuc_profiler.targets.knobs.knob import ChoiceKnob, IntegerKnob

HELD = []
"""What faults keep open in this process on purpose."""

FAULT_AT = 2
"""Batch before which a fault happens, from 0."""


def out_of_device_memory():
    import torch

    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 60.00 GiB")


def out_of_host_memory():
    raise MemoryError("Unable to allocate 60 GiB")


def be_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def hang():
    print("about to hang", flush=True)
    time.sleep(600)


def raise_an_error():
    raise LookupError("the moon is full")


def exit_at_once():
    os._exit(7)


def call_sys_exit():
    print("nothing left to do")
    sys.exit(3)


def leave_a_process():
    HELD.append(subprocess.Popen(["sleep", "600"]))


def leave_a_segment():
    segment = shared_memory.SharedMemory(create=True, size=100)
    resource_tracker.unregister(f"/{segment.name}", "shared_memory")  # or the tracker would remove it in the end
    segment.close()


def leave_files_open():
    HELD.extend(tempfile.NamedTemporaryFile(prefix="left_open_") for _ in range(3))  # noqa: SIM115


def print_a_lot():
    print("a line of Python")
    print("a line on stderr", file=sys.stderr)
    os.write(1, b"a line of compiled code\n")
    subprocess.run(["echo", "a line of a child"], check=True)


def change_the_process():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    multiprocessing.set_start_method("spawn", force=True)
    os.chdir("/")


def _die(_item):
    os.kill(os.getpid(), signal.SIGKILL)


class _Deadly:
    """A data set whose worker is killed over its second item."""

    def __len__(self):
        return 8

    def __getitem__(self, item):
        if item:
            _die(item)
        return item


def lose_a_loader_worker():
    import torch

    list(torch.utils.data.DataLoader(_Deadly(), batch_size=1, num_workers=1))


class _Failing(_Deadly):
    def __getitem__(self, item):
        raise LookupError("the moon is full")


def fail_in_a_loader_worker():
    import torch

    list(torch.utils.data.DataLoader(_Failing(), batch_size=1, num_workers=1))


def lose_a_pool_worker():
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1) as pool:
        list(pool.map(_die, range(2)))


DURING = {
    "oom_device": out_of_device_memory,
    "oom_host": out_of_host_memory,
    "killed": be_killed,
    "hang": hang,
    "error": raise_an_error,
    "exit": exit_at_once,
    "sys_exit": call_sys_exit,
    "leaves_process": leave_a_process,
    "leaves_segment": leave_a_segment,
    "leaves_files": leave_files_open,
    "prints": print_a_lot,
    "changes_process": change_the_process,
    "loader_worker": lose_a_loader_worker,
    "loader_error": fail_in_a_loader_worker,
    "pool_worker": lose_a_pool_worker,
}
"""What happens before the third batch, by the value of the knob."""

FAULTS = (
    "none", *DURING, "too_few", "too_many", "no_batches", "no_packing", "yields_text", "no_iterator", "ends_early",
    "endless",
)  # fmt: skip


class ToyTarget:
    """Pads batches of `batch_size` sequences, and does nothing with them."""

    min_packing = None

    def __init__(self, options):
        self.options = options
        self.closed = False

    def describe(self):
        return {
            "name": "toy",
            "model_name": "none",
            "precision": self.options.precision or "fp32",
            "versions": {"toy": "1"},
        }

    def knobs(self):
        return [
            IntegerKnob(name="batch_size", default=8, low=1, high=512, tries=(4, 8), help="sequences of a batch"),
            ChoiceKnob(name="fault", default="none", choices=FAULTS, help="what goes wrong"),
        ]

    def run(self, workload, configuration, profiler):
        fault = configuration.fault
        if fault == "no_iterator":
            return None
        return self._batches(workload, configuration.batch_size, fault, profiler)

    def _batches(self, workload, size, fault, profiler):
        records = list(workload.records())
        if fault in ("too_few", "ends_early"):
            records = records[: len(records) // 2]
        if fault == "too_many":
            records = [*records, *records[:3]]
        batches = [records[start : start + size] for start in range(0, len(records), size)]
        if fault == "endless":
            batches = itertools.cycle(batches)
        for number, batch in enumerate(batches if fault == "no_batches" else profiler.batches(batches)):
            if number == FAULT_AT and fault in DURING:
                DURING[fault]()
            lengths = np.array([len(residues) + 2 for _, residues in batch], dtype=np.int32)
            if fault not in ("no_batches", "no_packing"):
                ends = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
                profiler.current_batch.set_packing(pack_statistics(ends, int(len(batch) * lengths.max())))
                with profiler.stage("forward"):
                    time.sleep(1e-6 * int(lengths.sum()))
            yield "a batch" if fault == "yields_text" and number == FAULT_AT else len(batch)

    def close(self):
        self.closed = True


def make(options):
    return ToyTarget(options)


FILE = Path(__file__)
