# SPDX-License-Identifier: MIT
"""The knobs of a sweep, and a configuration: one value for each of them.

A field of :class:`Configuration` is the one definition of a knob. Command line, grids, tables, files and run ids all
work from :data:`KNOBS`, which is derived from these fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Final

from virnuc_profiler.inference.argument_checks import MAX_INT32
from virnuc_profiler.targets.knobs.knob import (
    FIRST_VERSION,
    METADATA_KEY,
    Knob,
    KnobValue,
    Part,
    choice_knob,
    integer_knob,
)


@dataclass(frozen=True, slots=True)
class Configuration:
    """One point of the sweep; the defaults are the baseline.

    Attributes:
        num_workers: DataLoader processes that read and encode; 0 does it in the main process.
        prefetch_factor: Chunks that each worker keeps ready.
        token_budget: Most tokens of one packed batch, BOS and EOS included.
        buffer_size: Sequences that are collected before they are packed.
        precision: Precision of the model, where a sweep varies it; None for the one that the model was loaded with.

    Raises:
        ValueError: A value has the wrong type or is out of its range.
    """

    num_workers: int = integer_knob(
        4, low=0, high=1024, code="w", heading="Workers", part="loader",
        help="DataLoader processes; 0 reads in the main process", since="1.0",
    )  # fmt: skip
    prefetch_factor: int = integer_knob(
        4, low=1, high=1024, code="pf", heading="Prefetch", part="loader",
        help="chunks that each worker keeps ready", idle_without="num_workers", since="1.0",
    )  # fmt: skip
    token_budget: int = integer_knob(  # at least BOS, one residue and EOS; at most what int32 cumulative lengths count
        4096, low=3, high=MAX_INT32, code="tb", heading="Budget", part="collator",
        help="most tokens of a packed batch", argument="max_tokens_per_batch", since="1.0",
    )  # fmt: skip
    buffer_size: int = integer_knob(
        2000, low=1, high=MAX_INT32, code="bs", heading="Buffer", part="collator",
        help="sequences collected before they are packed", since="1.0",
    )  # fmt: skip
    precision: str | None = choice_knob(
        None, choices=("fp16", "bf16", "fp32", "fp8"), heading="Precision", part="model",
        help="precision of the model", default_text="fp16 on a GPU, fp32 on a CPU",
        model_keys=("precision", "attention_backend", "kernels", "bytes_per_token", "fixed_bytes"),
        since="1.1",
    )  # fmt: skip

    def __post_init__(self) -> None:
        for name, knob in KNOBS.items():
            knob.check(getattr(self, name))

    @property
    def run_id(self) -> str:
        """The name of a run with this configuration, which is also part of its files' names."""
        parts = (knob.run_id_part(getattr(self, name)) for name, knob in KNOBS.items())
        return "_".join(["tune", *filter(None, parts)])

    def arguments(self, part: Part) -> dict[str, Any]:
        """Return the keyword arguments by which one part of a run gets the values that are not its defaults."""
        return {KNOBS[name].argument: value for name, value in self.values(part).items()}

    def values(self, part: Part | None = None) -> dict[str, KnobValue]:
        """Return the values by name, as files name them.

        Args:
            part: Part of a run whose knobs are wanted; None for all of them.
        """
        found: dict[str, KnobValue] = {}
        for name, knob in KNOBS.items():
            value = getattr(self, name)
            if part in (None, knob.part) and knob.is_written(value):
                found[name] = value
        return found

    def to_json(self) -> dict[str, KnobValue]:
        """Return the values as result files hold them."""
        return self.values()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Configuration:
        """Read the values of a file. A knob that came after the first version has its default where it is missing.

        Raises:
            ValueError: A knob is missing, cannot have its value, or is unknown, as in a file of a newer version.
        """
        for name in values:
            require_knob(name)
        for name, knob in KNOBS.items():
            if knob.since == FIRST_VERSION and name not in values:
                raise ValueError(f"{name} is missing")
        return cls(**values)

    def __str__(self) -> str:
        return ", ".join(f"{name}={KNOBS[name].text(value)}" for name, value in self.values().items())


KNOBS: Final[Mapping[str, Knob]] = MappingProxyType(
    {field.name: field.metadata[METADATA_KEY].named(field.name) for field in fields(Configuration)}
)
"""All knobs by name, in the order of run ids and tables."""

MODEL_KNOBS: Final = tuple(name for name, knob in KNOBS.items() if knob.needs_new_model)
"""Names of the knobs whose values need a model of their own."""

BASELINE: Final = Configuration()


def require_knob(name: str) -> Knob:
    """Return the knob of this name.

    Raises:
        ValueError: There is none; the message lists those that there are.
    """
    if name not in KNOBS:
        raise ValueError(f"{name!r} is not a knob of the sweep; the knobs are {', '.join(KNOBS)}")
    return KNOBS[name]
