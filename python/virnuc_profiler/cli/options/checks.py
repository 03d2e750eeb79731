# SPDX-License-Identifier: MIT
"""The doctor's checks: compiled core, devices, PyTorch, fair-esm, attention kernels, worker processes, folders."""

from __future__ import annotations

import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from virnuc_profiler.capture.cpu_check import cpu_check
from virnuc_profiler.capture.device_checks import BROKEN, MISSING, OK, Check, device_checks, driver_shows_devices
from virnuc_profiler.cli.options.target_checks import registered_checks
from virnuc_profiler.errors import EnvironmentFailure, VirnucError
from virnuc_profiler.import_origins import explain_hidden_modules, hidden_modules
from virnuc_profiler.inference.loading.environment import (
    SHARED_MEMORY,
    environment_failure,
    semaphore_problem,
    temporary_folder_problem,
)
from virnuc_profiler.inference.loading.forkserver import start_forkserver

ENOUGH_SHARED_MEMORY: Final = 1e9
_FORKSERVER_S: Final = 60.0


def all_checks(output_dir: Path) -> list[Check]:
    """Run every check, in order from the driver to the results."""
    pytorch = list(_pytorch())
    usable = all(check.state != BROKEN for check in pytorch)
    return [
        *device_checks(),
        *pytorch,
        *([_fair_esm(), *_attention(), _weights()] if usable else []),
        *registered_checks(),
        cpu_check(),
        _forkserver(),
        _shared_memory(),
        _temporary_folder(),
        _writing(output_dir),
        *_hidden_modules(),  # last: by now everything is loaded that a run imports
    ]


def _pytorch() -> Iterator[Check]:
    try:
        import torch
    except Exception as error:
        hidden = explain_hidden_modules(error)
        fix = "see the hidden module under Python modules" if hidden else "pip install torch"
        yield Check("PyTorch", BROKEN, f"it cannot be imported: {error}", fix)
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    yield Check("PyTorch", OK, f"{torch.__version__}, built for: {build}")
    if torch.cuda.is_available():
        yield Check("PyTorch on CUDA", OK, f"{torch.cuda.device_count()} device(s)")
    elif torch.version.cuda:
        yield Check("PyTorch on CUDA", MISSING, "it sees no device", _pytorch_advice(torch.version.cuda))
    else:
        yield Check("PyTorch on CUDA", MISSING, "this build is for the CPU", "install a CUDA build: pytorch.org")


def _pytorch_advice(build: str) -> str:
    if not driver_shows_devices():
        return "see the driver and the GPU above"
    return f"the driver must support CUDA {build}: update it, or install a PyTorch build for an older CUDA"


def _fair_esm() -> Check:
    from virnuc_profiler.inference.sequences.fair_esm import import_fair_esm

    try:
        return Check("fair-esm", OK, str(Path(import_fair_esm().__file__).parent))
    except VirnucError as error:
        found, _, fix = str(error).rpartition(": ")
        return Check("fair-esm", BROKEN, found, fix)


def _attention() -> Iterator[Check]:
    import torch

    from virnuc_profiler.inference.ops.attention import BACKENDS

    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    for backend in BACKENDS:
        unavailable_reason = backend.unavailable_reason(device, dtype, 64)
        name = f"attention {backend.name}"
        if not unavailable_reason:
            yield Check(name, OK, f"runs on {device}")
        else:
            fix = (
                "pip install 'virnuc_profiler[flash]'" if backend.name == "flash-attn" and device.type == "cuda" else ""
            )
            yield Check(name, MISSING, unavailable_reason, fix)


def _weights() -> Check:
    from virnuc_profiler.inference.esm2.config import MODEL_NAMES
    from virnuc_profiler.inference.esm2.hub_cache import cached_checkpoint

    cached = [name for name in MODEL_NAMES if cached_checkpoint(name).is_file()]
    folder = cached_checkpoint(MODEL_NAMES[0]).parent
    if cached:
        return Check("ESM-2 weights", OK, f"in {folder}: {', '.join(cached)}")
    return Check(
        "ESM-2 weights",
        MISSING,
        f"none in {folder}; random ones are used, which is enough for timings",
        "--weights pretrained downloads them",
    )


def _forkserver() -> Check:
    context = multiprocessing.get_context("forkserver")
    started = time.monotonic()
    try:
        start_forkserver()
        process = context.Process(target=_nothing)
        process.start()
        process.join(_FORKSERVER_S)
        code = process.exitcode
        if code is None:
            process.kill()
            process.join()
    except (OSError, EOFError, EnvironmentFailure) as error:
        reason = environment_failure(error, 1) or error
        return Check("worker processes", BROKEN, f"none can be started: {reason}", "use --num-workers 0")
    if code != 0:
        found = f"one did not end within {_FORKSERVER_S:g} s" if code is None else f"one ended with exit code {code}"
        return Check("worker processes", BROKEN, found, "use --num-workers 0")
    return Check("worker processes", OK, f"forkserver, first one in {time.monotonic() - started:.1f} s")


def _nothing() -> None:
    """Do nothing, in the process that probes whether one can be started."""


def _shared_memory() -> Check:
    try:
        usage = shutil.disk_usage(SHARED_MEMORY)
    except OSError as error:
        return Check("shared memory", MISSING, f"{SHARED_MEMORY}: {error.strerror}", "mount a tmpfs there")
    if (problem := semaphore_problem()) is not None:
        return Check("shared memory", MISSING, *_split(problem))
    found = f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB free in {SHARED_MEMORY}"
    if usage.free >= ENOUGH_SHARED_MEMORY:
        return Check("shared memory", OK, found)
    return Check("shared memory", MISSING, found, "in a container: docker run --shm-size=2g, or --num-workers 0")


def _temporary_folder() -> Check:
    if (problem := temporary_folder_problem()) is not None:
        return Check("temporary folder", BROKEN, *_split(problem))
    folder = tempfile.gettempdir()
    return Check("temporary folder", OK, f"{folder}, {shutil.disk_usage(folder).free / 1e9:.0f} GB free")


def _hidden_modules() -> Iterator[Check]:
    """Name files that hide a module of Python or a package that this program has imported."""
    for module in hidden_modules():
        if module.name in sys.modules and module.name != "esm":  # that has a check of its own
            found, _, fix = str(module).rpartition(": ")
            yield Check("Python modules", MISSING, found, fix)


def _split(problem: str) -> tuple[str, str]:
    """Split a sentence on a problem into what was found and the way out."""
    found, _, fix = problem.partition("; ")
    return found, fix


def _writing(folder: Path) -> Check:
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            free = shutil.disk_usage(existing).free
    except OSError as error:
        return Check("output folder", MISSING, f"{folder}: {error.strerror}", "choose another one with --output-dir")
    return Check("output folder", OK, f"{folder.absolute()}, {free / 1e9:.0f} GB free")
