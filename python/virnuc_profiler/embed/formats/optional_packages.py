# SPDX-License-Identifier: MIT
"""The packages that write and read vectors, most of which the extra ``embed`` installs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from virnuc_profiler.errors import LibraryUnavailable


def require_package(module: str, purpose: str, install: str = "'virnuc_profiler[embed]'") -> Any:
    """Import a module of an optional package.

    Args:
        module: Name of the module, such as ``pyarrow.parquet``.
        purpose: What it is needed for, such as ``Parquet files``.
        install: What ``pip install`` must be given.

    Raises:
        LibraryUnavailable: The package is missing or cannot be imported; the message says how to install it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise LibraryUnavailable(
            f"{purpose} need {package}, which cannot be imported ({error}): pip install {install}"
        ) from error
