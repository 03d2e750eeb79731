# SPDX-License-Identifier: MIT
"""Import the program of an adapter, say what is missing, and name the versions of what a run uses."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from virnuc_profiler.errors import LibraryUnavailable
from virnuc_profiler.targets.adapters.catalog import ADAPTERS


def import_program(target: str, module: str | None = None) -> Any:
    """Return a module of the program that a target drives.

    Args:
        target: Name of the target.
        module: Name of the module; by default, the program's own package.

    Raises:
        LibraryUnavailable: The program, or something that it imports, is missing. The message says how to install it.
    """
    adapter = ADAPTERS[target]
    try:
        return import_module(module or adapter.package)
    except ImportError as error:
        if error.name == adapter.package:
            reason = f"needs the package {adapter.package}"
        else:
            reason = f"cannot import {module or adapter.package} ({error})"
    raise LibraryUnavailable(f"--target {target} {reason}: {adapter.install}")


def versions_of(*packages: str) -> dict[str, str]:
    """Return the versions of distributions, for a target's description; those that are not installed are left out.

    Args:
        *packages: Names of distributions, such as ``fair-esm``.
    """
    found = {}
    for package in ("torch", *packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
