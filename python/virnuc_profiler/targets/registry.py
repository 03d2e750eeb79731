# SPDX-License-Identifier: MIT
"""The targets by name, and how a target is made from what a user wrote. Imports a target only when it is made."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final

from virnuc_profiler.errors import ModelError, UsageError, VirnucError, first_line
from virnuc_profiler.targets.contract import Target, TargetOptions
from virnuc_profiler.targets.guarded_call import guarded_call
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
