# SPDX-License-Identifier: MIT
"""What a table of a sweep shows, in words that claim no more than was measured.

A step measures each configuration once. Only where its grid contains the baseline, which was measured before, do the
two measurements tell how far repetitions differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from virnuc_profiler.reports.figures import counted, limit, number, share
from virnuc_profiler.sweep.plan.configuration import Configuration
from virnuc_profiler.sweep.results.document import Document
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.telemetry.rates import ratio

FASTEST: Final = "Fastest measured"

_PACKS_PER_BUFFER: Final = 5
"""The last pack of a buffer is half empty on average, so fewer packs than these cannot be filled to 90 %."""
_SEQUENCES_PER_PACK: Final = 4
"""Packs of fewer sequences have gaps that no remaining sequence fits."""


def fastest_label(document: Document) -> str:
    """Return what the best of a step is, which may be slower than others that miss the required packing."""
    required, best = document.min_packing, document.best
    if best is None or not document.constraint_met or required is None:
        return FASTEST
    rates = [one.sequences_per_sec or 0.0 for one in document.results if one.succeeded and not one.throttled]
    if max(rates, default=0.0) <= (best.sequences_per_sec or 0.0):
        return FASTEST
    return f"{FASTEST} with {limit(100 * required, '%')} packing or more"


def verdicts(document: Document) -> Iterator[str]:
    """Yield what the best of a step means beside the baseline and the noise.

    Args:
        document: Document of a step that varies knobs.
    """
    best, baseline = document.best, document.baseline
    if best is None or best.sequences_per_sec is None:
        return
    if baseline is not None and baseline.sequences_per_sec is not None:
        if best.configuration == baseline.configuration:
            yield "That is the baseline itself, measured again: keep it."
        elif baseline.sequences_per_sec >= best.sequences_per_sec:
            yield "It is not faster than the baseline: keep the baseline."
    yield from _noise(document, best)


def _noise(document: Document, best: Result) -> Iterator[str]:
    noise = repeated_spread(document)
    if noise is None:
        if len(document.results) > 1:
            yield "Each configuration was measured once, so how much of a difference is noise is not known."
        return
    floor = (best.sequences_per_sec or 0.0) * (1 - noise)
    comparable = [one for one in document.results if one.succeeded and not one.interrupted]
    comparable = [one for one in comparable if one.throttled == best.throttled]
    fast = [one for one in comparable if (one.sequences_per_sec or 0.0) >= floor]
    others = {one.configuration for one in fast} - {best.configuration}
    close = []
    if document.baseline is not None and document.baseline.configuration != best.configuration:
        others -= {document.baseline.configuration}
        close = ["the baseline"] if (document.baseline.sequences_per_sec or 0.0) >= floor else []
    close += [counted(len(others), "other")] if others else []
    if not close:
        return
    verb = "is" if len(close) == 1 and len(others) < 2 else "are"
    yield (
        f"No difference beyond the noise: {' and '.join(close)} {verb} within the {share(noise)} by which two "
        "measurements of the baseline differ."
    )


def repeated_spread(document: Document) -> float | None:
    """Return how far the two measurements of the baseline differ, over their mean; None without two.

    Args:
        document: Document of a step.
    """
    baseline = document.baseline
    if baseline is None or not baseline.succeeded or baseline.interrupted or baseline.sequences_per_sec is None:
        return None
    for result in document.results:
        again = result.sequences_per_sec
        same = result.configuration == baseline.configuration and result.succeeded and not result.interrupted
        if same and again is not None:
            return ratio(2 * abs(again - baseline.sequences_per_sec), again + baseline.sequences_per_sec)
    return None


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
