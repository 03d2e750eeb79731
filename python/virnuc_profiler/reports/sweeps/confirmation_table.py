# SPDX-License-Identifier: MIT
"""The table of a confirmation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from virnuc_profiler.analysis.confidence.paired import MIN_BLOCKS_TO_AGREE, MIN_BLOCKS_TO_DIFFER
from virnuc_profiler.reports.figures import NOT_MEASURED, counted, limit, rate, times
from virnuc_profiler.reports.sweeps.sweep_columns import (
    MEASURED,
    SAVING,
    interval,
    joules,
    sequences_per_sec,
    unless_failed,
    with_half_width,
)
from virnuc_profiler.reports.sweeps.sweep_notes import failure_text, rate_notes
from virnuc_profiler.reports.sweeps.sweep_verdicts import REPEATS
from virnuc_profiler.reports.sweeps.table_layout import Column, rule, table
from virnuc_profiler.sweep.plan.estimate import in_words
from virnuc_profiler.sweep.plan.objective import ENERGY
from virnuc_profiler.sweep.results.document import Document
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.results.verdicts.confirmation import BETTER, TIED, Confirmation
from virnuc_profiler.targets.knobs.configuration import Configuration, KnobSet
from virnuc_profiler.telemetry.values import printable

_TITLE: Final = "Confirmation of the Best Configuration"


def render_confirmation(document: Document, width: int | None = None) -> str:
    """Return what the race of the best, the runner-up and the baseline has shown.

    Args:
        document: Document of the confirmation.
        width: Maximum number of characters of a line of the table; None for no limit.
    """
    found = document.confirmation
    if found is None:
        return "\n".join([_TITLE, rule(38), "Not run: no configuration has succeeded", rule(38)])
    if found.contenders is None:
        return "\n".join([_TITLE, rule(38), *_no_time(found), rule(38)])
    energy = document.objective.kind == ENERGY
    best = "least energy" if energy else "fastest"
    columns: list[Column] = [
        _configuration_column(document.knobs),
        Column("Role", lambda result: _role(found, result.configuration, best), leaves=8),
        Column("Seq/sec", unless_failed(lambda result: with_half_width(rate(sequences_per_sec(result)), result))),
        *([Column("J/seq", unless_failed(joules))] if energy else []),
        Column(SAVING if energy else "Speedup", unless_failed(lambda result: _advantage(found, result, energy))),
        MEASURED,
    ]
    lines = table(_TITLE, 38, columns, document.results, width)
    lines += [
        f"Failed: {printable(str(one.configuration))} ({failure_text(one)})"
        for one in document.results
        if not one.succeeded
    ]
    return "\n".join([*lines, *_verdict(found, document.complete), *rate_notes(document.results)])


def confirmation_sentences(document: Document) -> list[str]:
    """Return what a confirmation has shown in sentences: its time, its verdict and its recommendation.

    Args:
        document: Document of the confirmation.
    """
    found = document.confirmation
    if found is None:
        return ["Not run: no configuration has succeeded"]
    if found.contenders is None:
        return list(_no_time(found))
    return [*_verdict(found, document.complete), *rate_notes(document.results)]


def _configuration_column(knobs: KnobSet) -> Column:
    """Return the column of whole configurations, which are named as their files are where the table is narrow."""
    codes = [f"{knob.code}: {name}" for name, knob in knobs.items() if knob.code]
    return Column(
        "Configuration",
        lambda result: printable(str(result.configuration)),
        legend=", ".join(codes),
        coded=lambda result: printable(result.configuration.short_name),
        may_be_cut=True,
    )


def _verdict(found: Confirmation, complete: bool) -> Iterator[str]:
    blocks = counted(found.blocks, "block")
    reference = "fastest of the steps" if found.contenders and found.contenders.baseline is None else "baseline"
    used = f"{in_words(found.used_sec)} of at most {in_words(found.allowed_sec)}"
    share = "" if found.contenders is not None and found.contenders.others else ", a third of that of the steps before"
    late = "" if found.used_sec <= found.allowed_sec else ", exceeded because trials took longer than expected"
    yield f"Time: {used}{share}{late}; {blocks} in random order."
    if not complete:
        yield "Incomplete: the race has not ended."
    if found.verdict == BETTER:
        yield f"Verdict: better than the {reference}, with 95% confidence."
    elif found.verdict == TIED:
        which = "of the tied that keep what is required, the cheapest is recommended"
        yield f"Verdict: tied within {limit(2, '%')}, with 95% confidence; {which}."
    elif found.blocks >= MIN_BLOCKS_TO_DIFFER:
        yield "Verdict: cannot tell, because the blocks differ too much, or the difference is close to 2%."
    else:
        yield (
            f"Verdict: cannot tell. A tie takes at least {MIN_BLOCKS_TO_AGREE} blocks, a difference "
            f"{MIN_BLOCKS_TO_DIFFER}; --repeats {REPEATS} takes the time."
        )
    yield f"Recommended: {found.recommended or NOT_MEASURED}"


def _no_time(found: Confirmation) -> Iterator[str]:
    yield (
        f"Not run: {in_words(found.allowed_sec)}, a third of the time of the steps before, are too short for "
        f"{MIN_BLOCKS_TO_AGREE} blocks, or there is nothing to compare."
    )


def _role(found: Confirmation, configuration: Configuration, best: str) -> str:
    contenders = found.contenders
    assert contenders is not None
    roles = {
        best: contenders.winner,
        "runner-up": contenders.runner_up,
        "baseline": contenders.baseline,
    }
    names = [name for name, one in roles.items() if one == configuration]
    return ", ".join(names) or "finalist"


def _advantage(found: Confirmation, result: Result, energy: bool) -> str:
    comparison = found.comparisons.get(result.configuration)
    if comparison is None:
        return "1.00x"
    words = comparison.verdict.replace("_", " ")
    words = {"faster": "better", "slower": "worse"}.get(words, words) if energy else words
    return f"{times(comparison.ratio, beside=None)}{interval(comparison.low, comparison.high)} {words}"
