# SPDX-License-Identifier: MIT
"""Import fair-esm, whose module ``esm`` shares its name with another package and with many folders of one's own."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from virnuc_profiler.errors import LibraryUnavailable

_REINSTALL = "pip uninstall esm; pip install --force-reinstall --no-deps fair-esm"


def import_fair_esm() -> Any:
    """Return the module ``esm`` of fair-esm.

    Raises:
        LibraryUnavailable: It is not installed, or another package or folder is imported under its name. The message
            names the file and the way out.
    """
    try:
        esm = import_module("esm")
        data = import_module("esm.data")
    except ImportError as error:
        if sys.modules.get("esm") is None:
            raise LibraryUnavailable(f"fair-esm cannot be imported ({error}): pip install fair-esm") from None
        raise LibraryUnavailable(_another_package(sys.modules["esm"], str(error))) from None
    if not hasattr(data, "Alphabet"):
        raise LibraryUnavailable(_another_package(esm, "it has no esm.data.Alphabet"))
    return esm


def _another_package(esm: Any, evidence: str) -> str:
    """Return what was imported as ``esm``, and how fair-esm can be imported instead.

    Args:
        esm: The module.
        evidence: Why it is not fair-esm's.
    """
    file = getattr(esm, "__file__", None) or next(iter(getattr(esm, "__path__", ())), "an unknown file")
    found = f"'esm' was imported from {file}, which is not fair-esm's ({evidence})"
    if not any(name in ("site-packages", "dist-packages") for name in Path(file).parts):
        return f"{found}: rename it, or start in another folder"
    if (other := _version("esm")) is not None:
        return f"{found}; the package esm {other} has the same module name: {_REINSTALL}"
    return f"{found}: {_REINSTALL}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
