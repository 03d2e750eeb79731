# SPDX-License-Identifier: MIT
"""The trials of a sweep in the order of time, and what a search had found after each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from markupsafe import Markup

from virnuc_profiler.reports.figures import counted, number, rate, times
from virnuc_profiler.reports.html.chart_frame import WHEEL_HINT, add_hover, add_points, new_figure
from virnuc_profiler.reports.html.figures_html import Figure, themed
from virnuc_profiler.reports.html.html_table import Cell, Column, Row, html_table
from virnuc_profiler.reports.html.sweeps.result_facts import STEP_TITLES, conditions, measured_facts
from virnuc_profiler.reports.html.sweeps.varied_knobs import VariedKnobs
from virnuc_profiler.reports.sweeps.sweep_columns import gigabytes, reason
from virnuc_profiler.reports.sweeps.sweep_notes import failure_text
from virnuc_profiler.sweep.plan.objective import ENERGY
from virnuc_profiler.sweep.plan.steps import SEARCH
from virnuc_profiler.sweep.results.sweep_plan import Trial
from virnuc_profiler.sweep.results.sweep_record import SweepRecord
from virnuc_profiler.sweep.results.verdicts.measurements import rate_of
from virnuc_profiler.sweep.results.verdicts.standings import interval_of_trial
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.rates import ratio

_HEIGHT: Final = 340
_MARKS: Final = {
    "baseline": ("■", "square", "series-8"),
    "dataloader": ("●", "circle", "series-1"),
    "packing": ("◆", "diamond", "series-2"),
    "interaction": ("▲", "triangle", "series-3"),
    "grid": ("●", "circle", "series-1"),
    "search": ("●", "circle", "series-1"),
    "confirmation": ("⬟", "hex", "series-4"),
    "validation": ("★", "star", "series-5"),
}


def discarded_trials(record: SweepRecord) -> list[Trial]:
    """Return the trials of a sweep that were measured again, so that they do not count.

    Args:
        record: The sweep.
    """
    last = {(trial.step, trial.configuration, trial.block): trial for trial in record.trials}
    standing = {id(trial) for trial in last.values()}
    return [trial for trial in record.trials if id(trial) not in standing]


def discarded_counts(record: SweepRecord | None, step: str) -> dict[Configuration, int]:
    """Return how many trials of each configuration of a step do not count.

    Args:
        record: The sweep; None without a journal.
        step: Name of the step.
    """
    found: dict[Configuration, int] = {}
    for trial in [] if record is None else discarded_trials(record):
        if trial.step == step:
            found[trial.configuration] = found.get(trial.configuration, 0) + 1
    return found


def trials_figure(record: SweepRecord) -> Figure | None:
    """Return the chart of all trials in the order of time; None if none has a rate.

    Args:
        record: The sweep.
    """
    minutes = _minutes(record)
    discarded = {id(trial) for trial in discarded_trials(record)}
    rated = [(at, trial) for at, trial in zip(minutes, record.trials, strict=True) if _rate(trial) is not None]
    if not rated:
        return None
    plot = new_figure("Minutes since the sweep began", "Sequences/s", height=_HEIGHT)
    marks, legend = [], []
    for step, (sign, marker, color) in _MARKS.items():
        for gone in (False, True):
            own = [(at, one) for at, one in rated if one.step == step and (id(one) in discarded) == gone]
            if own:
                marks.append(add_points(plot, _columns(own, gone), marker=marker, color=color, hollow=gone))
                if not gone:
                    legend.append((sign, color, STEP_TITLES[step].lower()))
    if any(id(one) in discarded for _, one in rated):
        legend.append(("○", "ink-2", "hollow: discarded, and measured again"))
    failed = [(at, trial) for at, trial in zip(minutes, record.trials, strict=True) if not trial.result.succeeded]
    if failed:
        low = min(_rate(trial) or 0.0 for _, trial in rated)
        data: dict[str, list[Any]] = {
            "x": [at for at, _ in failed],
            "y": [low] * len(failed),
            "detail": [_detail(one) for _, one in failed],
        }
        marks.append(add_points(plot, data, marker="x", color="bad", size=10))
        legend.append(("✕", "bad", "failed"))
    add_hover(plot, marks)
    rates = [_rate(trial) or 0.0 for _, trial in rated]
    ends = [end for _, trial in rated for end in interval_of_trial(trial) if end is not None]
    low, high = min([*rates, *ends]), max([*rates, *ends])
    plot.y_range.start, plot.y_range.end = low - 0.05 * (high - low or low), high + 0.05 * (high - low or high)
    plot.x_range.start, plot.x_range.end = 0, max(minutes) * 1.03 or 1
    return Figure(
        plot, caption="Every trial in the order of time, with the 95% interval of its own rate",
        alternative=f"{len(record.trials)} trials, from {rate(min(rates))} to {rate(max(rates))} sequences/s; "
        "the table below lists them.", height=_HEIGHT, legend=legend, hint=WHEEL_HINT,
    )  # fmt: skip


def trials_table(record: SweepRecord) -> Markup:
    """Return the table of all trials in the order of time.

    Args:
        record: The sweep.
    """
    discarded = {id(trial) for trial in discarded_trials(record)}
    knobs = VariedKnobs(trial.configuration for trial in record.trials)
    heads: list[Column | str] = [
        Column("#", numeric=True), Column("Minute", numeric=True, help="since the sweep began"), "Step",
        *knobs.columns(),
        Column("Block", numeric=True), Column("Sequences/s", numeric=True, first="descending"),
        Column("J/sequence", numeric=True), Column("Peak memory", numeric=True), Column("Took, s", numeric=True),
        "Conditions",
    ]  # fmt: skip
    rows = []
    for place, (at, trial) in enumerate(zip(_minutes(record), record.trials, strict=True), start=1):
        result, found = trial.result, _rate(trial)
        notes = [*conditions(result), *trial.doubts]
        if id(trial) in discarded:
            notes.insert(0, "discarded, and measured again")
        why = notes if result.succeeded else [f"{reason(result)}: {failure_text(result)}"]
        rows.append(
            Row(
                [
                    Cell(str(place), float(place)), Cell(number(at, 1), at),
                    Cell(STEP_TITLES[trial.step], float(list(STEP_TITLES).index(trial.step))),
                    *knobs.cells(trial.configuration),
                    Cell(str(trial.block + 1), float(trial.block)), Cell(rate(found), found),
                    Cell(number(result.joules_per_sequence, 2), result.joules_per_sequence),
                    Cell(gigabytes(result.peak_memory_gb), result.peak_memory_gb),
                    Cell(number(trial.took_sec, 1), trial.took_sec),
                    Cell("; ".join(why) or "ok", "; ".join(why),
                         tone="bad" if not result.succeeded else "warning" if why else "muted"),
                ],
                "muted" if id(trial) in discarded or not result.succeeded else "",
            )
        )  # fmt: skip
    return html_table(heads, rows, caption="All trials")


def search_figure(record: SweepRecord, baseline: Configuration | None) -> Figure | None:
    """Return the chart of what a search had found after each of its trials; None if there was no search.

    Args:
        record: The sweep.
        baseline: Configuration of the baseline.
    """
    objective = record.plan.objective
    base = None if baseline is None else record.last_trial("baseline", baseline)
    cost = None if base is None or not base.result.succeeded else objective.cost(base.result)
    own = [trial for trial in record.trials if trial.step == SEARCH]
    gains = [ratio(cost, objective.cost(one.result)) if one.result.succeeded else None for one in own]
    if cost is None or not any(gain is not None for gain in gains):
        return None
    energy = objective.kind == ENERGY
    what = "Energy of the baseline over that of each" if energy else "Speed over the baseline's"
    plot = new_figure("Trial of the search", what, height=300)
    best, line = 1.0, [(0.0, 1.0)]
    for place, gain in enumerate(gains, start=1):
        best = max(best, gain or 0.0)
        line.append((float(place), best))
    steps = plot.step([x for x, _ in line], [y for _, y in line], mode="after", line_width=2)
    themed(steps.glyph, line_color="series-2")
    known = [(place, gain, one) for place, (gain, one) in enumerate(zip(gains, own, strict=True), start=1) if gain]
    data: dict[str, list[Any]] = {
        "x": [place for place, _, _ in known], "y": [gain for _, gain, _ in known],
        "detail": [f"{place}: {_gain(gain, energy=energy)}\n{_detail(one)}" for place, gain, one in known],
    }  # fmt: skip
    points = add_points(plot, data, marker="circle", color="series-1")
    add_hover(plot, [points])
    highest = max(gain for _, gain, _ in known)
    first = next(place for place, gain, _ in known if gain >= highest * 0.99)
    text = (
        f"{counted(len(own), 'trial')}. The best single trial had {_gain(highest, energy=energy)}; "
        f"trial {first} was the first within 1% of it."
    )
    return Figure(
        plot, caption="What the search had found after each trial", alternative=text, height=300,
        legend=[("●", "series-1", "trial"), ("━", "series-2", "best so far")], hint=text,
    )  # fmt: skip


def _gain(gain: float, *, energy: bool) -> str:
    best = times(gain, beside=None)
    return f"an energy saving of {best} over the baseline" if energy else f"{best} the speed of the baseline"


def _minutes(record: SweepRecord) -> list[float]:
    """Return the minutes from the beginning of a sweep to the end of each trial."""
    began = _time(record.started)
    return [max(0.0, (_time(trial.finished) - began) / 60) for trial in record.trials]


def _time(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def _rate(trial: Trial) -> float | None:
    return rate_of(trial.result)[0] if trial.result.succeeded else None


def _columns(own: Sequence[tuple[float, Trial]], gone: bool) -> dict[str, list[Any]]:
    rates = [_rate(trial) or 0.0 for _, trial in own]
    ends = [interval_of_trial(trial) for _, trial in own]
    return {
        "x": [at for at, _ in own],
        "y": rates,
        "low": [found if low is None else low for found, (low, _) in zip(rates, ends, strict=True)],
        "high": [found if high is None else high for found, (_, high) in zip(rates, ends, strict=True)],
        "detail": [("discarded\n" if gone else "") + _detail(trial) for _, trial in own],
    }


def _detail(trial: Trial) -> str:
    block = f", block {trial.block + 1}" if trial.block else ""
    return "\n".join([f"{STEP_TITLES[trial.step]}{block}", str(trial.configuration), *_facts(trial)])


def _facts(trial: Trial) -> Iterator[str]:
    found = _rate(trial)
    if found is not None:
        yield f"{rate(found)} sequences/s"
    yield from (line for line in measured_facts(trial.result) if not line.startswith("n/a"))
    yield from conditions(trial.result)
    yield from trial.doubts
