# SPDX-License-Identifier: MIT
"""Find files that hide another module, such as a ``random.py`` in the working folder.

Imports nothing that this package has not loaded already, because any other module may be hidden.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.machinery import FrozenImporter
from typing import NamedTuple

_PACKAGES = ("esm", "numpy", "psutil", "pynvml", "scipy", "torch", "triton")
"""Packages of others that this package imports, and whose names are short enough for a file of one's own."""


_LOADED_AT_START = frozenset(
    (
        "_collections_abc",
        "_sitebuiltins",
        "abc",
        "codecs",
        "encodings",
        "genericpath",
        "io",
        "os",
        "posixpath",
        "site",
        "stat",
    )
)
"""Modules that are loaded before the working folder is on the path. Only since Python 3.11 they are frozen."""


class HiddenModule(NamedTuple):
    """A module that cannot be imported, because a file comes before it on the path.

    Attributes:
        name: Name of the module.
        path: File or folder that Python imports instead.
    """

    name: str
    path: str

    def __str__(self) -> str:
        owner = "Python's own module" if self.name in sys.stdlib_module_names else "the package"
        return f"{self.path} hides {owner} {self.name!r}: rename it, or start in another folder"


def hidden_modules(folder: str | None = None) -> list[HiddenModule]:
    """Return the modules that files in the working folder or on the path hide, in the order of the path.

    Args:
        folder: Folder to search instead of the working folder and the part of ``sys.path`` before Python's own.
    """
    found = []
    for searched in dict.fromkeys(_folders_before_python() if folder is None else [folder]):
        for name, path in _modules_in(searched):
            if _is_hidden(name, searched):
                found.append(HiddenModule(name, path))
    return found


def explain_hidden_modules(error: BaseException) -> str | None:
    """Return which file caused an error by hiding another module, and the way out; None if none did.

    Args:
        error: Error of an import, or of code that got the wrong module.
    """
    files = [os.path.realpath(file) for file in _files_of(error)]
    for module in hidden_modules():
        loaded = os.path.realpath(getattr(sys.modules.get(module.name), "__file__", None) or "")
        if any(file == module.path or file.startswith(module.path + os.sep) for file in (*files, loaded)):
            return str(module)
    return None


def _folders_before_python() -> Iterator[str]:
    own = os.path.realpath(os.path.dirname(os.__file__))  # noqa: PTH120  pathlib may be hidden
    yield os.path.realpath(os.getcwd())  # noqa: PTH109  worker processes have it first on their path
    for entry in sys.path:
        folder = os.path.realpath(entry)
        if folder == own:
            return
        yield folder


def _modules_in(folder: str) -> Iterator[tuple[str, str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        name, _, suffix = entry.name.partition(".")
        is_module = (suffix == "py" or suffix.endswith("so")) and entry.is_file()
        # Python prefers a later module of that name to a folder without this file.
        is_package = not suffix and os.path.isfile(os.path.join(entry.path, "__init__.py"))  # noqa: PTH113, PTH118
        if is_module or is_package:
            yield name, entry.path


def _is_hidden(name: str, folder: str) -> bool:
    if name in sys.stdlib_module_names:
        never = name in sys.builtin_module_names or name in _LOADED_AT_START
        return not never and FrozenImporter.find_spec(name) is None
    return name in _PACKAGES and not _is_installed_in(folder)


def _is_installed_in(folder: str) -> bool:
    """Return whether an installer has put packages into a folder."""
    if os.path.basename(folder) in ("site-packages", "dist-packages"):  # noqa: PTH119
        return True
    return any(entry.endswith((".dist-info", ".egg-info")) for entry in os.listdir(folder))  # noqa: PTH208


def _files_of(error: BaseException) -> Iterator[str]:
    """Yield the files that an error comes from: those of its traceback, and the module that lacks a name."""
    if isinstance(error, ImportError) and error.path:
        yield error.path
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame.f_code.co_filename
        trace = trace.tb_next
