# SPDX-License-Identifier: MIT
"""Compare the claims about throughput on an H200 with a table of results. Pure.

On every workload, the claim for bf16 is that nothing is lost around the forward pass. Absolute speed, and speed against
the alternatives, are claimed on the sweep's own workload only: on short sequences, sorted by length, the alternatives
pad almost nothing, and so close to the GPU's ceiling bf16 cannot beat them by such factors. The table shows the
factors. FP8 has a higher ceiling, and its claim holds on every workload.
"""

from __future__ import annotations

from typing import Final

from benchmarks.claim import Claim, at_least
from benchmarks.throughput_figures import (
    BEST,
    BEST_FP8,
    DEFAULTS,
    FAIR_ESM,
    FORWARD,
    FORWARD_FP8,
    HUGGING_FACE,
    Table,
    over,
)

FORWARD_GOALS: Final = {"8M": 10_000_000, "150M": 1_200_000, "650M": 380_000, "3B": 100_000}
"""Required tokens/s of the forward pass alone, at its best token budget."""

END_TO_END_SHARES: Final = {
    "8M": {BEST: 0.85},
    "150M": {BEST: 0.85},
    "650M": {DEFAULTS: 0.95, BEST: 0.95},
    "3B": {DEFAULTS: 0.95, BEST: 0.95},
}
"""Minimum steady rate end to end, as a share of the forward pass alone at the same token budget."""

WORDS: Final = {DEFAULTS: "defaults", BEST: "best", BEST_FP8: "best, fp8"}
OVER_OTHERS: Final = {HUGGING_FACE: ("Hugging Face", 2.0), FAIR_ESM: ("fair-esm", 2.5)}
LARGE_MODELS: Final = ("650M", "3B")
"""Models for which a device that is in its stages, and more speed than the alternatives, are claimed."""

FP8_MODELS: Final = ("3B",)
FP8_GAIN: Final = 1.3
FP8_COSINE: Final = 0.999

STAGE_SHARE: Final = 0.98
SWEEP: Final = "sweep"


def judge(table: Table) -> list[Claim]:
    """Judge each claim about this model on this workload."""
    around = [*_end_to_end(table), *_busy(table)]
    return [*_forward(table), *around, *_over_others(table)] if table.workload == SWEEP else around


def judge_fp8(table: Table, lowest_cosine: float | None) -> list[Claim]:
    """Judge the claims about FP8, if it was measured: speed at the budget where bf16 is fastest, and precision.

    FP8 must also beat the alternatives by the factors of bf16, on short sequences too.
    """
    best = table.fastest(FORWARD)
    if table.model not in FP8_MODELS or table.find(FORWARD_FP8) is None:
        return []
    others = _over_others(table, BEST_FP8) if table.find(BEST_FP8) else []
    if table.workload != SWEEP:
        return others
    gain = None if best is None else over(table.rate(FORWARD_FP8, best.token_budget), best.tokens_per_s)
    return [
        *others,
        at_least(f"{table.model}: FP8 at least {FP8_GAIN} x bf16", gain, FP8_GAIN, "x{:.3f}"),
        at_least(
            f"{table.model}: FP8 vectors at least {FP8_COSINE} similar to bf16", lowest_cosine, FP8_COSINE, "{:.5f}"
        ),
    ]


def compare_fp8(table: Table) -> list[str]:
    """Describe in words what FP8 gains at each budget."""
    found = []
    for figure in table.figures:
        gain = over(figure.tokens_per_s, table.rate("c", figure.token_budget))
        if figure.role == FORWARD_FP8 and gain is not None:
            found.append(f"{table.model}, {table.workload}: FP8 is x{gain:.3f} at {figure.token_budget:,} tokens")
    return found


def _forward(table: Table) -> list[Claim]:
    goal = FORWARD_GOALS.get(table.model)
    if goal is None:
        return []
    best = table.fastest(FORWARD)
    text = f"{table.model}: forward alone at least {goal:,} tokens/s"
    budget = "" if best is None else f" with packs of {best.token_budget:,}"
    return [at_least(text, None if best is None else best.tokens_per_s, goal, "{:,.0f}" + budget)]


def _end_to_end(table: Table) -> list[Claim]:
    return [
        at_least(
            f"{_subject(table)}: end to end, {WORDS[role]}, at least {share:.0%} of the forward alone",
            table.of_forward(role),
            share,
            "{:.1%}",
        )
        for role, share in END_TO_END_SHARES.get(table.model, {}).items()
    ]


def _over_others(table: Table, role: str = BEST) -> list[Claim]:
    if table.model not in LARGE_MODELS:
        return []
    return [
        at_least(
            f"{_subject(table)}: end to end, {WORDS[role]}, at least {factor:g} x {name}",
            over(table.rate(role), table.rate(other)),
            factor,
            "{:.2f} x",
        )
        for other, (name, factor) in OVER_OTHERS.items()
    ]


def _busy(table: Table) -> list[Claim]:
    if table.model not in LARGE_MODELS:
        return []
    found = []
    for role in (DEFAULTS, BEST):
        figure = table.find(role)
        share = None if figure is None else figure.mean_of("stage_share")
        text = f"{_subject(table)}: in device stages, end to end, {WORDS[role]}, at least {STAGE_SHARE:.0%} of the time"
        found.append(at_least(text, share, STAGE_SHARE, "{:.2%}"))
    return found


def _subject(table: Table) -> str:
    """Return the model, and the workload if it is not the default one."""
    return table.model if table.workload == SWEEP else f"{table.model}, {table.workload}"
