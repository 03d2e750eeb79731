# SPDX-License-Identifier: MIT
"""``sweep --dry-run``: list what would run, and how long it would take."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virnuc_profiler.cli.measurement_request import resolve_device_here, shown_path, warn_of_findings
from virnuc_profiler.cli.resume import last_sweep, require_journal, require_same_file, resumed_request
from virnuc_profiler.sweep.plan.steps import Step, plan

if TYPE_CHECKING:
    from virnuc_profiler.sweep.plan.configuration import Configuration
    from virnuc_profiler.sweep.plan.estimate import Estimate
    from virnuc_profiler.sweep.plan.request import Request
    from virnuc_profiler.sweep.plan.workload import Workload
    from virnuc_profiler.sweep.results.sweep_record import SweepRecord


def dry_run(
    request: Request,
    planned: Mapping[str, Step],
    names: Sequence[str],
    record: SweepRecord | None = None,
    limits: Mapping[str, float | None] | None = None,
) -> int:
    """List what would run.

    Args:
        request: What is asked for.
        planned: The planned steps by name.
        names: Names of the steps that would run.
        record: Sweep that would be resumed, of which only what is left is listed; None for a new one.
        limits: Today's time limits of the model's process.
    """
    from virnuc_profiler.sweep.results.result_files import baseline_seconds
    from virnuc_profiler.sweep.session import check_budgets

    with tempfile.TemporaryDirectory(prefix="virnuc_profiler_") as folder:
        trial = dataclasses.replace(request, output_dir=Path(folder))
        workload, validation = trial.workload(), trial.validation_workload()
    check_budgets(planned, names, workload, validation)
    seconds = baseline_seconds(request.output_dir, workload.fingerprint, request.model, str(request.device))
    if "baseline" not in names and seconds is None:
        names = ("baseline", *names)
    tokens = []
    for name in names:
        configurations = _left(planned[name], record, {"timeout_s": request.timeout_s, **(limits or {})})
        print(f"{name}: {len(configurations)} configuration{'s' if len(configurations) != 1 else ''}")
        for configuration in configurations:
            print(f"  {'the best found' if name == 'validation' else configuration}")
            tokens.append((validation if name == "validation" else workload).tokens)
    print(f"Model: {request.model} on {request.device}")
    print(f"Workload: {workload.num_sequences:,} sequences, {workload.tokens:,} tokens")
    warn_of_findings(workload)
    print(f"Time: {_estimate(request, workload, tokens, seconds)}")
    print(f"Results would be in: {shown_path(request.output_dir)}")
    return 0


def dry_resume(folder: Path, given: Mapping[str, Any], limits: Mapping[str, float | None]) -> int:
    """List what is left of a sweep.

    Args:
        folder: Folder of the sweep.
        given: Options that were given, by name.
        limits: Today's time limits of the model's process.
    """
    from virnuc_profiler.sweep.results.journal import read_journal

    require_journal(folder)
    record = last_sweep(folder, read_journal(folder))
    request = resumed_request(record, folder, given, resolve_device_here)
    require_same_file(record, request)
    return dry_run(request, plan(record.plan.grid), record.plan.steps, record, limits)


def _left(step: Step, record: SweepRecord | None, limits: Mapping[str, float | None]) -> list[Configuration]:
    configurations = list(step.configurations())
    if record is None or (step.name == "validation" and not record.has(step.name)):
        return configurations
    if step.name == "validation":
        return []
    return [config for config in configurations if not record.is_finished(step.name, config, limits)]


def _estimate(request: Request, workload: Workload, tokens: Sequence[int], seconds: float | None) -> Estimate:
    """Estimate from the `seconds` of an earlier baseline of the same workload, model and device, or guess without."""
    from virnuc_profiler.analysis.model_cost import ModelShape
    from virnuc_profiler.inference.esm2.config import ARCHITECTURES
    from virnuc_profiler.sweep.plan.cooldown import min_pause_s
    from virnuc_profiler.sweep.plan.estimate import from_baseline, guess
    from virnuc_profiler.sweep.trial.measured_model import usable_cores

    pause_s = min_pause_s(request.cooldown_s)
    if seconds is not None:
        return from_baseline(tokens, pause_s, measured_seconds=seconds, measured_tokens=workload.tokens)
    architecture = ARCHITECTURES[request.model]
    return guess(
        tokens,
        pause_s,
        shape=ModelShape(architecture.num_layers, architecture.hidden_size),
        cores=usable_cores() if request.device.type == "cpu" else None,
    )
