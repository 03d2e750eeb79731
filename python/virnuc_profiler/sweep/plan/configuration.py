# SPDX-License-Identifier: MIT
"""The four settings that a sweep tunes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from virnuc_profiler.inference.argument_checks import MAX_INT32

RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "num_workers": (0, 1024),
    "prefetch_factor": (1, 1024),
    "token_budget": (3, MAX_INT32),  # BOS, one residue and EOS; what int32 cumulative lengths can count
    "buffer_size": (1, MAX_INT32),
}
"""Smallest and largest value of each setting, both inclusive."""


def check_setting(name: str, value: Any) -> int:
    """Returns `value` if the setting `name` can have it.

    Raises:
        ValueError: it cannot; the message names the setting, the value and the range.
    """
    smallest, largest = RANGES[name]
    if isinstance(value, bool) or not isinstance(value, int) or not smallest <= value <= largest:
        raise ValueError(f"{name} is {value!r}; it must be a whole number from {smallest:,} to {largest:,}")
    return value


@dataclass(frozen=True, slots=True)
class Configuration:
    """One point of the sweep; the defaults are the baseline.

    Attributes:
        num_workers: DataLoader processes that read and encode; 0 does it in the main process.
        prefetch_factor: chunks that each worker keeps ready.
        token_budget: most tokens of one packed batch, BOS and EOS included.
        buffer_size: sequences collected before they are packed.

    Raises:
        ValueError: a value is not a whole number, or is out of its range.
    """

    num_workers: int = 4
    prefetch_factor: int = 4
    token_budget: int = 4096
    buffer_size: int = 2000

    def __post_init__(self) -> None:
        for field in fields(self):
            check_setting(field.name, getattr(self, field.name))

    @property
    def run_id(self) -> str:
        """Names the run and its telemetry file."""
        return f"tune_{self.num_workers}w_{self.prefetch_factor}pf_{self.token_budget}tb_{self.buffer_size}bs"

    def as_dict(self) -> dict[str, int]:
        """As result files hold it."""
        return asdict(self)

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.as_dict().items())


BASELINE: Final = Configuration()
