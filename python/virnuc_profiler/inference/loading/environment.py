# SPDX-License-Identifier: MIT
"""Tell failures of the machine from failures of a run: process and file limits, shared memory, temporary files."""

from __future__ import annotations

import errno
import multiprocessing
import os
import re
import resource
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from virnuc_profiler.capture.control_groups import UNIFIED, control_groups
from virnuc_profiler.errors import EnvironmentFailure
from virnuc_profiler.inference.loading.forkserver import forkserver_end, make_socket_folder

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  where Linux has semaphores and shared memory

_CODE = re.compile(r"\[Errno (\d+)\]")
_CODES_BY_TEXT: Final[Mapping[str, int]] = {
    "can't start new thread": errno.EAGAIN,
    "Too many open files": errno.EMFILE,
    "Resource temporarily unavailable": errno.EAGAIN,
    "No space left on device": errno.ENOSPC,
    "Read-only file system": errno.EROFS,
}
"""Parts of messages that stand for a code, where an error arrives as text."""
_STARTS: Final = ("os.fork", "fork_exec", "start_new_thread", "can't start new thread", "posix_spawn", "spawnv_passfds")
"""Parts of the traceback of an error that starting a process or a thread raised; file locks raise EAGAIN too."""
_PROBE: Final = "/bin/true"


def environment_failure(error: BaseException, num_workers: int = 0) -> EnvironmentFailure | None:
    """Return a failure that names the cause and the way out, if the machine and not the run caused an error.

    Args:
        error: Error of a run, or of the start of its workers.
        num_workers: Number of workers that the run starts.

    Returns:
        The failure; None if nothing shows that the machine caused the error.
    """
    if isinstance(error, EnvironmentFailure):
        return error
    for linked in _chain(error):
        code = _code(linked)
        if code is None:
            continue
        if code == errno.EAGAIN and _is_of_a_start(linked):
            return EnvironmentFailure(process_limit_reached(num_workers))
        if code in (errno.EMFILE, errno.ENFILE):
            return EnvironmentFailure(_file_limit_reached(code))
        if (problem := semaphore_problem() if num_workers else None) is not None:
            return EnvironmentFailure(problem)
        if code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS) and (problem := temporary_folder_problem()) is not None:
            return EnvironmentFailure(problem)
    if (end := forkserver_end(error)) is not None:
        return EnvironmentFailure(process_limit_reached(num_workers) if _is_process_limit_near(num_workers) else end)
    return None


def require_environment(num_workers: int) -> None:
    """Refuse to start where no run with workers can succeed; takes milliseconds.

    Args:
        num_workers: Largest number of workers that will run.

    Raises:
        EnvironmentFailure: Something is missing; the message names it and the way out.
    """
    problem = temporary_folder_problem()
    if num_workers and problem is None:
        problem = semaphore_problem()
    if problem is not None:
        raise EnvironmentFailure(problem)
    if num_workers:
        os.rmdir(make_socket_folder())  # noqa: PTH106


def semaphore_problem() -> str | None:
    """Return why the queues of workers cannot be made, and the way out; None if they can."""
    try:
        multiprocessing.get_context("fork").Lock()  # removed at once, without a helper process
    except OSError as error:
        return (
            f"worker processes need semaphores in {SHARED_MEMORY}, and none can be made: {_reason(error)}; "
            f"{_advice_on_shared_memory(error)}, or use --num-workers 0"
        )
    return None


def temporary_folder_problem() -> str | None:
    """Return why no temporary file can be written, and the way out; None if one can."""
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError as error:
        folder = getattr(tempfile, "tempdir", None) or os.environ.get("TMPDIR") or "the temporary folder"
        return f"no temporary file can be written in {folder}: {_reason(error)}; free space there, or set TMPDIR"
    return None


def process_limit_reached(num_workers: int) -> str:
    """Return a sentence on the limit that keeps another process or thread from starting, and the way out.

    Args:
        num_workers: Number of workers that the run starts.
    """
    fewer = ", or use a smaller --num-workers" if num_workers else ""
    limits = "; ".join(_process_limits(num_workers)) or "its limit is not visible here"
    return f"the system refuses to start another process or thread (EAGAIN; {limits}): raise that limit{fewer}"


def _process_limits(num_workers: int) -> list[str]:
    """Return the limits in words; only those of control groups if one of them is reached."""
    near = [(current, limit) for current, limit in _pids_limits() if limit - current <= num_workers]
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    found = [
        f"{current:,} of {limit:,} processes and threads of the control group (pids.max) are in use"
        for current, limit in near
    ]
    if not near and soft != resource.RLIM_INFINITY:
        found.append(f"ulimit -u is {soft:,}")
    return found


def _pids_limits() -> Iterator[tuple[int, int]]:
    """Yield current number and limit of each control group of this process that limits it."""
    for folder in (*control_groups("pids"), *control_groups(UNIFIED)):
        with suppress(OSError, ValueError):  # there is no such file, or the limit is "max"
            yield int((folder / "pids.current").read_text()), int((folder / "pids.max").read_text())


def _is_process_limit_near(num_workers: int) -> bool:
    if any(limit - current <= num_workers for current, limit in _pids_limits()):
        return True
    try:
        os.waitpid(os.posix_spawn(_PROBE, [_PROBE], {}), 0)
    except OSError as error:
        return error.errno == errno.EAGAIN
    return False


def _file_limit_reached(code: int) -> str:
    if code == errno.ENFILE:
        return "the system has too many open files (ENFILE): raise fs.file-max, or end other programs"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        f"this process may open only {soft:,} files (EMFILE): raise the limit with ulimit -n, up to {hard:,}, or use a "
        "smaller --num-workers"
    )


def _advice_on_shared_memory(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "free space or inodes there (in a container: docker run --shm-size=2g)"
    return "mount a writable tmpfs there"


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _code(error: BaseException) -> int | None:
    """Return the code of an error, also of one that a worker has sent as text."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    text = str(error)
    if (match := _CODE.search(text)) is not None:
        return int(match[1])
    return next((code for part, code in _CODES_BY_TEXT.items() if part in text), None)


def _is_of_a_start(error: BaseException) -> bool:
    text = "".join(traceback.format_exception(error))
    return any(part in text for part in _STARTS)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    linked: BaseException | None = error
    while linked is not None and id(linked) not in seen:
        seen.add(id(linked))
        yield linked
        linked = linked.__cause__ or linked.__context__
