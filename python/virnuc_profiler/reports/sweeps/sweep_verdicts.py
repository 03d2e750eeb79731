# SPDX-License-Identifier: MIT
"""What a table of a sweep shows, in words that claim no more than was measured.

A difference is called one only where it was tested, in blocks. Where each configuration was measured once, the noise of
repeated measurements, above all of the baseline, gives intervals, which say what is not told apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from virnuc_profiler.analysis.confidence.paired import FASTER, MIN_BLOCKS_TO_DIFFER, SAME, SLOWER
from virnuc_profiler.reports.figures import counted, limit, number, times
from virnuc_profiler.sweep.plan.cheapest import cheapest
from virnuc_profiler.sweep.plan.configuration import KNOBS, Configuration
from virnuc_profiler.sweep.plan.estimate import in_words
from virnuc_profiler.sweep.plan.objective import ENERGY
from virnuc_profiler.sweep.plan.steps import SEARCH
from virnuc_profiler.sweep.results.document import Document
from virnuc_profiler.sweep.results.result import Result

FASTEST: Final = "Fastest measured"
LEAST_ENERGY: Final = "Least energy measured"
BEST: Final = "Best"

REPEATS: Final = 5
"""Repeats that are suggested: the fewest with which a difference can be shown."""

_MOST_NAMES: Final = 4
"""More configurations than these are counted instead of named; the table marks them."""

_PACKS_PER_BUFFER: Final = 5
"""The last pack of a buffer is half empty on average, so fewer packs than these cannot be filled to 90 %."""
_SEQUENCES_PER_PACK: Final = 4
"""Packs of fewer sequences have gaps that no remaining sequence fits."""


def best_label(document: Document) -> str:
    """Return what the best of a step is, which may cost more than others that miss the required packing."""
    required, best = document.min_packing, document.best
    label = LEAST_ENERGY if document.objective.kind == ENERGY else FASTEST
    if best is None or best.standing is None:
        return label
    if best.standing.verdict == FASTER:
        label = BEST
    if not document.constraint_met or required is None:
        return label
    costs = [cost for one in document.results if not one.throttled and (cost := _cost(one)) is not None]
    if min(costs, default=0.0) >= (best.standing.cost or 0.0):
        return label
    return f"{label} with {limit(100 * required, '%')} packing or more"


def verdicts(document: Document) -> Iterator[str]:
    """Yield what the best of a step means beside the baseline and the noise.

    Args:
        document: Document of a step that varies knobs.
    """
    best, baseline = document.best, document.baseline
    if best is None or best.standing is None:
        return
    if best.standing.verdict is not None:
        yield from _tested(document, best)
        return
    if baseline is not None and best.configuration == baseline.configuration:
        yield "That is the baseline itself, measured again: keep it."
    elif best.speedup is not None and best.speedup <= 1:
        yield "It is not faster than the baseline: keep the baseline."
    yield from _not_told_apart(document, best)
    if len(document.results) > 1:
        yield _untested(document)


def _tested(document: Document, best: Result) -> Iterator[str]:
    """Yield what blocks have shown of the best of a step."""
    standing = best.standing
    assert standing is not None
    threshold = "2%"
    found = f"{times(standing.speedup, beside=None)}, {_range(standing.speedup_low, standing.speedup_high)}"
    blocks = counted(standing.blocks, "block")
    tied = [one for one in document.results if one.standing is not None and one.standing.tied]
    if standing.verdict == FASTER:
        better = [one for one in tied if one.standing is not None and one.standing.verdict == FASTER]
        yield f"Better than the baseline in {blocks}: {found}."
        if others := [one for one in better if one.configuration != best.configuration]:
            yield f"Not told apart from it: {_names(document, others)}."
            yield _recommended(document, better)
        return
    level = [one for one in tied if one.standing is not None and one.standing.verdict in (SAME, None)]
    if standing.verdict in (SAME, SLOWER):
        yield f"Tied within {threshold} of the baseline in {blocks}: {_names(document, level)}."
    else:
        more = "" if standing.blocks >= MIN_BLOCKS_TO_DIFFER else f"; a difference needs {MIN_BLOCKS_TO_DIFFER} blocks"
        yield f"Cannot tell in {blocks} whether it is better than the baseline: {found}{more}."
    if level:
        yield _recommended(document, level)


def _not_told_apart(document: Document, best: Result) -> Iterator[str]:
    """Yield what the noise does not tell from the best, and the cheapest of it."""
    tied = [
        one
        for one in document.results
        if one.standing is not None and one.standing.tied and one.configuration != best.configuration
    ]
    if not tied:
        return
    yield f"Not told apart from it by the noise so far (marked =): {_names(document, tied)}."
    yield _recommended(document, [best, *tied])


def _recommended(document: Document, level: Sequence[Result]) -> str:
    memory = {one.configuration: one.peak_memory_gb for one in level}
    return f"Cheapest of them: {_named(cheapest(memory, memory), document)}."


def _untested(document: Document) -> str:
    if document.step == SEARCH:
        return "These are single trials of a search; the race of its finalists tests them."
    seconds = document.took_sec
    time = "" if seconds is None else f" in about {in_words(REPEATS * seconds)}"
    return f"Each configuration was measured once, so differences are not tested; --repeats {REPEATS} tests them{time}."


def _names(document: Document, results: Sequence[Result]) -> str:
    """Return configurations by the knobs that the step varies, and the baseline by its name."""
    baseline = None if document.baseline is None else document.baseline.configuration
    others = [_named(one.configuration, document) for one in results if one.configuration != baseline]
    first = ["the baseline"] if len(others) < len(results) else []
    if len(others) > _MOST_NAMES:
        return " and ".join([*first, counted(len(others), "other")])
    return "; ".join([*first, *others])


def _named(configuration: Configuration, document: Document) -> str:
    return ", ".join(f"{name}={KNOBS[name].text(getattr(configuration, name))}" for name in document.grid)


def _range(low: float | None, high: float | None) -> str:
    return "no interval" if low is None or high is None else f"{number(low, 2)} to {number(high, 2)}"


def _cost(result: Result) -> float | None:
    return None if result.standing is None or result.interrupted else result.standing.cost


def missed_packing_note(document: Document) -> str:
    """Return that no configuration reaches the required packing, with the cause where the workload shows it.

    Args:
        document: Document of a step whose requirement is missed.
    """
    required = "n/a" if document.min_packing is None else limit(100 * document.min_packing, "%")
    cause = _cause(document)
    shown = "the best without that constraint is shown"
    return f"No configuration reached {required} packing efficiency{cause}; {shown}."


def _cause(document: Document) -> str:
    workload = document.conditions.workload
    count, tokens = workload.get("num_sequences"), workload.get("tokens")
    ran = [result.configuration for result in document.results if result.succeeded]
    if not ran or not isinstance(count, int) or not isinstance(tokens, int) or not count or not tokens:
        return ""
    mean = tokens / count

    def packs(one: Configuration) -> float:
        return min(one.buffer_size, count) * mean / one.token_budget

    fullest = max(ran, key=packs)
    budget = fullest.token_budget
    if packs(fullest) < _PACKS_PER_BUFFER:
        if fullest.buffer_size >= count:
            return (
                f": {counted(count, 'sequence holds', 'sequences hold')} {counted(tokens, 'token')}, and the token "
                f"budget asks for {budget:,} in a batch; use more sequences, or a smaller token_budget"
            )
        return (
            f": a buffer of {counted(fullest.buffer_size, 'sequence')} holds about "
            f"{number(round(fullest.buffer_size * mean))} tokens, and the token budget asks for {budget:,} in a batch; "
            "use a larger buffer_size, or a smaller token_budget"
        )
    largest = max(one.token_budget for one in ran)
    if largest < _SEQUENCES_PER_PACK * mean:
        return (
            f": sequences have {number(round(mean))} tokens on average, which leaves gaps in budgets of up to "
            f"{largest:,}; use a larger token_budget"
        )
    return ""
