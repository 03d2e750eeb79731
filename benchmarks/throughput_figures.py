# SPDX-License-Identifier: MIT
"""Record what was measured of each alternative, and compare it with the others. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import mean
from typing import Any, Final

CEILING: Final = "ceiling"
FAIR_ESM: Final = "a"
HUGGING_FACE: Final = "b"
FORWARD: Final = "c"
FORWARD_FP8: Final = "c fp8"
DEFAULTS: Final = "d defaults"
BEST: Final = "d best"
BEST_FP8: Final = "d fp8"
FORWARD_OF: Final = {DEFAULTS: FORWARD, BEST: FORWARD, BEST_FP8: FORWARD_FP8}
"""Forward pass inside each end-to-end run."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One uninterrupted piece of work.

    Attributes:
        seconds: Wall time; for an end-to-end run, that of the steady state.
        tokens: Real tokens, including BOS and EOS and excluding padding; 0 for a bare matrix product.
        flops: FLOPs of the model on these tokens, each sequence by its own length; padding counts nothing.
        sm_clock_mhz: Mean SM clock; None without a GPU.
        power_w: Mean power; None without a GPU.
        stage_share: Share of the steady state in device stages, by the profiler; end to end only.
        whole_run_tokens_per_s: Rate that includes start-up and warm-up; end to end only.
        first_pass_tokens_per_s: Rate over the batches that ran before this turn, each for the first time, except for a
            few that load the kernels.
    """

    seconds: float
    tokens: int
    flops: float
    sm_clock_mhz: float | None = None
    power_w: float | None = None
    stage_share: float | None = None
    whole_run_tokens_per_s: float | None = None
    first_pass_tokens_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """One alternative. Without turns, or with a reason, it was not measured."""

    role: str
    name: str
    settings: str
    token_budget: int | None = None
    turns: tuple[Turn, ...] = ()
    reason: str = ""

    @property
    def measured(self) -> bool:
        """Whether every turn was measured."""
        return bool(self.turns) and not self.reason

    @property
    def tokens_per_s(self) -> float | None:
        """All tokens divided by all seconds; None if there are none."""
        tokens = sum(turn.tokens for turn in self.turns)
        return tokens / self._seconds if self.measured and tokens else None

    @property
    def tflops(self) -> float | None:
        """Useful TFLOP/s."""
        return sum(turn.flops for turn in self.turns) / self._seconds / 1e12 if self.measured else None

    @property
    def spread(self) -> float | None:
        """Difference between the fastest and the slowest turn, as a share of the mean rate; None with a single turn."""
        if not self.measured or len(self.turns) < 2:
            return None
        rates = [turn.flops / turn.seconds for turn in self.turns]
        return (max(rates) - min(rates)) / mean(rates)

    @property
    def first_pass(self) -> float | None:
        """Tokens/s of the batches that ran once before all turns; None if there were none."""
        return self.turns[0].first_pass_tokens_per_s if self.measured else None

    def mean_of(self, attribute: str) -> float | None:
        """Return the mean of an attribute over the turns, or None if one of them lacks it."""
        values = [getattr(turn, attribute) for turn in self.turns]
        return None if not self.measured or None in values else mean(values)

    @property
    def _seconds(self) -> float:
        return sum(turn.seconds for turn in self.turns)


@dataclass(frozen=True, slots=True)
class Table:
    """All alternatives of one model on one workload."""

    model: str
    workload: str
    figures: Sequence[Figure]

    def rate(self, role: str, token_budget: int | None = None) -> float | None:
        """Return the tokens/s of an alternative, or None if it was not measured."""
        found = self.find(role, token_budget)
        return None if found is None else found.tokens_per_s

    def find(self, role: str, token_budget: int | None = None) -> Figure | None:
        """Return the alternative with this role, and with this budget if one is given."""
        fitting = (f for f in self.figures if f.role == role and token_budget in (None, f.token_budget))
        return next(fitting, None)

    def fastest(self, role: str) -> Figure | None:
        """Return the fastest alternative with this role among its budgets, or None if none was measured."""
        found = [figure for figure in self.figures if figure.role == role and figure.tokens_per_s is not None]
        return max(found, key=lambda figure: figure.tokens_per_s or 0.0, default=None)

    def of_forward(self, role: str) -> float | None:
        """Return the steady rate of an end-to-end run divided by that of the forward pass alone at the same budget."""
        whole = self.find(role)
        if whole is None:
            return None
        return over(whole.tokens_per_s, self.rate(FORWARD_OF[role], whole.token_budget))

    @property
    def rows(self) -> list[list[str]]:
        """Return the cells below `HEADER`."""
        return [self._row(figure) for figure in self.figures]

    def _row(self, figure: Figure) -> list[str]:
        ceiling = self.find(CEILING)
        rate = figure.tokens_per_s
        of_forward = self.of_forward(figure.role) if figure.role in FORWARD_OF else None
        return [
            figure.name,
            figure.settings,
            shown(rate),
            shown(figure.spread, "{:.1%}"),
            shown(figure.mean_of("whole_run_tokens_per_s")),
            shown(figure.first_pass),
            shown(over(rate, self.rate(HUGGING_FACE)), "{:.2f}"),
            shown(of_forward, "{:.3f}"),
            shown(figure.tflops, "{:,.1f}"),
            shown(over(figure.tflops, ceiling.tflops if ceiling else None), "{:.1%}"),
            shown(figure.mean_of("sm_clock_mhz")),
            shown(figure.mean_of("power_w")),
            shown(figure.mean_of("stage_share"), "{:.2%}"),
            figure.reason,
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return a dict for JSON, turn by turn."""
        names = [field.name for field in fields(Turn)]
        figures = [
            {
                "role": figure.role,
                "name": figure.name,
                "settings": figure.settings,
                "token_budget": figure.token_budget,
                "tokens_per_s": figure.tokens_per_s,
                "tflops": figure.tflops,
                "reason": figure.reason,
                "turns": [{name: getattr(turn, name) for name in names} for turn in figure.turns],
            }
            for figure in self.figures
        ]
        return {"model": self.model, "workload": self.workload, "figures": figures}


HEADER: Final = (
    "alternative",
    "settings",
    "tokens/s",
    "between rounds",
    "whole run",
    "first pass",
    "x (b)",
    "x (c)",
    "TFLOP/s",
    "of ceiling",
    "SM MHz",
    "W",
    "in stages",
    "not measured because",
)


def over(numerator: float | None, denominator: float | None) -> float | None:
    """Return a ratio, or None if one of the two was not measured."""
    return None if numerator is None or not denominator else numerator / denominator


def shown(value: float | None, form: str = "{:,.0f}") -> str:
    """Return the text of a cell."""
    return "n/a" if value is None else form.format(value)
