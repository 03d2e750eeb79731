# SPDX-License-Identifier: MIT
"""Import the program of an adapter, say what is missing, and name the versions of what a run uses."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from virnuc_profiler.errors import LibraryUnavailable
from virnuc_profiler.targets.registry import TARGETS


def import_program(target: str, module: str | None = None) -> Any:
    """Return a module of the program that a target drives.

    Args:
        target: Name of the target.
        module: Name of the module; by default, the program's own package.

    Raises:
        LibraryUnavailable: The program, or something that it imports, is missing. The message says how to install it.
    """
    known = TARGETS[target]
    try:
        return import_module(module or known.package)
    except ImportError as error:
        if error.name == known.package:
            reason = f"needs the package {known.package}"
        else:
            reason = f"cannot import {module or known.package} ({error})"
    raise LibraryUnavailable(f"--target {target} {reason}: {known.install}")


def versions_of(*packages: str) -> dict[str, str]:
    """Return the versions of distributions, for a target's description; those that are not installed are left out.

    Args:
        *packages: Names of distributions, such as ``fair-esm``.
    """
    return {package: found for package in ("torch", *packages) if (found := _version(package)) is not None}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
