# SPDX-License-Identifier: MIT
"""The targets by name, and how a target is made from what a user wrote. Imports a target only when it is made."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final

from virnuc_profiler.errors import ModelError, UsageError, VirnucError, first_line
from virnuc_profiler.targets.containment.guarded_call import guarded_call
from virnuc_profiler.targets.contract import Target, TargetOptions
from virnuc_profiler.targets.knobs.configuration import BUILTIN_TARGET

_REQUIRED: Final = ("describe", "knobs", "run")
_REPORTED: Final = (VirnucError, MemoryError)
"""Errors of a factory that say by themselves what is wrong."""


@dataclass(frozen=True, slots=True)
class RegisteredTarget:
    """A target that users choose by its name.

    Attributes:
        factory: Factory as ``module:function``.
        package: Module that the target drives, which must be importable; empty if it needs none.
        install: How to install that package, such as ``pip install transformers``.
        summary: What it runs, in a few words, for ``--help`` and messages.
    """

    factory: str
    package: str
    install: str
    summary: str


_ADAPTERS: Final = "virnuc_profiler.targets.adapters"

TARGETS: Final[Mapping[str, RegisteredTarget]] = MappingProxyType(
    {
        "huggingface": RegisteredTarget(
            f"{_ADAPTERS}.huggingface_target:make_target",
            "transformers",
            "pip install transformers",
            "Hugging Face's EsmModel over padded batches",
        ),
        "fair-esm": RegisteredTarget(
            f"{_ADAPTERS}.fair_esm_target:make_target", "esm", "pip install fair-esm", "fair-esm's extract script"
        ),
        "virnucpro": RegisteredTarget(
            f"{_ADAPTERS}.virnucpro_target:make_target",
            "virnucpro",
            "git clone https://github.com/broadinstitute/virnucpro-broad, install its requirements.txt, and put the "
            "clone on PYTHONPATH",
            "virnucpro's async runner, loader and collator",
        ),
        "faesm": RegisteredTarget(
            f"{_ADAPTERS}.faesm_target:make_target",
            "faesm",
            "pip install faesm 'transformers<4.54'",
            "FAESM's encoder over padded batches",
        ),
        "esm-efficient": RegisteredTarget(
            f"{_ADAPTERS}.esm_efficient_target:make_target",
            "esme",
            "pip install flash-attn --no-build-isolation; pip install esm-efficient",
            "esm-efficient's packed dataset and model",
        ),
    }
)
"""The targets beside the built-in one, by the name that ``--target`` takes."""


def make_target(name: str, options: TargetOptions) -> Target:
    """Make a target.

    Args:
        name: A name of :data:`TARGETS`, ``module:factory``, or ``path/to/file.py:factory``.
        options: Options of the factory.

    Raises:
        UsageError: There is no such target, its package is missing, or what the factory returns is no target.
        ModelError: The factory failed.
    """
    factory = _factory(name)
    try:
        with guarded_call(name):
            target = factory(options)
    except _REPORTED:
        raise
    except Exception as error:
        if "out of memory" in str(error):  # keeps the class by which a failure is known to be one of memory
            raise
        raise ModelError(f"target {name} could not be made: {type(error).__name__}: {first_line(error)}") from error
    return require_target(target, name)


def source_version(name: str) -> dict[str, str]:
    """Return a fingerprint of the file that holds a user's own target, by the file's name; empty if there is none.

    Args:
        name: Target as the user named it, which was made already.
    """
    place = name.rpartition(":")[0]
    module = sys.modules.get(Path(place).stem if place.endswith(".py") else place)
    try:
        file = Path(getattr(module, "__file__", None) or "")
        return {file.name: f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}"}
    except OSError:  # a module without a file, or one that is gone
        return {}


def require_target(target: Any, name: str) -> Target:
    """Return an object that keeps the contract, and refuse any other.

    Args:
        target: What a factory returned.
        name: Target as the user named it.

    Raises:
        UsageError: A method is missing.
    """
    missing = [method for method in _REQUIRED if not callable(getattr(target, method, None))]
    if missing:
        raise UsageError(
            f"target {name} made a {type(target).__name__} without {', '.join(f'{one}()' for one in missing)}: "
            "see virnuc_profiler.targets.contract.Target"
        )
    found: Target = target
    return found


def _factory(name: str) -> Callable[[TargetOptions], Any]:
    if name in TARGETS:
        known = TARGETS[name]
        if known.package and not is_installed(known.package):
            raise UsageError(f"target {name} needs the package {known.package}, which is missing: {known.install}")
        name = known.factory
    if name.endswith(".py"):
        raise UsageError(f"target {name} names a file without its factory: add it, as in {name}:make")
    place, colon, function = name.rpartition(":")
    if not (colon and place and function.isidentifier()):
        names = ", ".join((BUILTIN_TARGET, *TARGETS))
        raise UsageError(
            f"there is no target {name!r}: name one of {names}, or your own, as module:factory or as "
            "path/to/file.py:factory"
        )
    module = _module_in_file(Path(place)) if place.endswith(".py") else _module(place)
    factory = getattr(module, function, None)
    if not callable(factory):
        raise UsageError(f"target {name!r} has no factory: {place} has no function {function}(options)")
    made: Callable[[TargetOptions], Any] = factory
    return made


def is_installed(package: str) -> bool:
    """Return whether a module can be imported, without importing it.

    Args:
        package: Name of the module.
    """
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # a parent package is missing, or a stand-in has no spec
        return package in sys.modules


def _module(name: str) -> ModuleType:
    _add_to_path(Path.cwd())
    return _imported(name, f"target module {name}")


def _module_in_file(path: Path) -> ModuleType:
    """Import a file by its name, so that processes that the target starts can import it too.

    Raises:
        UsageError: The file is missing, cannot be imported, or has the name of another module.
    """
    path = path.resolve()
    if not path.is_file():
        raise UsageError(f"target file {path} does not exist")
    if not path.stem.isidentifier():
        raise UsageError(f"target file {path} cannot be imported by its name: rename it to a Python identifier")
    _add_to_path(path.parent)
    module = _imported(path.stem, f"target file {path}")
    found = getattr(module, "__file__", None)
    if found is None or Path(found).resolve() != path:
        raise UsageError(f"target file {path} has the name of the module {path.stem} ({found}): rename the file")
    return module


def _add_to_path(folder: Path) -> None:
    """Add a folder at the end of the path, where it hides no module of Python or of a package."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _imported(module: str, what: str) -> ModuleType:
    try:
        with guarded_call(what):
            return importlib.import_module(module)
    except VirnucError:
        raise
    except Exception as error:
        raise UsageError(f"{what} cannot be imported: {type(error).__name__}: {first_line(error)}") from error
