# SPDX-License-Identifier: MIT
"""The trials of a sweep for a comparison, from its journal or, without one, from its result files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from virnuc_profiler.analysis.comparison.measured_run import MeasuredRun, Side
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.reports.comparison.run_facts import facts_of
from virnuc_profiler.reports.comparison.run_source import measured_values, read_run
from virnuc_profiler.sweep.plan.conditions import VARIED, Conditions
from virnuc_profiler.sweep.plan.configuration import Configuration
from virnuc_profiler.sweep.plan.steps import STEPS
from virnuc_profiler.sweep.results.from_journal import Documents
from virnuc_profiler.sweep.results.journal import JOURNAL_FILE, read_journal
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.results.result_files import read_step
from virnuc_profiler.telemetry.values import printable

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
    trials, recommended = _from_journal(folder) if (folder / JOURNAL_FILE).is_file() else _from_files(folder)
    if not trials:
        raise TelemetryFormatError(f"{folder} is the folder of a sweep that has measured nothing")
    return Side(
        name=printable(str(folder)),
        runs=tuple(trials),
        is_sweep=True,
        recommended=None if recommended is None else recommended.to_json(),
    )


def _from_journal(folder: Path) -> tuple[list[MeasuredRun], Configuration | None]:
    records = read_journal(folder)
    while records and not records[-1].trials:
        records.pop()
    if not records:
        return [], None
    record = records[-1]
    workload = record.plan.workload.to_json()
    trials = [
        _trial(folder, trial.step, trial.result, replace(record.conditions[trial.conditions], workload=workload))
        for trial in record.trials
        if trial.step != _VALIDATION
    ]
    choice = Documents(records).choice()
    return trials, None if choice is None else choice.configuration


def _from_files(folder: Path) -> tuple[list[MeasuredRun], Configuration | None]:
    trials = []
    recommended = None
    for step in STEPS:
        path = folder / step.file_name
        if not path.is_file():
            continue
        document = read_step(path)
        if step.name == _VALIDATION:
            recommended = None if document.choice is None else document.choice.configuration
        else:
            trials += [_trial(folder, step.name, result, document.conditions) for result in document.results]
    return trials, recommended


def _trial(folder: Path, step: str, result: Result, conditions: Conditions) -> MeasuredRun:
    model = {name: value for name, value in conditions.model.items() if value != VARIED} | dict(result.model or {})
    configuration = result.configuration.to_json()
    found = MeasuredRun(
        source=f"{printable(str(folder))}: {step}, {result.configuration.run_id}",
        configuration=configuration,
        facts=facts_of(
            device=_device(conditions),
            machine=conditions.machine,
            versions=conditions.versions,
            model={name: value for name, value in model.items() if name not in configuration},
            workload=conditions.workload,
            settings=conditions.settings,
        ),
        values=measured_values(_figures(result, conditions.workload)),
        failure=None if result.succeeded else result.reason,
    )
    if result.interrupted:
        return replace(found, failure="interrupted")
    return _with_run(found, folder, result) if result.succeeded else found


def _device(conditions: Conditions) -> Any:
    named = conditions.settings.get("device_name")
    return "cpu" if conditions.settings.get("device") == "cpu" else named


def _figures(result: Result, workload: Mapping[str, Any]) -> dict[str, Any]:
    steady = result.steady_sequences_per_sec
    tokens, sequences = workload.get("tokens"), workload.get("num_sequences")
    steady_tokens = None
    if steady is not None and isinstance(tokens, int) and isinstance(sequences, int) and sequences > 0:
        steady_tokens = steady * tokens / sequences
    return {
        "steady_tokens_per_sec": steady_tokens,
        "tokens_per_sec": result.tokens_per_sec,
        "start_up_seconds": result.start_up_sec,
        "packing_efficiency": result.packing_efficiency,
        "peak_memory_gb": result.peak_memory_gb,
    }


def _with_run(trial: MeasuredRun, folder: Path, result: Result) -> MeasuredRun:
    """Add what only the files of a trial hold: the interval of its steady rate, its energy, clocks and device share."""
    for run in _runs_of(folder, result):
        rate, measured = result.tokens_per_sec, run.values.get("tokens_per_sec")
        if rate is None or measured is None or not math.isclose(rate, measured, rel_tol=1e-6):
            continue  # a later trial of the same name has replaced the file
        clocks = {name: value for name, value in run.facts.items() if name.startswith("clocks.")}
        return replace(trial, steady=run.steady, values={**run.values, **trial.values}, facts={**trial.facts, **clocks})
    return trial


def _runs_of(folder: Path, result: Result) -> Iterator[MeasuredRun]:
    for name in (result.run_path, result.telemetry_path):
        if name is not None and (folder / name).is_file():
            with suppress(TelemetryFormatError):  # the result itself is enough
                yield read_run(folder / name)
