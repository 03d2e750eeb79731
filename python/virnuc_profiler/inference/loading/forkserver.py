# SPDX-License-Identifier: MIT
"""Start the process that workers are forked from, whatever TMPDIR and the working folder are, and say why it ended."""

from __future__ import annotations

import multiprocessing.forkserver
import multiprocessing.resource_tracker
import multiprocessing.util
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.process import current_process
from typing import Any, Final

from virnuc_profiler.errors import EnvironmentFailure
from virnuc_profiler.import_origins import hidden_modules
from virnuc_profiler.inference.loading.owner_tag import owner_environment

SOCKET_FOLDER_VARIABLE: Final = "VIRNUC_PROFILER_SOCKETS"
"""Environment variable that names the folder for sockets, whose owner removes it."""

_MAX_SOCKET_PATH: Final = 107
"""Bytes of a Unix socket's path, see unix(7)."""
_LISTENER: Final = "/pymp-12345678/listener-12345678"
"""What `multiprocessing` appends to the temporary folder for the path of a socket."""
_SHORT_FOLDERS: Final = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108  mkdtemp makes a folder of our own in them


def start_forkserver() -> None:
    """Start the process that workers are forked from, unless it runs already, with SIGINT blocked.

    A terminal sends Ctrl-C to the whole process group, but the main process ends the workers: a worker that is still
    starting would die with a traceback of its own. Workers inherit the signal mask, so it holds from their first
    moment.

    Raises:
        EnvironmentFailure: No folder can hold the sockets.
        OSError: The system refuses to start a process.
    """
    _use_socket_folder()
    multiprocessing.resource_tracker.ensure_running()  # first: it unblocks SIGINT in this thread when it starts
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with owner_environment(), _environment(_without_working_folder()):
            multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def forkserver_end(error: BaseException) -> str | None:
    """Return why the forkserver has ended, in words; None if an error is not that of a lost forkserver.

    Args:
        error: Error of starting a worker. The forkserver's own error is in its output only.
    """
    if not isinstance(error, EOFError | ConnectionError):
        return None
    hidden = hidden_modules()
    reason = "; ".join(map(str, hidden)) if hidden else "its own output says why"
    return f"the process that workers are forked from has ended: {reason}"


def make_socket_folder() -> str:
    """Make a folder whose path is short enough for sockets, and return it. The caller removes it.

    Raises:
        EnvironmentFailure: There is none; the message gives the way out.
    """
    usual: tuple[str, ...] = ()
    with suppress(OSError):  # none can be written
        usual = (tempfile.gettempdir(),)
    errors = []
    for folder in dict.fromkeys((*usual, *_SHORT_FOLDERS)):
        if len(os.fsencode(folder)) + len(_LISTENER) > _MAX_SOCKET_PATH:
            errors.append(f"{folder} is too long")
            continue
        try:
            return tempfile.mkdtemp(prefix="pymp-", dir=folder)
        except OSError as error:
            errors.append(f"{folder}: {error.strerror}")
    most = _MAX_SOCKET_PATH - len(_LISTENER)
    raise EnvironmentFailure(
        f"no folder can hold the sockets of worker processes ({'; '.join(errors)}): set TMPDIR to a writable folder "
        f"whose path has at most {most} characters, or use --num-workers 0"
    )


def _use_socket_folder() -> None:
    """Have `multiprocessing` put its sockets where their paths fit: a TMPDIR of 80 characters is too long for them."""
    settings: dict[str, Any] = current_process()._config  # type: ignore[attr-defined]
    given = os.environ.get(SOCKET_FOLDER_VARIABLE)
    if given and os.path.isdir(given):  # noqa: PTH112
        settings["tempdir"] = given
        return
    now = settings.get("tempdir")
    if now is not None and len(os.fsencode(now)) + len("/listener-12345678") <= _MAX_SOCKET_PATH:
        return
    folder = make_socket_folder()
    settings["tempdir"] = folder
    multiprocessing.util.Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=-100)  # after all users


def _without_working_folder() -> Mapping[str, str]:
    """Return the environment with which a forkserver does not import what the working folder hides.

    It starts as ``python -c``, whose path begins with the working folder, even if ours does not.
    """
    return {"PYTHONSAFEPATH": "1"} if hidden_modules(os.getcwd()) else {}  # noqa: PTH109


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                with suppress(KeyError):
                    del os.environ[name]
            else:
                os.environ[name] = value
