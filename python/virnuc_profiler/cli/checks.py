# SPDX-License-Identifier: MIT
"""The doctor's checks: compiled core, devices, PyTorch, attention kernels, worker processes, folders."""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from virnuc_profiler.capture.cpu_check import cpu_check
from virnuc_profiler.capture.device_checks import BROKEN, MISSING, OK, Check, device_checks

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - DataLoader workers pass their batches through it
ENOUGH_SHARED_MEMORY: Final = 1e9
_FORKSERVER_S: Final = 60.0


def all_checks(output_dir: Path) -> list[Check]:
    """Run every check, in order from the driver to the results."""
    pytorch = list(_pytorch())
    usable = all(check.state != BROKEN for check in pytorch)
    return [
        *device_checks(),
        *pytorch,
        *([*_attention(), _weights()] if usable else []),
        cpu_check(),
        _forkserver(),
        _shared_memory(),
        _writing(output_dir),
    ]


def _pytorch() -> Iterator[Check]:
    try:
        import torch
    except Exception as error:
        yield Check("PyTorch", BROKEN, f"it cannot be imported: {error}", "pip install torch")
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    yield Check("PyTorch", OK, f"{torch.__version__}, built for: {build}")
    if torch.cuda.is_available():
        yield Check("PyTorch on CUDA", OK, f"{torch.cuda.device_count()} device(s)")
    elif torch.version.cuda:
        yield Check("PyTorch on CUDA", MISSING, "it sees no device", "check the driver's version against the build")
    else:
        yield Check("PyTorch on CUDA", MISSING, "this build is for the CPU", "install a CUDA build: pytorch.org")


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
    from virnuc_profiler.inference.esm2.checkpoint import cached_checkpoint
    from virnuc_profiler.inference.esm2.config import MODEL_NAMES

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
        process = context.Process(target=_nothing)
        process.start()
        process.join(_FORKSERVER_S)
        code = process.exitcode
        if code is None:
            process.kill()
            process.join()
    except OSError as error:
        return Check("worker processes", BROKEN, f"none can be started: {error}", "use --num-workers 0")
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
    found = f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB free in {SHARED_MEMORY}"
    if usage.free >= ENOUGH_SHARED_MEMORY:
        return Check("shared memory", OK, found)
    return Check("shared memory", MISSING, found, "in a container: docker run --shm-size=2g, or --num-workers 0")


def _writing(folder: Path) -> Check:
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            free = shutil.disk_usage(existing).free
    except OSError as error:
        return Check("output folder", MISSING, f"{folder}: {error.strerror}", "choose another one with --output-dir")
    return Check("output folder", OK, f"{folder.absolute()}, {free / 1e9:.0f} GB free")
