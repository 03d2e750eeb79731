# SPDX-License-Identifier: MIT
"""What a table of a sweep shows, in words that claim no more than was measured.

A difference is called one only where it was tested, in blocks. Where each configuration was measured once, the noise of
repeated measurements, above all of the baseline, gives intervals, which say what is not told apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from virnuc_profiler.analysis.confidence.paired import FASTER, MIN_BLOCKS_TO_DIFFER, SAME, SLOWER
from virnuc_profiler.reports.figures import NOT_MEASURED, counted, limit, number, times
from virnuc_profiler.reports.sweeps.sweep_columns import TIED, named
from virnuc_profiler.sweep.plan.cheapest import cheapest
from virnuc_profiler.sweep.plan.estimate import in_words
from virnuc_profiler.sweep.plan.objective import ENERGY
from virnuc_profiler.sweep.plan.steps import SEARCH
from virnuc_profiler.sweep.results.document import Document
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.results.verdicts.standing import Standing
from virnuc_profiler.sweep.results.verdicts.standings import says_something
from virnuc_profiler.targets.knobs.configuration import Configuration

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
    best = document.best
    if best is None:
        return
    if document.repeats < 2 or best.standing is None:  # as in older files
        yield from _once(document, best)
    elif document.complete:
        yield from _tested(document, best, best.standing)
    else:
        yield f"Differences are tested once all {document.repeats} blocks are measured."


def _once(document: Document, best: Result) -> Iterator[str]:
    """Yield what single measurements say of the best of a step, which is no test."""
    baseline = None if document.baseline is None else document.baseline.configuration
    level = [one for one in _tied(document) if one.configuration != best.configuration]
    if best.configuration == baseline:
        yield "That is the baseline itself, measured again" + (": keep it." if not level else ".")
    elif best.speedup is not None and best.speedup <= 1:
        frugal = "more frugal" if document.objective.kind == ENERGY else "faster"
        if all(one.configuration != baseline for one in level):
            level = []  # no matter how cheap: the baseline is better
        yield f"It is not {frugal} than the baseline" + (": keep the baseline." if not level else ".")
    if level:
        yield f"Not told apart from it by the noise so far, or within 2% (marked {TIED}): {_names(document, level)}."
        yield _recommended(document, [best, *level])
    if len(document.results) > 1:
        if any(one.standing is not None and one.standing.tied is None for one in _eligible(document)):
            yield "Too little was repeated so far, or differed too much, to tell it from the others."
        yield _untested(document)


def _tested(document: Document, best: Result, standing: Standing) -> Iterator[str]:
    """Yield what blocks have shown of the best of a step."""
    found = f"{times(standing.speedup, beside=None)}, {_range(standing.speedup_low, standing.speedup_high)}"
    blocks = counted(standing.blocks, "block")
    baseline = document.baseline
    if baseline is None or not baseline.succeeded or standing.speedup is None:
        yield "There is no measurement of the baseline to compare with."
        tied = [one for one in _tied(document) if one.configuration != best.configuration]
        if tied:
            yield f"Not told apart from it in {blocks} (marked {TIED}): {_names(document, tied)}."
            yield _recommended(document, [best, *tied])
        return
    if standing.verdict == FASTER:
        yield f"Better than the baseline in {blocks}: {found}."
        better = [one for one in _tied(document) if _verdict(one) == FASTER]
        if others := [one for one in better if one.configuration != best.configuration]:
            yield f"Not told apart from it: {_names(document, others)}."
            yield _recommended(document, better)
        return
    same = [one for one in _eligible(document) if _verdict(one) == SAME]
    if best.configuration == baseline.configuration:
        yield f"That is the baseline itself: nothing is shown to be better in {blocks}."
    elif standing.verdict == SLOWER:
        yield f"Worse than the baseline in {blocks}: {found}." + ("" if same else " Keep the baseline.")
    elif standing.verdict != SAME:
        more = "" if standing.blocks >= MIN_BLOCKS_TO_DIFFER else f"; a difference needs {MIN_BLOCKS_TO_DIFFER} blocks"
        yield f"Cannot tell in {blocks} whether it is better than the baseline: {found}{more}."
    if same:
        level = [baseline, *same]
        yield f"Tied within 2% in {blocks}: {_names(document, level)}."
        yield _recommended(document, level)


def _tied(document: Document) -> list[Result]:
    return [one for one in _eligible(document) if one.standing is not None and one.standing.tied]


def _eligible(document: Document) -> list[Result]:
    """Return the results that may be recommended: a throttled one only if all were, and an interrupted one never."""
    throttled = document.best is not None and document.best.throttled
    return [one for one in document.results if one.throttled == throttled and not one.interrupted]


def _verdict(result: Result) -> str | None:
    return None if result.standing is None else result.standing.verdict


def _recommended(document: Document, level: Sequence[Result]) -> str:
    """Return the cheapest of several configurations, of those that keep the requirements if the best does."""
    kept = [one for one in level if _keeps_requirements(document, one)] if document.constraint_met else []
    memory = _memory(kept or level)
    which = "Cheapest of them that keeps what is required" if 0 < len(kept) < len(level) else "Cheapest of them"
    return f"{which}: {_named(cheapest(memory, memory), document)}."


def _keeps_requirements(document: Document, result: Result) -> bool:
    return _packs(document, result) and document.objective.fits(result.peak_memory_gb)


def _packs(document: Document, result: Result) -> bool:
    return document.min_packing is None or (result.packing_efficiency or 0.0) >= document.min_packing


def _memory(results: Sequence[Result]) -> dict[Configuration, float | None]:
    return {one.configuration: one.peak_memory_gb for one in results}


def _untested(document: Document) -> str:
    if document.step == SEARCH:
        return "These are single trials of a search; the race of its finalists tests them."
    time = ""
    if document.took_sec is not None:
        baseline = None if document.baseline is None else document.baseline.configuration
        in_block = document.planned + all(one.configuration != baseline for one in document.results)
        time = f" in about {in_words(REPEATS * in_block * document.took_sec / len(document.results))}"
    once = "Each configuration was measured once in this step, so differences are not tested"
    return f"{once}; --repeats {REPEATS} tests them{time}."


def _names(document: Document, results: Sequence[Result]) -> str:
    """Return configurations by the knobs that the step varies, and the baseline by its name."""
    baseline = None if document.baseline is None else document.baseline.configuration
    others = [_named(one.configuration, document) for one in results if one.configuration != baseline]
    first = ["the baseline"] if len(others) < len(results) else []
    if len(others) > _MOST_NAMES:
        return " and ".join([*first, counted(len(others), "other")])
    return "; ".join([*first, *others])


def _named(configuration: Configuration, document: Document) -> str:
    return named(configuration, document.grid)


def _range(low: float | None, high: float | None) -> str:
    return f"{number(low, 2)} to {number(high, 2)}" if says_something(low, high) else "without a usable interval"


def _cost(result: Result) -> float | None:
    return None if result.standing is None or result.interrupted else result.standing.cost


def missed_requirement_note(document: Document) -> str:
    """Return that no configuration keeps what is required, with the cause where the workload shows it.

    Args:
        document: Document of a step whose requirement is missed.
    """
    limit_gb, required = document.objective.max_memory_gb, document.min_packing
    ran = [one for one in document.results if one.succeeded]
    if limit_gb is not None and not any(document.objective.fits(one.peak_memory_gb) for one in ran):
        within = limit(limit_gb, " GB")
        if all(one.peak_memory_gb is None for one in ran):
            return f"Device memory was not measured, so {within} cannot be required; the best without that is shown."
        return f"No configuration stayed within {within} of device memory; the best without that constraint is shown."
    packing = f"{NOT_MEASURED if required is None else limit(100 * required, '%')} packing efficiency"
    if all(one.packing_efficiency is None for one in ran):
        return f"Packing was not measured, so {packing} cannot be required; the best without that is shown."
    if limit_gb is not None and any(_packs(document, one) for one in ran):
        both = f"{packing} within {limit(limit_gb, ' GB')} of device memory"
        return f"No configuration reached {both}; the best within that memory is shown."
    return f"No configuration reached {packing}{_cause(document)}; the best without that constraint is shown."


def _cause(document: Document) -> str:
    workload = document.conditions.workload
    count, tokens = workload.get("num_sequences"), workload.get("tokens")
    ran = [result.configuration for result in document.results if result.succeeded]
    if (
        not document.knobs.is_builtin
        or not ran
        or not isinstance(count, int)
        or not isinstance(tokens, int)
        or not count
        or not tokens
    ):
        return ""
    mean = tokens / count

    def packs(one: Configuration) -> float:
        buffered: int = min(one.buffer_size, count)
        return buffered * mean / int(one.token_budget)

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
