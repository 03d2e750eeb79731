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
        knobs: Values of its knobs that make several batches of eight short sequences.
    """

    target: str
    package: str = "virnuc_profiler"
    model: str | None = None
    weights: str = "random"
    knobs: dict[str, Any] = field(default_factory=dict)


CASES = {
    "toy": TargetCase("tests.support.toy_target:make", knobs={"batch_size": 8}),
    "huggingface": TargetCase("huggingface", "transformers", "tiny", knobs={"batch_tokens": 160}),
    "fair_esm": TargetCase("fair-esm", "esm", "tiny", knobs={"batch_tokens": 160}),
    "virnucpro": TargetCase(
        "virnucpro", "virnucpro", "tiny", knobs={"token_budget": 160, "buffer_size": 20, "num_workers": 1}
    ),
    "faesm": TargetCase("faesm", "faesm", "tiny", knobs={"batch_tokens": 160}),
    "esm_efficient": TargetCase("esm-efficient", "esme", "tiny", knobs={"token_budget": 160}),
}


def parameters():
    """Return the names of the cases as parameters, with those skipped whose package is missing."""
    return [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                importlib.util.find_spec(case.package) is None, reason=f"{case.package} is not installed"
            ),
        )
        for name, case in CASES.items()
    ]
