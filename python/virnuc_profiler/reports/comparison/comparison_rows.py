# SPDX-License-Identifier: MIT
"""The cells and sentences of a comparison, for all formats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from virnuc_profiler.analysis.comparison.compared import Compared, configuration_text
from virnuc_profiler.analysis.comparison.differences import Difference, value_text
from virnuc_profiler.analysis.comparison.effects import BATCHES, RANGE, Effect
from virnuc_profiler.analysis.comparison.measured_run import Side
from virnuc_profiler.analysis.comparison.metrics import CANNOT_TELL, SAME, Metric
from virnuc_profiler.reports.figures import NOT_MEASURED, counted, limit, number, share, words

HEADINGS: Final = ("Reference", "Candidate", "Change", "Interval, %", "Verdict")


def headline(compared: Compared) -> str:
    """Return the overall verdict, such as ``SLOWER: steady tokens/s -2.91%, -3.35 to -2.46%``.

    Args:
        compared: The comparison.
    """
    effect = compared.main_effect
    if effect is None:
        return "CANNOT TELL: no rate was measured"
    verdict, figure = effect.verdict, f"{effect.metric.label[0].lower()}{effect.metric.label[1:]}"
    if effect.ratio is None:
        return f"{verdict}: {figure}, {effect.reason}"
    if effect.direction == SAME:
        verdict += f" within {limit(100 * compared.rule.threshold, '%')}"
    if effect.direction != CANNOT_TELL and effect.basis == BATCHES and not compared.rule.run_noise:
        verdict += " in these two runs"
    interval = "" if effect.low is None else f", {interval_text(effect)}%"
    reason = f" ({effect.reason})" if effect.reason else ""
    return f"{verdict}: {figure} {change_text(effect)}{interval}{reason}"


def effect_cells(effect: Effect) -> list[str]:
    """Return the cells of an effect under :data:`HEADINGS`.

    Args:
        effect: The effect.
    """
    values = (value_of(effect.metric, value) for value in (effect.reference, effect.candidate))
    return [*values, change_text(effect), interval_text(effect), effect.verdict]


def reason_sentence(effects: Sequence[Effect]) -> str:
    """Return why some metrics have no verdict, such as ``Cannot tell: Start-up, s (one run each)``; empty if all have.

    Args:
        effects: The effects.
    """
    labels: dict[str, list[str]] = {}
    for effect in effects:
        if effect.reason:
            labels.setdefault(effect.reason, []).append(effect.metric.label)
    reasons = [f"{', '.join(found)} ({reason})" for reason, found in labels.items()]
    return f"Cannot tell: {'; '.join(reasons)}." if reasons else ""


def value_of(metric: Metric, value: float | None) -> str:
    """Return the value of a metric as a text.

    Args:
        metric: The metric.
        value: Its value; None if it was not measured.
    """
    return share(value) if metric.is_share else number(value, metric.digits)


def change_text(effect: Effect) -> str:
    """Return the estimated change, such as ``-2.91%``.

    Args:
        effect: The effect.
    """
    return NOT_MEASURED if effect.ratio is None else _signed(effect.ratio)


def interval_text(effect: Effect) -> str:
    """Return the interval of the change in percent, such as ``-3.35 to -2.46``.

    Args:
        effect: The effect.
    """
    if effect.low is None or effect.high is None:
        return NOT_MEASURED
    if effect.basis == RANGE and effect.low == effect.high:
        return "exact"
    return f"{_signed(effect.low).removesuffix('%')} to {_signed(effect.high).removesuffix('%')}"


def side_text(side: Side) -> str:
    """Return what a side is, such as ``main.json (3 runs)``.

    Args:
        side: The side.
    """
    return f"{words(side.name, 500)} ({counted(len(side.succeeded()), 'trial' if side.is_sweep else 'run')})"


def difference_cells(difference: Difference) -> list[str]:
    """Return name, value of the reference and value of the candidate.

    Args:
        difference: The difference.
    """
    return [
        words(difference.name.replace("_", " ").replace(".", ": ", 1)),
        words(value_text(difference.reference)),
        words(value_text(difference.candidate)),
    ]


def configuration_table(compared: Compared) -> list[list[str]]:
    """Return a row for each configuration that both sweeps have, after the headings; nothing for runs.

    Args:
        compared: The comparison.
    """
    if not compared.configurations:
        return []
    names = varied_knobs([configuration for configuration, _ in compared.configurations])
    rows = [
        [*(words(configuration.get(name)) for name in names), *effect_cells(effect)]
        for configuration, effect in compared.configurations
    ]
    return [[*(words(name.replace("_", " ")) for name in names), *HEADINGS], *rows]


def configuration_reasons(compared: Compared) -> str:
    """Return why configurations have no verdict, such as ``Cannot tell: 8 configurations (single trial)``.

    Args:
        compared: The comparison.
    """
    reasons = Counter(effect.reason for _, effect in compared.configurations if effect.reason)
    parts = [f"{counted(count, 'configuration')} ({reason})" for reason, count in reasons.items()]
    return f"Cannot tell: {'; '.join(parts)}." if parts else ""


def varied_knobs(configurations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the knobs that have more than one value, or all of a single configuration.

    Args:
        configurations: The configurations.
    """
    names = list(dict.fromkeys(name for configuration in configurations for name in configuration))
    varied = [name for name in names if len({configuration.get(name) for configuration in configurations}) > 1]
    return varied or names


def sweep_sentences(compared: Compared) -> list[str]:
    """Return what two sweeps recommend, what that changes, and what failed on one side only.

    Args:
        compared: The comparison.
    """
    found = []
    sides = {"reference": compared.reference, "candidate": compared.candidate}
    chosen = {name: configuration_text(side.recommended) for name, side in sides.items() if side.recommended}
    if len(chosen) == 1:
        ((which, named),) = chosen.items()
        found.append(f"Recommendation of the {which} only: {words(named, 500)}")
    elif chosen:
        first, second = chosen.values()
        both = f"both recommend {first}" if first == second else f"{first}, then {second}"
        effect = compared.recommended
        gain = ""
        if effect is not None:
            gain = f": {change_text(effect)} ({interval_text(effect)}), {effect.verdict}"
        found.append(f"Recommendation: {words(both, 500)}{gain}")
    for failure in compared.failures:
        which = "candidate" if failure.in_candidate else "reference"
        named = words(configuration_text(failure.configuration), 500)
        found.append(f"Failed in the {which} only: {named} ({words(failure.reason)})")
    return found


def interval_sentence(compared: Compared) -> str:
    """Return what the intervals are.

    Args:
        compared: The comparison.
    """
    confidence = limit(100 * compared.rule.confidence, "%")
    shared = "; those of the configurations hold all at once" if len(compared.configurations) > 1 else ""
    within = limit(100 * compared.rule.threshold, "%")
    return (
        f"Change: candidate over reference, with the {confidence} interval of each line{shared}. SAME: within {within}."
    )


def _signed(ratio: float) -> str:
    change = 100.0 * (ratio - 1.0)
    if abs(change) >= 1e6:
        return ">+1e6%"
    if change < -99.0:
        return number(change, 1, "%", beside=-100.0)  # a little that is left must not read as nothing
    return f"{change:+,.2f}%" if abs(change) < 10.0 else f"{change:+,.1f}%"
