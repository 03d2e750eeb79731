# SPDX-License-Identifier: MIT
"""A model process without a model, for the supervisor's tests: the prefetch factor selects its behavior.

It needs no PyTorch, and so starts in a fraction of a second. Run as a module it is ``virnuc_profiler`` with such
processes.
"""

import functools
import logging
import os
import signal
import subprocess
import sys
import time
from enum import IntEnum

from tests.support.sweeps import conditions, failure, success
from virnuc_profiler.errors import UsageError
from virnuc_profiler.sweep.worker import child


class Fault(IntEnum):
    NONE = 4  # that of the baseline
    KILLED = 101
    STOPPED = 102
    DEAF = 103  # neither Ctrl-C nor SIGTERM ends it
    EXITS = 104
    REFUSES = 105
    OUT_OF_MEMORY = 106
    LEAKS = 107
    CUDA_ERROR = 108
    RUNS_ON = 109  # with progress until it is stopped, then writes its files
    CHATTERS = 110  # more than a message may hold
    FORKS_AND_EXITS = 112  # a forked child keeps its pipes open
    STARTS_A_DAEMON = 113
    PREPARES = 114  # prepares for longer than the time limit before it measures
    ABORTS = 111  # as PyTorch does over a CUDA error in a destructor


ABORTED = "\n".join(
    [
        "terminate called after throwing an instance of 'c10::AcceleratorError'",
        "  what():  CUDA error: device-side assert triggered",
        "Search for `cudaErrorAssert' in the manual for more information.",
        *(f"frame #{number}: <unknown function> + 0x2a1ca (0x7fa6 in /lib/libc.so.6)" for number in range(40)),
    ]
)
CLEAN = {"workers_left": [], "leaked_device_bytes": 0, "device_memory_before": 0}


class FaultyModel:
    device_name = "a processor"
    forecast = "1 GB + 2 MB a token"

    def __init__(self, request):
        self.request = request
        if request.model == "stuck":
            time.sleep(600)
        if request.model in ("once", "upgraded"):
            loaded = request.output_dir / "loaded"
            self.again = loaded.exists()
            loaded.touch()
            if self.again and request.model == "once":
                raise RuntimeError("CUDA out of memory")
        if request.model == "absent":
            raise UsageError("there is no such model")
        self.precision = request.model_knobs.get("precision", "fp32")
        if request.model == "large" and self.precision == "fp32":
            raise RuntimeError("CUDA out of memory. Tried to allocate 60 GiB")
        logging.getLogger("virnuc_profiler").warning("random weights are used")

    @property
    def description(self):
        return {
            "model_name": "m", "precision": self.precision, "weights": "random seed 0", "attention_backend": "sdpa",
        }  # fmt: skip

    def conditions(self):
        upgraded = self.request.model == "upgraded" and self.again
        found = conditions(versions__torch="2.14.0") if upgraded else conditions(model__precision=self.precision)
        return found.with_varied(self.request.varied)

    def warm_up(self, workload, num_workers=1):
        pass

    def predicted_failure(self, workload, configuration):
        return None

    def close(self):
        pass

    def run_trial(self, workload, configuration, output_dir, on_progress=None, on_tokens=None, brief=False):
        fault = configuration.prefetch_factor
        output_dir.mkdir(parents=True, exist_ok=True)
        if fault == Fault.RUNS_ON:
            self.run_on(configuration, output_dir, on_progress)
        if fault != Fault.NONE:
            say_running(output_dir)
        if fault != Fault.PREPARES:
            on_progress(0)
        if fault == Fault.KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault == Fault.STOPPED:
            os.kill(os.getpid(), signal.SIGSTOP)
        elif fault == Fault.DEAF:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            time.sleep(600)
        elif fault == Fault.EXITS:
            print("terminate called after throwing", file=sys.stderr, flush=True)
            os._exit(3)
        elif fault == Fault.FORKS_AND_EXITS:
            if os.fork():
                os._exit(7)
            time.sleep(600)
        elif fault == Fault.STARTS_A_DAEMON:
            daemon = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
            (output_dir / "daemon").write_text(str(daemon.pid))
        elif fault == Fault.PREPARES:
            time.sleep(1.5)
            on_progress(0)
        elif fault == Fault.ABORTS:
            print(ABORTED, file=sys.stderr, flush=True)
            os.abort()
        elif fault == Fault.REFUSES:
            raise UsageError("not like this")
        elif fault in (Fault.OUT_OF_MEMORY, Fault.LEAKS):
            leaked = 2**30 if fault == Fault.LEAKS else 0
            cleanup = {**CLEAN, "leaked_device_bytes": leaked}
            return failure(configuration, memory="device", cleanup=cleanup)
        elif fault == Fault.CUDA_ERROR:
            return failure(configuration, "cuda_error", cleanup=CLEAN)
        elif fault == Fault.CHATTERS:
            return success(configuration, message="x" * 2_000_000)
        return success(configuration, cleanup=CLEAN, extra={"pid": os.getpid()})

    def run_on(self, configuration, output_dir, on_progress):
        try:
            say_running(output_dir)  # within the try, so that a signal never comes before it
            for number in range(100_000):
                on_progress(number)
                time.sleep(0.02)
        finally:
            for kind in ("telemetry", "run"):
                (output_dir / f"{kind}_{configuration.run_id}.json").write_text("{}")


def say_running(folder):
    """Tell the test that a trial has begun, and in which process."""
    (folder / "running").write_text(str(os.getpid()))


def main(*arguments):
    """Entry point that the supervisor starts."""
    child.main(*arguments, make_model=FaultyModel)


if __name__ == "__main__":
    from virnuc_profiler.cli.main import main as command_line
    from virnuc_profiler.sweep.worker import supervisor

    supervisor.Supervisor = functools.partial(supervisor.Supervisor, child_module="tests.support.faulty_model")
    sys.exit(command_line())
