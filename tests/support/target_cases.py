# SPDX-License-Identifier: MIT
"""The targets that the tests of all targets run with. An adapter is tested by adding a line here."""

import importlib.util
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass(frozen=True)
class TargetCase:
    """A target, small enough for the CPU.

    Attributes:
        target: What ``--target`` takes.
        package: Module without which it cannot run.
        model: What ``--model`` takes.
        weights: What ``--weights`` takes.
        knobs: Values that make several batches of eight short sequences, of all knobs that a sweep would vary.
        slow_start: Whether a run takes seconds until its first batch, for tests whose limits are shorter.
    """

    target: str
    package: str = "virnuc_profiler"
    model: str | None = None
    weights: str = "random"
    knobs: dict[str, Any] = field(default_factory=dict)
    slow_start: bool = False

    def require_quick_start(self) -> None:
        """Skip a test whose time limits leave no time for the start."""
        if self.slow_start:
            pytest.skip(f"{self.target} takes longer to start than this test allows")


PADDED = {"batch_tokens": 160, "sort_by_length": False, "num_workers": 0}

CASES = {
    "toy": TargetCase("tests.support.toy_target:make", knobs={"batch_size": 8}),
    "huggingface": TargetCase("huggingface", "transformers", "tiny", knobs=PADDED),
    "fair_esm": TargetCase("fair-esm", "esm", "tiny", knobs={"batch_tokens": 160}),
    "virnucpro": TargetCase(
        "virnucpro",
        "virnucpro",
        "tiny",
        knobs={"token_budget": 160, "buffer_size": 20, "num_workers": 1},
        slow_start=True,
    ),
    "faesm": TargetCase("faesm", "faesm", "tiny", knobs=PADDED),
    "esm_efficient": TargetCase("esm-efficient", "esme", "tiny", knobs={"token_budget": 160, "num_workers": 0}),
}


def parameters():
    """Return the names of the cases as parameters, with those skipped whose package is missing."""
    found = []
    for name, case in CASES.items():
        missing = importlib.util.find_spec(case.package) is None
        marks = [pytest.mark.skipif(missing, reason=f"{case.package} is not installed")]
        if name != "toy":  # which starts at once
            marks.append(pytest.mark.slow)
        found.append(pytest.param(name, marks=marks))
    return found
