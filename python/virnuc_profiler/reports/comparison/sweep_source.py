# SPDX-License-Identifier: MIT
"""The trials of a sweep for a comparison, from its journal or, without one, from its result files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from virnuc_profiler.analysis.comparison.measured_run import MeasuredRun, Side, read_interval
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.reports.comparison.run_facts import facts_of
from virnuc_profiler.reports.comparison.run_source import measured_values, read_run
from virnuc_profiler.sweep.plan.conditions import VARIED, Conditions
from virnuc_profiler.sweep.plan.steps import STEPS
from virnuc_profiler.sweep.results.from_journal import Documents
from virnuc_profiler.sweep.results.journal import JOURNAL_FILE, read_journal
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.results.result_files import read_step
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.values import printable

_Measured = tuple[str, Result, Conditions]
"""Step, result and conditions of a trial."""

_RESULT_KEYS: Final[Mapping[str, str]] = {
    "steady_tokens_per_sec": "steady_tokens_per_sec",
    "tokens_per_sec": "tokens_per_sec",
    "start_up_seconds": "start_up_sec",
    "packing_efficiency": "packing_efficiency",
    "peak_memory_gb": "peak_memory_gb",
    "joules_per_sequence": "joules_per_sequence",
}
"""Keys of a result by the name of the metric; results of older versions lack some."""

_VALIDATION: Final = "validation"
"""Its workload is another one, so its trials are no repeats of the others."""


def is_sweep(folder: Path) -> bool:
    """Return whether a folder is that of a sweep.

    Args:
        folder: The folder.
    """
    return any((folder / name).is_file() for name in (JOURNAL_FILE, *(step.file_name for step in STEPS)))


def read_sweep(folder: Path) -> Side:
    """Read the last sweep of a folder that has measured anything.

    Args:
        folder: Folder of the sweep.

    Raises:
        TelemetryFormatError: The journal or a result file cannot be read, or nothing was measured.
    """
    measured, recommended = _from_journal(folder) if (folder / JOURNAL_FILE).is_file() else _from_files(folder)
    if not measured:
        raise TelemetryFormatError(f"{folder} is the folder of a sweep that has measured nothing")
    trials = [_trial(folder, *each) for each in measured]
    clocks = _clocks(folder, measured, trials)
    return Side(
        name=printable(str(folder)),
        runs=tuple(replace(trial, facts={**trial.facts, **clocks}) for trial in trials),
        is_sweep=True,
        recommended=None if recommended is None else recommended.to_json(),
    )


def _from_journal(folder: Path) -> tuple[list[_Measured], Configuration | None]:
    records = read_journal(folder)
    while records and not records[-1].trials:
        records.pop()
    if not records:
        return [], None
    record = records[-1]
    workload = record.plan.workload.to_json()
    last = {(trial.step, trial.configuration, trial.to_json().get("block")): trial for trial in record.trials}
    measured = [
        (trial.step, trial.result, replace(record.conditions[trial.conditions], workload=workload))
        for trial in last.values()  # earlier attempts were not good enough
        if trial.step != _VALIDATION
    ]
    choice = Documents(records).choice()
    return measured, None if choice is None else choice.configuration


def _from_files(folder: Path) -> tuple[list[_Measured], Configuration | None]:
    measured = []
    recommended = None
    for step in STEPS:
        path = folder / step.file_name
        if not path.is_file():
            continue
        document = read_step(path)
        if step.name == _VALIDATION:
            recommended = None if document.choice is None else document.choice.configuration
        else:
            measured += [(step.name, result, document.conditions) for result in document.results]
    return measured, recommended


def _trial(folder: Path, step: str, result: Result, conditions: Conditions) -> MeasuredRun:
    found = MeasuredRun(
        source=f"{printable(str(folder))}: {step}, {result.configuration.run_id}",
        configuration=result.configuration.to_json(),
        facts=facts_of(
            device="cpu" if conditions.settings.get("device") == "cpu" else conditions.settings.get("device_name"),
            machine=conditions.machine,
            versions=conditions.versions,
            model={name: value for name, value in conditions.model.items() if value != VARIED},
            workload=conditions.workload,
            settings=conditions.settings,
        ),
    )
    if not result.succeeded or result.interrupted:
        return replace(found, failure="interrupted" if result.succeeded else str(result.reason))
    found = replace(found, values=measured_values(_figures(result, conditions.workload)))
    if result.throttled:
        found = replace(found, warnings=(f"trials of {printable(str(folder))} were throttled.",))
    if result.rate_interval is not None:
        return replace(found, steady=read_interval(result.rate_interval))
    telemetry = _file_of(folder, result.telemetry_path, found)
    if telemetry is None:
        return found
    return replace(found, steady=telemetry.steady, values={**telemetry.values, **found.values})


def _figures(result: Result, workload: Mapping[str, Any]) -> dict[str, Any]:
    values = result.to_json()
    figures = {name: values.get(key) for name, key in _RESULT_KEYS.items()}
    if figures["steady_tokens_per_sec"] is None:
        tokens, sequences = workload.get("tokens"), workload.get("num_sequences")
        if isinstance(tokens, int) and isinstance(sequences, int):
            figures["steady_tokens_per_sec"] = ratio(result.steady_sequences_per_sec, ratio(sequences, tokens))
    return figures


def _file_of(folder: Path, name: str | None, trial: MeasuredRun) -> MeasuredRun | None:
    """Read a file of a trial; None if it is gone, damaged, or that of a later trial of the same name."""
    if name is None or not (folder / name).is_file():
        return None
    try:
        run = read_run(folder / name)
    except TelemetryFormatError:
        return None  # the result itself is enough
    rates = [one.values.get("tokens_per_sec", 0.0) for one in (run, trial)]
    return run if math.isclose(*rates, rel_tol=1e-6) else None


def _clocks(folder: Path, measured: Sequence[_Measured], trials: Sequence[MeasuredRun]) -> dict[str, Any]:
    """Return the clocks of the first trial whose whole run is there; all runs of a sweep would take long to read."""
    for (_, result, _), trial in zip(measured, trials, strict=True):
        if trial.failure is None and (run := _file_of(folder, result.run_path, trial)) is not None:
            return {name: value for name, value in run.facts.items() if name.startswith("clocks.")}
    return {}
