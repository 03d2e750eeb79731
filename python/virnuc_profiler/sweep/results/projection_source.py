# SPDX-License-Identifier: MIT
"""Reads what a projection needs from a saved run, a telemetry file, a result file of a sweep, or a sweep's folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from virnuc_profiler.analysis.comparison.measured_run import read_interval
from virnuc_profiler.analysis.host.interruptions import summary_interrupted
from virnuc_profiler.analysis.model_cost import recorded_shape
from virnuc_profiler.analysis.projection.length_strata import LengthStrata
from virnuc_profiler.analysis.projection.run_pace import (
    done_lengths,
    is_stratified,
    pace_of_result,
    pace_of_run,
    workload_lengths,
)
from virnuc_profiler.analysis.projection.source import Source
from virnuc_profiler.analysis.summary.run_summary import run_summary
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.plan.steps import BEST_CONFIG_FILE, STEPS
from virnuc_profiler.sweep.results.document import BEST_KIND, STEP_KIND
from virnuc_profiler.sweep.results.journal import read_journal
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.results.result_files import read_best, read_step
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.long_lists.run_document import read_document
from virnuc_profiler.telemetry.run_result import RunResult, is_saved_run


def read_source(path: Path) -> Source:
    """Read a projection's source.

    Args:
        path: A saved run, a telemetry file with its run beside it, a result file of a sweep, or the folder of a sweep
            or of a single run.

    Raises:
        TelemetryFormatError: It cannot be read, is something else, or holds no rate.
    """
    if path.is_dir():
        path = _file_in(path)
    document = read_document(path)
    if is_saved_run(document):
        return _of_run(path, RunResult.from_document(document, str(path)))
    kind = document.get("kind") if isinstance(document, Mapping) else None
    if kind == BEST_KIND:
        best = read_best(path)
        return _of_result(path, best.validation, best.validation_workload)
    if kind == STEP_KIND:
        step = read_step(path)
        if step.best is None:
            raise TelemetryFormatError(f"{path} has no configuration that succeeded, so there is no rate to project")
        return _of_result(path, step.best, step.conditions.workload)
    return _of_telemetry(path, document)


def _file_in(folder: Path) -> Path:
    """Return the result file of a sweep's best configuration, or the only run of a folder."""
    best = folder / BEST_CONFIG_FILE
    if best.is_file():
        return best
    runs = sorted(folder.glob("run_*.json"))
    if len(runs) == 1:
        return runs[0]
    others = [step.file_name for step in STEPS if (folder / step.file_name).is_file()]
    there = f" (there: {', '.join(others or [run.name for run in runs])})" if others or runs else ""
    raise TelemetryFormatError(
        f"{folder} has no {BEST_CONFIG_FILE}; name another result file of the sweep, or a saved run{there}"
    )


def _of_telemetry(path: Path, document: Any) -> Source:
    if not isinstance(document, Mapping) or "per_batch_metrics" not in document:
        raise TelemetryFormatError(f"{path} is neither telemetry, nor a saved run, nor a result file of a sweep")
    beside = path.with_name(f"run_{path.name.removeprefix('telemetry_')}")
    if not beside.is_file():
        raise TelemetryFormatError(f"{path} has no saved run {beside.name} beside it, which a projection needs")
    return _of_run(beside, RunResult.load(beside, max_bytes=sys.maxsize))


def _of_run(path: Path, run: RunResult) -> Source:
    shape, summary = recorded_shape(run.metadata), run_summary(run)
    if summary_interrupted(summary):
        raise TelemetryFormatError(f"{path} was stopped while it ran, so its rate says nothing: measure again")
    pace, measured = pace_of_run(run, summary, shape), done_lengths(run)
    if pace is None or measured is None:
        raise TelemetryFormatError(f"{path} has fewer than two measured batches, so there is no rate to project")
    workload = run.metadata.get("workload")
    return Source(
        path,
        run.run_id,
        pace,
        measured,
        workload_lengths(run) or measured,
        shape,
        is_stratified(run.metadata),
        workload if isinstance(workload, Mapping) else {},
        _before_s(run),
        summary.get("mean_power_watts"),
    )


def _before_s(run: RunResult) -> float | None:
    start_up = run.start_up
    if start_up is None or not start_up.first_run or start_up.process_start_ns is None:
        return None
    return max(0, run.host_start_ns - start_up.process_start_ns) / 1e9


def _of_result(path: Path, result: Result, workload: Mapping[str, Any]) -> Source:
    """Return the source of a sweep's result: its run, if that is still there, with the repeated measurements."""
    if result.interrupted:
        raise TelemetryFormatError(
            f"the best result of {path} was interrupted, so its rate says nothing: measure again"
        )
    repeats = _repeats(path.parent, result.configuration)
    run_path = None if result.run_path is None else path.parent / result.run_path
    if run_path is not None and run_path.is_file():
        source = _of_run(run_path, RunResult.load(run_path, max_bytes=sys.maxsize))
    else:
        source = _without_run(path, result, workload)
    pace = replace(source.pace, repeats=repeats)
    return replace(source, path=path, name=str(result.configuration), pace=pace, workload=workload)


def _without_run(path: Path, result: Result, workload: Mapping[str, Any]) -> Source:
    lengths = _equal_lengths(workload)
    if lengths is None:
        raise TelemetryFormatError(f"{path} does not describe its workload, which a projection needs")
    rate, measured_s = result.steady_tokens_per_sec, result.measured_sec
    if rate is None and result.steady_sequences_per_sec is not None:  # as in files of older versions
        rate = result.steady_sequences_per_sec * lengths.mean_tokens
    if measured_s is None and result.elapsed_sec is not None and result.start_up_sec is not None:
        measured_s = result.elapsed_sec - result.start_up_sec
    try:
        interval = None if result.rate_interval is None else read_interval(result.rate_interval)
    except TelemetryFormatError as error:
        raise TelemetryFormatError(f"{path}: {error}") from error
    pace = pace_of_result(rate, result.start_up_sec, interval, measured_s, result.gpu_util)
    if pace is None:
        raise TelemetryFormatError(f"{path} has no steady rate, so there is nothing to project")
    return Source(path, "", pace, lengths, lengths, stratified=True)


def _equal_lengths(workload: Mapping[str, Any]) -> LengthStrata | None:
    """Return the lengths of a workload of which only the mean is known; None if that is not known or impossible."""
    counts = [workload.get(name) for name in ("num_sequences", "tokens", "longest_tokens")]
    known = [count for count in counts if type(count) is int and count > 0]
    if len(known) < len(counts):
        return None
    sequences, tokens, longest = known
    columns = {
        "upper_bounds": longest,
        "sequences": sequences,
        "tokens": tokens,
        "squares": -(-(tokens**2) // sequences),
    }
    return LengthStrata.from_json({name: [value] for name, value in columns.items()})


def _repeats(folder: Path, configuration: Configuration) -> tuple[float, ...]:
    """Return the steady tokens per second of all measurements of a configuration in the folder's last sweep."""
    try:
        records = read_journal(folder)
    except TelemetryFormatError:
        return ()  # the result files were copied without it
    trials = records[-1].trials if records else ()
    results = [trial.result for trial in trials if trial.configuration == configuration]
    sound = [result for result in results if result.succeeded and not result.interrupted]
    return tuple(rate for result in sound if (rate := result.steady_tokens_per_sec) is not None)
