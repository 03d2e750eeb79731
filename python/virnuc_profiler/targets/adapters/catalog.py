# SPDX-License-Identifier: MIT
"""Names of the adapters, where they are, and how their programs are installed. Imports none of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_HERE: Final = "virnuc_profiler.targets.adapters"


@dataclass(frozen=True, slots=True)
class Adapter:
    """A program that has an adapter.

    Attributes:
        factory: Function that makes the target, as ``module:function``.
        package: Module that must be importable.
        install: What a user runs to install the program.
    """

    factory: str
    package: str
    install: str


ADAPTERS: Final[Mapping[str, Adapter]] = MappingProxyType(
    {
        "huggingface": Adapter(f"{_HERE}.huggingface_target:make_target", "transformers", "pip install transformers"),
        "fair-esm": Adapter(f"{_HERE}.fair_esm_target:make_target", "esm", "pip install fair-esm"),
        "virnucpro": Adapter(
            f"{_HERE}.virnucpro_target:make_target",
            "virnucpro",
            "git clone https://github.com/broadinstitute/virnucpro-broad, install its requirements.txt, "
            "and put the clone on PYTHONPATH",
        ),
        "faesm": Adapter(
            f"{_HERE}.faesm_target:make_target", "faesm", "pip install faesm 'transformers<4.48' (flash-attn is optional)"
        ),
        "esm-efficient": Adapter(
            f"{_HERE}.esm_efficient_target:make_target",
            "esme",
            "pip install flash-attn --no-build-isolation; pip install esm-efficient",
        ),
    }
)
"""The adapters by the name that ``--target`` takes."""
