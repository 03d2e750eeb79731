# SPDX-License-Identifier: MIT
"""Datasets with a fault in the middle of a run, and trials that run them."""

import ctypes
import mmap
import os
import resource
import signal
import socket
import subprocess
import tempfile
from multiprocessing import resource_tracker, shared_memory
from pathlib import Path

import torch
from torch.utils.data import get_worker_info

from virnuc_profiler.inference.sequences.dataset import SequenceDataset
from virnuc_profiler.sweep.trial.single_gpu_benchmark import run_single_gpu_benchmark
from virnuc_profiler.targets import builtin_source

HELD: list = []
"""Objects that faults keep open in this process on purpose."""


class FaultySequences(SequenceDataset):
    """A `SequenceDataset` whose worker 0 (or this process, without workers) calls `fault` before the second chunk."""

    fault = None
    in_all_workers = False

    def __iter__(self):
        worker = get_worker_info()
        for number, chunk in enumerate(super().__iter__()):
            if number == 1 and (worker is None or worker.id == 0 or self.in_all_workers):
                self.fault()
            yield chunk


class Model:
    """Returns vectors of size 4 and keeps no memory."""

    def __call__(self, tokens, cu_seqlens, max_seqlen):
        return torch.ones(len(tokens), 4)


def write_fasta(folder: Path, count: int = 3000) -> Path:
    path = folder / "many.fasta"
    path.write_text("".join(f">p{number}\n{'MKVLAT' * 3}\n" for number in range(count)))
    return path


def run_with(monkeypatch, folder: Path, fault=None, *, workers: int = 2, in_all: bool = False, model=None, **options):
    """Return the result of a trial whose dataset has a fault, or none."""
    attributes = {"fault": staticmethod(fault or nothing), "in_all_workers": in_all}
    folder.mkdir(exist_ok=True)

    def make(fasta, **settings):
        dataset = FaultySequences(fasta, chunk_sequences=50, **settings)
        dataset.__dict__ |= {"fault": attributes["fault"].__func__, "in_all_workers": in_all}
        return dataset

    monkeypatch.setattr(builtin_source, "SequenceDataset", make)
    knobs = {"prefetch_factor": 1, "token_budget": 256, "buffer_size": 100}
    settings = {**knobs, "cooldown_s": "auto", "warm_up": False, **options}
    return run_single_gpu_benchmark(write_fasta(folder), folder, model or Model(), "cpu", workers, **settings)


def nothing():
    pass


def be_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def get_a_bus_error():
    with tempfile.TemporaryFile() as file:  # touch a mapped page beyond the end of its file, as on a full /dev/shm
        file.truncate(mmap.PAGESIZE)
        mapping = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
        file.truncate(0)
        ctypes.memset(address, 1, 1)


def fill_shared_memory():
    segment = shared_memory.SharedMemory(create=True, size=64 << 20)
    segment.buf[:] = bytes(64 << 20)


def share_a_large_tensor():
    torch.zeros(64 << 20, dtype=torch.uint8).share_memory_()


def allocate_within_a_limit():
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), used + (64 << 20)))
    bytearray(1 << 30)


def allocate_until_killed():
    while True:
        HELD.append(bytearray(b"\1" * (8 << 20)))


def raise_an_error():
    raise LookupError("the moon is full")


def leak_descriptors():
    HELD.extend(socket.socketpair())
    HELD.append(tempfile.NamedTemporaryFile(prefix="left_open_"))  # noqa: SIM115
    HELD.append(os.pipe())


def leave_a_segment():
    segment = shared_memory.SharedMemory(create=True, size=100)
    resource_tracker.unregister(f"/{segment.name}", "shared_memory")  # or the tracker would remove it in the end
    segment.close()


def leave_a_process():
    subprocess.Popen(["sleep", "600"], start_new_session=True)
