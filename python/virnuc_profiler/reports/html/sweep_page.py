# SPDX-License-Identifier: MIT
"""The page of a sweep."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.reports.figures import counted, number
from virnuc_profiler.reports.html.figures_html import Figure
from virnuc_profiler.reports.html.fine_print import condition_sections
from virnuc_profiler.reports.html.html_table import bullet_list, fact_list
from virnuc_profiler.reports.html.page import Section, render_page
from virnuc_profiler.reports.html.sweeps.heat_map import has_maps, heat_maps
from virnuc_profiler.reports.html.sweeps.race_chart import race_figure
from virnuc_profiler.reports.html.sweeps.result_facts import STEP_TITLES
from virnuc_profiler.reports.html.sweeps.step_table import step_table
from virnuc_profiler.reports.html.sweeps.sweep_answer import baseline_of, choice_of, sweep_answer
from virnuc_profiler.reports.html.sweeps.tradeoff_charts import Tradeoffs, tradeoff_figures, tradeoff_table
from virnuc_profiler.reports.html.sweeps.trial_charts import (
    discarded_counts,
    discarded_trials,
    search_figure,
    trials_figure,
    trials_table,
)
from virnuc_profiler.reports.performance.performance_rows import render_cost
from virnuc_profiler.reports.sweeps.confirmation_table import confirmation_sentences
from virnuc_profiler.reports.sweeps.sweep_folder import SweepFolder
from virnuc_profiler.reports.sweeps.sweep_notes import notes
from virnuc_profiler.reports.sweeps.sweep_verdicts import best_label, verdicts
from virnuc_profiler.sweep.plan.estimate import in_words
from virnuc_profiler.sweep.results.document import Document
from virnuc_profiler.sweep.results.from_journal import Documents
from virnuc_profiler.sweep.results.verdicts.pareto import Tradeoff


def render_sweep_page(sweep: SweepFolder) -> str:
    """Return the page of a sweep, of an interrupted one, or of a single step.

    Args:
        sweep: The sweep.
    """
    sections = [one for one in (_maps(sweep), _tradeoffs(sweep), _confirmation(sweep)) if one is not None]
    sections += [one for one in (_search(sweep), _steps(sweep), _trials(sweep)) if one is not None]
    return render_page(
        _title(sweep), sweep_answer(sweep), sections, list(_fine_print(sweep)), kind="Sweep", source=str(sweep.path)
    )


def _title(sweep: SweepFolder) -> str:
    conditions = _first(sweep)
    if conditions is None:
        return "A sweep without results"
    model, machine = conditions.conditions.model, conditions.conditions.machine
    target = conditions.conditions.knobs
    name = model.get("model_name") or ("" if target.is_builtin else target.target)
    devices = machine.get("gpu_models")
    device = ", ".join(dict.fromkeys(map(str, devices))) if isinstance(devices, list) and devices else ""
    device = device or str(conditions.conditions.settings.get("device_name") or "")
    parts = [str(name), str(model.get("precision") or ""), f"on {device}" if device else ""]
    return " ".join(part for part in parts if part) or "Sweep"


def _first(sweep: SweepFolder) -> Document | None:
    return next(iter(sweep.documents.values()), None)


def _maps(sweep: SweepFolder) -> Section | None:
    found = {name: document for name, document in sweep.documents.items() if has_maps(document)}
    if not found:
        return None
    note = "Each cell is a configuration; hover over it, or move with the arrow keys, for all of its figures."
    titled = {STEP_TITLES[name]: document for name, document in found.items()}
    return Section("maps", "Heat maps of the knobs", heat_maps(titled), note, "Heat maps")


def _tradeoffs(sweep: SweepFolder) -> Section | None:
    choice = choice_of(sweep)
    first = _first(sweep)
    if first is None:
        return None
    costs = Tradeoffs(
        _costs(sweep), first.objective.sequences, None if choice is None else choice.configuration, baseline_of(sweep)
    )
    if not costs.all:
        return None
    return Section(
        "tradeoffs", "Time, memory and energy", [*tradeoff_figures(costs), tradeoff_table(costs)],
        "Configurations that succeeded in every step. Unbeaten are those that no other one beats in "
        f"{costs.compared} at once.", "Trade-offs",
    )  # fmt: skip


def _costs(sweep: SweepFolder) -> list[Tradeoff]:
    """Return the costs as the sweep ranks them, or those of the tables where there is no journal."""
    if sweep.records:
        return [one.tradeoff for one in Documents(sweep.records).ranking.safe]
    found = {}
    for name, document in sweep.documents.items():
        for one in document.results if name not in ("confirmation", "validation") else ():
            if one.succeeded and one.standing is not None and one.standing.predicted_sec is not None:
                found[one.configuration] = Tradeoff(
                    one.configuration, one.standing.predicted_sec, one.joules_per_sequence, one.peak_memory_gb
                )
    return list(found.values())


def _confirmation(sweep: SweepFolder) -> Section | None:
    document = sweep.documents.get("confirmation")
    if document is None:
        return None
    figure = race_figure(document)
    parts: list[str | Markup | Figure] = [] if figure is None else [figure]
    parts.append(bullet_list(confirmation_sentences(document)))
    if document.results:
        parts.append(step_table(document, discarded_counts(sweep.record, "confirmation"), "The finalists"))
    note = "The finalists and the baseline, measured again and again in random order, so that drift hits all equally."
    return Section("confirmation", "Confirmation", parts, note)


def _search(sweep: SweepFolder) -> Section | None:
    if sweep.record is None:
        return None
    figure = search_figure(sweep.record, baseline_of(sweep))
    if figure is None:
        return None
    plan, trials = sweep.record.plan, [one for one in sweep.record.trials if one.step == "search"]
    spent = sum(trial.took_sec or 0.0 for trial in trials)
    facts = [("Trials of the search", number(len(trials))), ("Time of these trials", in_words(spent))]
    if plan.budget_sec is not None:
        facts.append(("Time allowed for the whole sweep", in_words(plan.budget_sec)))
    note = "A single trial tells little: the race of the finalists above decides."
    return Section("search", "Progress of the search", [figure, fact_list(facts)], note, "Search")


def _steps(sweep: SweepFolder) -> Section | None:
    parts: list[str | Markup | Figure] = []
    for name, document in sweep.documents.items():
        if name == "confirmation" or not document.results:
            continue
        parts.append(step_table(document, discarded_counts(sweep.record, name), STEP_TITLES[name]))
        sentences = [*_best_sentence(document), *verdicts(document)] if document.grid else []
        parts.append(bullet_list([*sentences, *notes(document)]))
    if not parts:
        return None
    return Section("measurements", "Measurements", parts, "Click on a heading to sort. ± is half the 95% interval.")


def _best_sentence(document: Document) -> Iterator[str]:
    if document.best is not None:
        yield f"{best_label(document)}: {document.best.configuration}."


def _trials(sweep: SweepFolder) -> Section | None:
    record = sweep.record
    if record is None or not record.trials:
        return None
    figure = trials_figure(record)
    again = len(discarded_trials(record))
    discarded = f"{again} of them discarded and measured again" if again else "none of them discarded"
    table = Markup("<details><summary>All trials as a table</summary>{}</details>").format(trials_table(record))
    parts: list[str | Markup | Figure] = [*([] if figure is None else [figure]), table]
    note = f"{counted(len(record.trials), 'trial')}, {discarded}."
    return Section("trials", "Trials in the order of time", parts, note, "Trials")


def _fine_print(sweep: SweepFolder) -> Iterator[Section]:
    first = _first(sweep)
    if first is None:
        return
    yield Section("fine-unknown", "What was not measured, and what to mind", [bullet_list(_caveats(sweep))])
    cost = list(_profiling(sweep))
    if cost:
        yield Section("fine-profiling", "Cost of profiling", [fact_list(cost)], "Of the validation's run.")
    found = first.conditions
    yield from condition_sections(found.machine, found.versions, found.model, found.workload, found.settings)


def _caveats(sweep: SweepFolder) -> Iterator[str]:
    first = _first(sweep)
    assert first is not None
    model, machine = first.conditions.model, first.conditions.machine
    if model.get("weights_source") == "random":
        yield "The weights are random: times, memory and energy are those of real weights, vectors would mean nothing."
    if machine.get("gpu_reason"):
        yield f"No GPU was seen: {machine['gpu_reason']}."
    results = [result for document in sweep.documents.values() for result in document.results]
    for name, what in (
        ("joules_per_sequence", "Energy"),
        ("gpu_util", "GPU utilization"),
        ("peak_memory_gb", "Peak memory of the device"),
        ("packing_efficiency", "Packing"),
    ):
        missing = sum(result.succeeded and getattr(result, name) is None for result in results)
        if missing:
            yield f"{what} was not measured in {missing} of {counted(len(results), 'result')}."
    if predicted := sum(result.predicted for result in results):
        yield f"{counted(predicted, 'configuration')} predicted not to fit in memory, so not tried."
    if sweep.record is None:
        yield "There is no journal beside these files, so the order of the trials and discarded ones are not known."
    elif missing_steps := [name for name in sweep.record.plan.steps if name not in sweep.documents]:
        yield f"Steps that were not run: {', '.join(missing_steps)}."
    cut = sum(result.truncated_sequences or 0 for result in results[:1])
    if cut:
        yield f"{counted(cut, 'sequence')} longer than the model takes: cut."
    if len(sweep.records) > 1:
        count = counted(len(sweep.records), "sweep")
        yield f"The folder holds {count}; this page is about the last, with earlier steps that can be compared."
    yield f"The last result is of {max(document.created for document in sweep.documents.values())}."


def _profiling(sweep: SweepFolder) -> Iterator[tuple[str, str]]:
    """Yield what profiling cost, from the telemetry of the validation, if it is still there."""
    from virnuc_profiler.analysis.summary.performance_figures import complete_summary
    from virnuc_profiler.reports.telemetry_file import load_telemetry

    document = sweep.documents.get("validation") or _first(sweep)
    paths = [result.telemetry_path for result in document.results if result.telemetry_path] if document else []
    if not paths:
        return
    path = (sweep.path if sweep.path.is_dir() else sweep.path.parent) / paths[0]
    try:
        summary = complete_summary(load_telemetry(path))
    except (TelemetryFormatError, OSError):
        yield "Telemetry", f"{paths[0]} is not there"
        return
    yield "Profiling took", render_cost(summary)
    if "dropped_device_timings" in summary:
        yield "Batches without device times", number(summary["dropped_device_timings"])
