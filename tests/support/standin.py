# SPDX-License-Identifier: MIT
"""Stand-in GPU libraries, compiled by the tests, through which the real extension runs without a GPU.

A process uses a driver library for its whole life, so each scenario runs in a process of its own::

    def scenario() -> int:
        cuda = CudaControl()
        timeline = _core.Timeline(["forward"], ["forward"], device=0)
        ...
        return timeline.dropped_batches


    def test_it(standins: Standins) -> None:  # the fixture is in tests.support.standin_fixtures
        assert standins.call(scenario) == 0

The simulated device's clock has another offset than the host's and may drift. Streams complete their
events in order.
"""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SOURCES = Path(__file__).resolve().parent
_ROOT = _SOURCES.parents[1]
_ENVIRONMENT = {
    "cuda": "VIRNUC_PROFILER_LIBCUDA",
    "nvml": "VIRNUC_PROFILER_LIBNVML",
    "nvtx": "NVTX_INJECTION64_PATH",
}

FOREVER = -1
"""For CudaControl.hang and NvmlControl.stall."""

CARD_UUID = "GPU-aa010203-0405-0607-0809-0a0b0c0d0e00"
"""UUID of device 0 of both stand-ins."""
MIG_UUID = "MIG-ab010203-0405-0607-0809-0a0b0c0d0e00"
"""UUID of device 0 after ``CudaControl.set_devices(1, mig=True)``; NVML knows both."""


