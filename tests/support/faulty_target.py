# SPDX-License-Identifier: MIT
"""Any target of the test cases, with a knob ``fault`` that has it go wrong before its third batch.

``tests.support.faulty_target:toy`` is the factory of the case ``toy`` with faults.
"""

import contextlib
import functools
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from multiprocessing import resource_tracker, shared_memory

from tests.support.target_cases import CASES
from virnuc_profiler import BatchProfiler
from virnuc_profiler.targets.knobs.knob import ChoiceKnob
from virnuc_profiler.targets.registry import make_target

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


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


def press_ctrl_c_and_catch_it():
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def press_ctrl_c_and_raise():
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        raise RuntimeError("stopped by the user") from None


def press_ctrl_c_and_leave_a_process():
    leave_a_process()
    press_ctrl_c()


def hang_and_be_deaf():
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    hang()


def start_processes_and_hang():
    import torch

    HELD.append(subprocess.Popen(["sleep", "600"]))
    HELD.append(iter(torch.utils.data.DataLoader(range(1000), num_workers=2)))
    next(HELD[-1])
    hang()


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
    os.write(1, b"a line of compiled code\n")
    subprocess.run(["echo", "a line of a child"], check=True)


def print_and_fail():
    print_a_lot()
    raise_an_error()


def change_the_process():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    multiprocessing.set_start_method("spawn", force=True)
    os.chdir("/")


def _die(_item):
    os.kill(os.getpid(), signal.SIGKILL)


class Deadly:
    """A data set whose worker is killed over its second item."""

    def __len__(self):
        return 8

    def __getitem__(self, item):
        if item:
            _die(item)
        return item


class Failing(Deadly):
    def __getitem__(self, item):
        raise LookupError("the moon is full")


def lose_a_loader_worker():
    import torch

    list(torch.utils.data.DataLoader(Deadly(), batch_size=1, num_workers=1))


def fail_in_a_loader_worker():
    import torch

    list(torch.utils.data.DataLoader(Failing(), batch_size=1, num_workers=1))


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
    "ctrl_c": press_ctrl_c,
    "ctrl_c_caught": press_ctrl_c_and_catch_it,
    "ctrl_c_raised": press_ctrl_c_and_raise,
    "ctrl_c_leaving": press_ctrl_c_and_leave_a_process,
    "busy": start_processes_and_hang,
    "deaf": hang_and_be_deaf,
    "leaves_process": leave_a_process,
    "leaves_segment": leave_a_segment,
    "leaves_files": leave_files_open,
    "prints": print_a_lot,
    "prints_and_fails": print_and_fail,
    "changes_process": change_the_process,
    "loader_worker": lose_a_loader_worker,
    "loader_error": fail_in_a_loader_worker,
    "pool_worker": lose_a_pool_worker,
}
"""What happens before the third batch, by the value of the knob."""

FAULTS = (
    "none",
    *DURING,
    "too_few",
    "too_many",
    "no_batches",
    "no_packing",
    "yields_text",
    "no_iterator",
    "endless",
    "slow",
)


class FaultyTarget:
    """A target that does what another one does, until its fault.

    `ended` says for each run whether its iterator was closed or went to its end.
    """

    def __init__(self, inner):
        self.inner = inner
        self.ended = []
        for name in ("min_packing", "stages", "probe", "close"):
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))

    def describe(self):
        return self.inner.describe()

    def knobs(self):
        fault = ChoiceKnob(name="fault", default="none", choices=FAULTS, help="what goes wrong")
        return [*self.inner.knobs(), fault]

    def run(self, workload, configuration, profiler):
        if configuration.fault == "no_iterator":
            return None
        return self._batches(workload, configuration, profiler)

    def _batches(self, workload, configuration, profiler):
        fault = configuration.fault
        if fault == "no_batches":
            with BatchProfiler(device="cpu", sample_gpu=False) as unheard:
                yield from self.inner.run(workload, configuration, unheard)
            return
        if fault == "no_packing":
            records = list(workload.records())
            for batch in profiler.batches([records[start : start + 8] for start in range(0, len(records), 8)]):
                yield len(batch)
            return
        number = 0
        try:
            for _ in range(1) if fault != "endless" else itertools.count():
                for done in self.inner.run(workload, configuration, profiler):
                    if number == FAULT_AT and fault in DURING:
                        DURING[fault]()
                    if fault == "slow":
                        time.sleep(0.5)
                    if number == FAULT_AT and fault == "too_few":
                        return
                    yield "a batch" if fault == "yields_text" else done + (fault == "too_many")
                    number += 1
        finally:
            self.ended.append(fault)


def make(case, options):
    return FaultyTarget(make_target(CASES[case].target, options))


def __getattr__(name):
    if name not in CASES:
        raise AttributeError(name)
    return functools.partial(make, name)
