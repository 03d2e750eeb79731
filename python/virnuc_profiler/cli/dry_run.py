# SPDX-License-Identifier: MIT
"""``sweep --dry-run``: list what would run, and how long it would take."""

from __future__ import annotations

import dataclasses
import platform
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virnuc_profiler.cli.estimates import estimate
from virnuc_profiler.cli.options.decision_options import Decisions
from virnuc_profiler.cli.options.measurement_request import (
    describe_workload,
    resolve_device_here,
    shown_path,
    warn_of_findings,
)
from virnuc_profiler.cli.options.search_options import describe_search, space_of_sweep, time_of_race
from virnuc_profiler.cli.resume import last_sweep, require_journal, require_same_file, resumed_request, with_limits
from virnuc_profiler.cli.terminal import safe
from virnuc_profiler.sweep.plan.steps import SEARCH, uncrossed_note
from virnuc_profiler.targets.knobs.configuration import BUILTIN_KNOBS, KnobSet
from virnuc_profiler.telemetry.number_text import counted

if TYPE_CHECKING:
    from virnuc_profiler.sweep.plan.conditions import Conditions
    from virnuc_profiler.sweep.plan.request import Request
    from virnuc_profiler.sweep.plan.workload import Workload
    from virnuc_profiler.sweep.results.sweep_record import SweepRecord


def dry_run(
    request: Request,
    decisions: Decisions,
    limits: Mapping[str, float | None],
    resumed: Sequence[SweepRecord] | None = None,
) -> int:
    """List what would run: the same trials that the sweep itself finds to be left.

    Args:
        request: What is asked for.
        decisions: What the sweep measures, and how it decides.
        limits: Today's time limits of the model's process.
        resumed: The folder's sweeps, of which the last would be resumed; None for a new sweep.
    """
    from virnuc_profiler.sweep.plan.budgets import check_budgets
    from virnuc_profiler.sweep.results.remaining import is_confirmation_left, needed_steps, remaining_trials

    with tempfile.TemporaryDirectory(prefix="virnuc_profiler_") as folder:
        trial = dataclasses.replace(request, output_dir=Path(folder))
        workload, validation = trial.workload(), trial.validation_workload()
    steps = decisions.planned_steps
    check_budgets(steps, decisions.steps, workload, validation)
    records = _with_new_sweep(request, decisions, workload, validation) if resumed is None else resumed
    settings = with_limits(records[-1].current_conditions, request, limits).settings
    trials = remaining_trials(records, decisions.steps, settings)
    confirms = is_confirmation_left(records, decisions.steps, trials)
    for name in needed_steps(records, decisions.steps, settings):
        if name == "confirmation":
            who = "the finalists" if SEARCH in decisions.steps else "the best, the runner-up"
            print(f"confirmation: {f'{who} and the baseline, in blocks' if confirms else 'no trial'}")
            continue
        if name == SEARCH:
            todo = records[-1].plan
            known = request.device.type == "cpu"
            print(*describe_search(todo, space_of_sweep(todo, None), budget_known=known), sep="\n")
            continue
        counts = Counter(configuration for step, configuration in trials if step == name)
        blocks = f" in {counted(decisions.repeats, 'block')}" if decisions.repeats > 1 and name != "validation" else ""
        if note := uncrossed_note(steps[name]):
            print(note)
        print(f"{name}: {counted(len(counts), 'configuration')}{blocks}")
        for configuration, count in counts.items():
            again = f" ({count} times)" if count > 1 else ""
            print(safe(f"  {'the best found' if configuration is None else configuration}{again}"))
    tokens = [(validation if name == "validation" else workload).tokens for name, _ in trials]
    if decisions.knobs.is_builtin:
        print(f"Model: {request.model} on {request.device}")
    else:
        model = request.model or "its own choice"
        print(safe(f"Target: {decisions.knobs.target}, model: {model}, on {request.device}"))
    print(describe_workload(workload))
    warn_of_findings(workload)
    more = time_of_race(decisions.steps) if confirms else ""
    print(f"Time: {estimate(request, workload, tokens)}{more}")
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
    records = read_journal(folder)
    record = last_sweep(folder, records)
    request = resumed_request(record, folder, given, resolve_device_here)
    require_same_file(record, request)
    plan_so_far = record.plan
    decisions = Decisions(
        plan_so_far.steps,
        plan_so_far.grid,
        plan_so_far.objective,
        plan_so_far.repeats,
        plan_so_far.budget_sec,
        plan_so_far.knobs,
    )
    return dry_run(request, decisions, limits, records)


def _with_new_sweep(
    request: Request, decisions: Decisions, workload: Workload, validation: Workload
) -> list[SweepRecord]:
    """Return the sweeps of the folder's journal as they would be once a new one has begun."""
    from virnuc_profiler.sweep.results.journal import read_journal
    from virnuc_profiler.sweep.results.sweep_record import SweepRecord

    earlier = read_journal(request.output_dir)
    new = SweepRecord("", decisions.plan(request, workload, validation), "")
    new.conditions["today"] = _expected_conditions(request, decisions.knobs, earlier)
    return [*earlier, new]


def _expected_conditions(request: Request, knobs: KnobSet, earlier: Sequence[SweepRecord]) -> Conditions:
    """Return the conditions of a new sweep, as far as they are known before its model is loaded.

    A model that is asked for with the options of the last sweep is expected to be the same one.
    """
    from virnuc_profiler.sweep.plan.conditions import Conditions
    from virnuc_profiler.sweep.plan.request import options_of
    from virnuc_profiler.sweep.trial.provenance import machine_description, software_versions

    model: Mapping[str, Any] = request.describe_model()
    versions: dict[str, Any] = software_versions()
    device_name = None
    if earlier:
        then, options = earlier[-1], options_of(request)
        varied = {name for name in then.plan.grid if name in (*BUILTIN_KNOBS.model_knobs, *knobs.model_knobs)}
        names = ("device", "model", "weights", "target", *BUILTIN_KNOBS.model_knobs)
        if varied == set(request.varied) and all(then.plan.options.get(name) == options.get(name) for name in names):
            model = then.current_conditions.model
            versions = {**(versions if knobs.is_builtin else then.current_conditions.versions), **versions}
            device_name = then.current_conditions.settings.get("device_name")
    settings = {
        "device": str(request.device),
        "device_name": device_name,
        "device_memory_gb": request.device_memory_gb,
        "host": platform.node(),
    }
    return Conditions(machine_description(), versions, model, settings, knobs=knobs)