@dataclass(frozen=True)
class Standins:
    """Compiled stand-in libraries, and functions to run code with them."""

    cuda_path: Path
    nvml_path: Path
    nvtx_path: Path

    def environment(self, *libraries: str) -> dict[str, str]:
        """Return the environment of a process that uses these libraries ("cuda", "nvml", "nvtx")."""
        environment = {k: v for k, v in os.environ.items() if k not in _ENVIRONMENT.values()}
        paths = {"cuda": self.cuda_path, "nvml": self.nvml_path, "nvtx": self.nvtx_path}
        return environment | {_ENVIRONMENT[library]: str(paths[library]) for library in libraries}

    def call(
        self,
        scenario: Callable[..., Any],
        *arguments: Any,
        libraries: tuple[str, ...] = ("cuda", "nvml"),
        timeout_s: float = 60.0,
    ) -> Any:
        """Call a module-level function in a new process; arguments and result are passed as JSON."""
        source = (
            "import importlib, json, sys\n"
            "module, name, arguments = sys.argv[1:]\n"
            "scenario = getattr(importlib.import_module(module), name)\n"
            "result = scenario(*json.loads(arguments))\n"
            "print('\\n' + json.dumps(result))\n"
        )
        name = [scenario.__module__, scenario.__name__]
        command = [sys.executable, "-c", source, *name, json.dumps(arguments)]
        return json.loads(self.run(command, libraries=libraries, timeout_s=timeout_s).splitlines()[-1])

    def run(self, command: list[str], *, libraries: tuple[str, ...] = ("cuda", "nvml"), timeout_s: float = 60.0) -> str:
        """Run a command in the root of the repository; return its output, or fail with its errors."""
        done = subprocess.run(
            command,
            cwd=_ROOT,
            env=self.environment(*libraries),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def build_standins(folder: Path) -> None:
    """Compile the stand-in libraries into `folder` (g++, a few seconds)."""
    running = []
    for name in _ENVIRONMENT:
        path = str(_path(folder, name))
        options = ["-std=c++20", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread", "-o", path]
        running.append(subprocess.Popen(["g++", *options, *_SOURCES.glob(f"standin_{name}*.cpp")]))
    assert all(compiler.wait() == 0 for compiler in running), "the stand-in libraries did not compile"


def standins_in(folder: Path) -> Standins:
    """The libraries that :func:`build_standins` has put into `folder`."""
    return Standins(cuda_path=_path(folder, "cuda"), nvml_path=_path(folder, "nvml"), nvtx_path=_path(folder, "nvtx"))


def _path(folder: Path, library: str) -> Path:
    return folder / f"libstandin_{library}.so"


def _load(library: str, functions: dict[str, tuple[Any, list[Any]]]) -> ctypes.CDLL:
    """The same instance of the library as the extension's, its control functions typed."""
    handle = ctypes.CDLL(os.environ[_ENVIRONMENT[library]])
    for name, (result, arguments) in functions.items():
        function = getattr(handle, f"standin_{library}_{name}")
        function.restype, function.argtypes = result, arguments
    return handle


class CudaControl:
    """Controls the stand-in driver of this process."""

    def __init__(self) -> None:
        text, number, handle = ctypes.c_char_p, ctypes.c_int64, ctypes.c_size_t
        self._library = _load(
            "cuda",
            {
                "fail": (None, [text, ctypes.c_int, number]),
                "hang": (None, [text, number]),
                "vanish": (None, [ctypes.c_int]),
                "set_devices": (None, [ctypes.c_int, ctypes.c_int]),
                "set_clock": (None, [number, ctypes.c_double]),
                "set_latency": (None, [number]),
                "launch": (None, [handle, number]),
                "wait_until": (None, [number]),
                "busy_until": (number, [handle]),
                "hold": (None, [handle, ctypes.c_int]),
                "capture": (None, [handle, ctypes.c_int]),
                "hold_all": (None, [ctypes.c_int]),
                "use_other_context": (None, [ctypes.c_int]),
                "calls": (number, [text]),
                "forked_child_calls": (number, []),
                "live_events": (number, []),
                "retained_contexts": (number, []),
                "wrong_context": (number, []),
                "profiled_device": (ctypes.c_int, []),
                "device_time": (number, [number]),
            },
        )

    def fail(self, call: str, code: int, after: int = 0) -> None:
        """Make a driver call, such as ``cuEventQuery``, return `code` after `after` more calls; 0 restores it."""
        self._library.standin_cuda_fail(call.encode(), code, after)

    def hang(self, call: str, ns: int) -> None:
        """Make a driver call hang for some time; FOREVER, or 0 to restore it."""
        self._library.standin_cuda_hang(call.encode(), ns)

    def vanish(self, code: int = 46) -> None:
        """Lose the device: every call returns `code` (46: device unavailable); 0 restores it."""
        self._library.standin_cuda_vanish(code)

    def set_devices(self, count: int, *, mig: bool = False) -> None:
        """Set the number of devices, and whether they are MIG slices."""
        self._library.standin_cuda_set_devices(count, int(mig))

    def set_clock(self, offset_ns: int, drift_ppm: float) -> None:
        """Set the device's clock to ``offset_ns + host * (1 + drift_ppm / 1e6)``."""
        self._library.standin_cuda_set_clock(offset_ns, drift_ppm)

    def device_time(self, host_ns: int) -> int:
        """Return the device's clock at a host time."""
        return int(self._library.standin_cuda_device_time(host_ns))

    def set_latency(self, ns: int) -> None:
        """Set the time from recording an event on an idle stream to its completion."""
        self._library.standin_cuda_set_latency(ns)

    def launch(self, stream: int, duration_ns: int) -> None:
        """Queue work of some duration on a stream."""
        self._library.standin_cuda_launch(stream, duration_ns)

    def synchronize(self, stream: int) -> None:
        """Wait until the stream has finished its work."""
        self.wait_until(self.busy_until(stream))

    def busy_until(self, stream: int) -> int:
        """Return the time on the device's clock at which the work queued on the stream finishes."""
        return int(self._library.standin_cuda_busy_until(stream))

    def wait_until(self, device_ns: int) -> None:
        """Wait for a time on the device's clock, without the GIL, like a wait for an event."""
        self._library.standin_cuda_wait_until(device_ns)

    def hold(self, stream: int) -> None:
        """Keep events recorded on `stream` from completing until it is released."""
        self._library.standin_cuda_hold(stream, 1)

    def release(self, stream: int) -> None:
        """Undo :meth:`hold`."""
        self._library.standin_cuda_hold(stream, 0)

    def capture(self, stream: int, capturing: bool = True) -> None:
        """Begin or end the capture of a CUDA graph on `stream`."""
        self._library.standin_cuda_capture(stream, int(capturing))

    def hold_all(self, held: bool = True) -> None:
        """Holds or releases every stream, that of the clock anchors too."""
        self._library.standin_cuda_hold_all(int(held))

    def use_other_context(self, use: bool) -> None:
        """Make another library's context current on this thread, or remove it."""
        self._library.standin_cuda_use_other_context(int(use))

    def calls(self, call: str = "") -> int:
        """Count the calls of a driver function, or of all functions without a name."""
        return int(self._library.standin_cuda_calls(call.encode()))

    @property
    def forked_child_calls(self) -> int:
        """Count the driver calls of forked children of the process that initialized the driver."""
        return int(self._library.standin_cuda_forked_child_calls())

    @property
    def live_events(self) -> int:
        """Count the events created and not yet destroyed."""
        return int(self._library.standin_cuda_live_events())

    @property
    def retained_contexts(self) -> int:
        """Count the primary contexts retained and not yet released."""
        return int(self._library.standin_cuda_retained_contexts())

    @property
    def wrong_context(self) -> int:
        """Count the events recorded on a default stream while another context was current."""
        return int(self._library.standin_cuda_wrong_context())

    @property
    def profiled_device(self) -> int:
        """Return the device with an open range of cuProfilerStart and cuProfilerStop, or -1."""
        return int(self._library.standin_cuda_profiled_device())


class NvmlControl:
    """Controls the stand-in NVML of this process."""

    def __init__(self) -> None:
        text, number = ctypes.c_char_p, ctypes.c_int64
        self._library = _load(
            "nvml",
            {
                "set": (None, [text, ctypes.c_double]),
                "fail": (None, [text, ctypes.c_int]),
                "stall": (None, [text, number]),
                "vanish": (None, [ctypes.c_int]),
                "set_uuids": (None, [text, text]),
                "calls": (number, [text]),
            },
        )

    def set(self, name: str, value: float) -> None:
        """Set a value that NVML reports, by the name of our field such as ``power_mw``; see standin_nvml.cpp."""
        self._library.standin_nvml_set(name.encode(), value)

    def fail(self, call: str, code: int) -> None:
        """Set the return code of a call: 3 not supported, 15 GPU lost, 999 unknown; 0 restores it."""
        self._library.standin_nvml_fail(call.encode(), code)

    def stall(self, call: str, ns: int) -> None:
        """Set the duration of a call, or FOREVER."""
        self._library.standin_nvml_stall(call.encode(), ns)

    def vanish(self, vanished: bool = True) -> None:
        """Lose the GPU: every call fails."""
        self._library.standin_nvml_vanish(int(vanished))

    def set_uuids(self, card: str, mig: str) -> None:
        """UUIDs of the card and of its MIG slice."""
        self._library.standin_nvml_set_uuids(card.encode(), mig.encode())

    def calls(self, call: str) -> int:
        """Count the calls of a function."""
        return int(self._library.standin_nvml_calls(call.encode()))


@dataclass(frozen=True)
class NvtxCall:
    """One NVTX call as an attached tool sees it; `fields` are as standin_nvtx.cpp writes them."""

    thread: int
    call: str
    domain: str
    fields: tuple[str, ...]


def nvtx_calls() -> list[NvtxCall]:
    """Return all NVTX calls of this process so far."""
    handle = _load("nvtx", {"log": (ctypes.c_char_p, [])})
    lines = handle.standin_nvtx_log().decode().splitlines()
    parts = [line.split("\t") for line in lines]
    return [NvtxCall(int(thread), call, domain, tuple(rest)) for thread, call, domain, *rest in parts]
