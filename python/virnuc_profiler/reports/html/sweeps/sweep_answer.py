# SPDX-License-Identifier: MIT
"""The answer of a sweep: what it recommends, what that gains, and how long the job will take."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

from markupsafe import Markup

from virnuc_profiler.reports.figures import counted, limit, number, rate, share, times, with_interval
from virnuc_profiler.reports.html.page import Answer, Fact, Tone
from virnuc_profiler.reports.html.predicted_time import time_fact
from virnuc_profiler.reports.html.safe_text import markup
from virnuc_profiler.reports.html.sweeps.result_facts import STEP_TITLES
from virnuc_profiler.reports.sweeps.sweep_columns import gigabytes, sequences_per_sec
from virnuc_profiler.reports.sweeps.sweep_folder import SweepFolder
from virnuc_profiler.reports.sweeps.sweep_verdicts import best_label, verdicts
from virnuc_profiler.sweep.plan.objective import ENERGY
from virnuc_profiler.sweep.plan.steps import BEST_CONFIG_FILE
from virnuc_profiler.sweep.results.choice import Choice
from virnuc_profiler.sweep.results.document import Projection
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.results.verdicts.confirmation import BETTER, TIED
from virnuc_profiler.sweep.results.verdicts.standings import THRESHOLD
from virnuc_profiler.targets.knobs.configuration import Configuration

_RANKED: Final = ("search", "grid", "interaction", "packing", "dataloader", "baseline")
"""Steps whose best stands for a sweep that has not ended, the most telling first."""
_JOULES_PER_KWH: Final = 3.6e6


def baseline_of(sweep: SweepFolder) -> Configuration | None:
    """Return the configuration of the baseline; None where it is not known.

    Args:
        sweep: The sweep.
    """
    document = sweep.documents.get("baseline")
    return document.results[0].configuration if document is not None and document.results else None


def choice_of(sweep: SweepFolder) -> Choice | None:
    """Return what the sweep recommends; None before it does.

    Args:
        sweep: The sweep.
    """
    if sweep.best is not None:
        return sweep.best.choice
    validation = sweep.documents.get("validation")
    return None if validation is None else validation.choice


def sweep_answer(sweep: SweepFolder) -> Answer:
    """Return the answer of a sweep, or of as much of it as there is.

    Args:
        sweep: The sweep.
    """
    choice = choice_of(sweep)
    if choice is not None and choice.configuration is not None:
        return _recommended(sweep, choice, choice.configuration)
    results = [result for document in sweep.documents.values() for result in document.results]
    if not results:
        return Answer("Nothing was measured so far", ["The folder holds a plan, and no result."], tone="warning")
    if not any(result.succeeded for result in results):
        reasons = dict.fromkeys(str(result.reason) for result in results)
        return Answer(
            "No configuration succeeded",
            [f"{counted(len(results), 'result')}, all failed: {', '.join(reasons)}. The tables below say why."],
            tone="bad",
        )
    return _unfinished(sweep)


def _recommended(sweep: SweepFolder, choice: Choice, configuration: Configuration) -> Answer:
    energy = choice.objective == ENERGY
    validation = _validation(sweep)
    headline, tone = _headline(sweep, choice, configuration)
    sentences = [_code(configuration), f"Chosen for: {choice.reason}."]
    if validation is not None and not validation.succeeded:
        sentences.append(f"The validation failed: {validation.reason}, {validation.message or 'no message'}.")
        tone = "bad"
    if choice.constraint_met is False:
        tone = "warning" if tone == "good" else tone
    return Answer(
        headline, sentences, list(_facts(sweep, choice, validation, energy=energy)), tone=tone,
        command=_command(sweep, configuration), command_label="Use it",
    )  # fmt: skip


def _headline(sweep: SweepFolder, choice: Choice, configuration: Configuration) -> tuple[str, Tone]:
    is_baseline = configuration == baseline_of(sweep)
    within = limit(100 * THRESHOLD, "%")
    if choice.verdict == BETTER:
        gain = with_interval(times(choice.speedup, beside=None), choice.speedup_low, choice.speedup_high)
        what = "saving energy" if choice.objective == ENERGY else "the speed of the baseline"
        return f"Recommended: {gain} {what}", "good"
    if choice.verdict == TIED:
        if is_baseline:
            return f"Tied: keep the baseline, nothing else is better by more than {within}", "neutral"
        return f"Tied with the baseline within {within}; the cheapest of the tied is recommended", "neutral"
    if is_baseline:
        return "Keep the baseline: nothing is shown to be better", "neutral"
    if choice.verdict is not None:
        return "Recommended, but whether it is better than the baseline cannot be told", "warning"
    return "Recommended: the best measured, which was not tested against the baseline", "neutral"


def _validation(sweep: SweepFolder) -> Result | None:
    if sweep.best is not None:
        return sweep.best.validation
    document = sweep.documents.get("validation")
    return document.results[0] if document is not None and document.results else None


def _facts(sweep: SweepFolder, choice: Choice, validation: Result | None, *, energy: bool) -> Iterator[Fact]:
    if fact := _gain(sweep, choice, energy=energy):
        yield fact
    document = sweep.documents.get("validation")
    projection = sweep.best.projection if sweep.best is not None else None if document is None else document.projection
    if projection is not None:
        yield _time(projection)
    if validation is None or not validation.succeeded:
        return
    if validation.joules_per_sequence is not None:
        job = projection.sequences if projection is not None else None
        whole = ""
        if job is not None:
            kwh = number(validation.joules_per_sequence * job / _JOULES_PER_KWH, 2, " kWh")
            whole = f"{kwh} of the GPU for {job:,} sequences"
        yield Fact("Energy", number(validation.joules_per_sequence, 2, " J/sequence"), whole)
    found = sequences_per_sec(validation)
    yield Fact("Rate", f"{rate(found)} seq/s", f"of the validation, {_part(validation)}")
    packing = "" if validation.packing_efficiency is None else f"packing {share(validation.packing_efficiency)}"
    yield Fact("Peak memory", gigabytes(validation.peak_memory_gb), packing)


def _part(result: Result) -> str:
    """Return which part of a run the rate that is shown is of."""
    if result.standing is None or result.standing.rate == result.sequences_per_sec:
        return "its start-up included"
    return "after its first batch" if result.steady_sequences_per_sec is None else "after warm-up"


def _gain(sweep: SweepFolder, choice: Choice, *, energy: bool) -> Fact | None:
    label = "Energy saving" if energy else "Gain"
    confirmation = sweep.documents.get("confirmation")
    found = None if confirmation is None else confirmation.confirmation
    blocks = "" if found is None else f", {counted(found.blocks, 'block')} in random order"
    if choice.speedup_low is not None and choice.speedup_high is not None:
        interval = with_interval("", choice.speedup_low, choice.speedup_high).strip(" ()")
        return Fact(label, times(choice.speedup, beside=None), f"{interval} over the baseline{blocks}")
    rivals = [] if found is None else [one for one in found.comparisons.values() if one.ratio is not None]
    rival = max(rivals, key=lambda one: one.ratio or 0.0, default=None)
    if choice.configuration == baseline_of(sweep) and rival is not None:
        best = with_interval(times(rival.ratio, beside=None), rival.low, rival.high)
        return Fact(label, "none shown", f"the {'most saving' if energy else 'fastest'} other: {best}{blocks}")
    if choice.verdict == TIED:
        return Fact(label, "none shown", f"tied with the baseline within {limit(100 * THRESHOLD, '%')}")
    if choice.speedup is not None:
        return Fact(label, times(choice.speedup, beside=None), "over the baseline, without an interval")
    return None


def _time(projection: Projection) -> Fact:
    job = f"for {projection.sequences:,} sequences"
    if projection.steady_hours is None:
        return Fact(
            "Predicted time", time_fact(projection.hours, None, None)[0], f"{job}, at the rate of the whole run"
        )
    value, interval = time_fact(projection.steady_hours, projection.low_hours, projection.high_hours)
    return Fact("Predicted time", value, f"{interval} {job}" if interval else f"{job}; no interval is known")


def _command(sweep: SweepFolder, configuration: Configuration) -> str:
    """Return the command that uses the recommendation; empty where the measured target has none."""
    if not configuration.knobs.is_builtin or sweep.best is None:
        return ""
    folder = sweep.path if sweep.path.name != BEST_CONFIG_FILE else sweep.path.parent
    return f"virnuc-profiler embed --fasta FILE --config {shlex.quote(str(folder))} --output-dir DIR"


def _code(configuration: Configuration) -> Markup:
    return Markup("<code>{}</code>").format(markup(configuration))


def _unfinished(sweep: SweepFolder) -> Answer:
    """Return the best so far of a sweep that has not ended, or the best of a single step."""
    found = [sweep.documents[name] for name in (*_RANKED, "confirmation") if name in sweep.documents]
    document = next((one for one in found if one.best is not None), None)
    best = None if document is None else document.best
    left = [STEP_TITLES[name].lower() for name in _missing(sweep)]
    sentences: list[str] = []
    facts = []
    if document is not None and best is not None:
        sentences.append(
            f"{best_label(document)} in the {STEP_TITLES[document.step].lower()} step: {best.configuration}."
        )
        sentences += verdicts(document)
        facts.append(Fact("Rate", f"{rate(sequences_per_sec(best))} seq/s", "of the best measured"))
        if best.speedup is not None:
            facts.append(Fact("Over the baseline", times(best.speedup, beside=None)))
        facts.append(Fact("Peak memory", gigabytes(best.peak_memory_gb)))
    if len(sweep.documents) == 1 and not sweep.records:
        (step,) = sweep.documents
        return Answer(f"The {STEP_TITLES[step].lower()} step of a sweep, by itself", sentences, facts)
    if left:
        sentences.append(f"Not done: {', '.join(left)}.")
    resume = f"virnuc-profiler sweep --resume {shlex.quote(str(sweep.path))}" if left and sweep.records else ""
    headline = "No recommendation yet: the sweep has not ended" if left else "No recommendation: nothing was validated"
    return Answer(headline, sentences, facts, resume, "warning", "Continue")


def _missing(sweep: SweepFolder) -> list[str]:
    record = sweep.record
    planned = list(sweep.documents) if record is None else list(record.plan.steps)
    return [name for name in planned if name not in sweep.documents or not sweep.documents[name].complete]
