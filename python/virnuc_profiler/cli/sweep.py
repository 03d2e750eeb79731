# SPDX-License-Identifier: MIT
"""``virnuc-profiler sweep``: find the fastest safe configuration."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virnuc_profiler.cli.dry_run import dry_resume, dry_run
from virnuc_profiler.cli.estimates import estimate
from virnuc_profiler.cli.heartbeat import Heartbeat
from virnuc_profiler.cli.options.arguments import (
    STEPS_HELP,
    add_isolation_options,
    add_measurement_options,
    file_path,
    set_defaults_aside,
    steps,
    take_given_options,
)
from virnuc_profiler.cli.options.decision_options import (
    Decisions,
    add_decision_options,
    objective_of,
    require_energy,
    steps_of,
)
from virnuc_profiler.cli.options.idle_options import idle_lists, refuse_idle_limits, refuse_idle_options
from virnuc_profiler.cli.options.isolation import limits_of, model_host
from virnuc_profiler.cli.options.measurement_request import (
    build_request,
    describe_workload,
    fasta_of_environment,
    require_writable,
    resolve_device_here,
    shown_path,
    warn_of_findings,
)
from virnuc_profiler.cli.options.result_folder import claim_folder
from virnuc_profiler.cli.options.search_options import (
    ADAPTIVE,
    add_search_options,
    describe_search,
    space_of_sweep,
    steps_of_search,
    time_of_race,
)
from virnuc_profiler.cli.options.target_options import (
    facts_of_target,
    grid_given,
    refuse_options_of_builtin,
    resolve_model,
)
from virnuc_profiler.cli.resume import (
    conditions_so_far,
    last_sweep,
    require_journal,
    require_same_conditions,
    require_same_file,
    require_same_knobs,
    require_same_model,
    require_same_workload,
    resumed_request,
    with_limits,
)
from virnuc_profiler.cli.terminal import safe
from virnuc_profiler.errors import UsageError, VirnucError
from virnuc_profiler.sweep.plan.steps import GRID, SEARCH, STEP_NAMES, Grid, Step, uncrossed_note
from virnuc_profiler.targets.knobs.configuration import BASELINE, Configuration, KnobSet
from virnuc_profiler.telemetry.number_text import counted

if TYPE_CHECKING:
    from virnuc_profiler.cli.options.isolation import ModelHost
    from virnuc_profiler.sweep.plan.conditions import Conditions
    from virnuc_profiler.sweep.plan.request import Request
    from virnuc_profiler.sweep.plan.workload import Workload
    from virnuc_profiler.sweep.results.journal import Journal
    from virnuc_profiler.sweep.results.result import Result
    from virnuc_profiler.sweep.session import Sweep
    from virnuc_profiler.sweep.trial.loaded_model import LoadedModel

_log = logging.getLogger(__name__)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "sweep",
        help="find the fastest safe configuration",
        description="Measure configurations in steps, and recommend the cheapest of those that are not shown to be "
        "slower than the best. A list replaces the "
        f"values of every step that varies its knob; the baseline stays {BASELINE}. The environment variable "
        "VIRNUCPRO_PRODUCTION_FASTA stands in for --fasta.",
    )
    add_measurement_options(
        parser, folder="tuning_results/sweep_TIME", sequences="2000 on a GPU, 72 without", lists=True
    )
    parser.add_argument("--steps", type=steps, default=STEP_NAMES, metavar="LIST", help=STEPS_HELP)
    parser.add_argument(
        "--dry-run", action="store_true", help="list what would run and how long it would take, and stop"
    )
    parser.add_argument(
        "--resume", type=file_path, metavar="DIR",
        help="continue the sweep in this folder with its own options; what is finished is kept",
    )  # fmt: skip
    parser.add_argument(
        "--allow-mixed", action="store_true",
        help="with --resume: continue although the machine or versions have changed",
    )  # fmt: skip
    add_search_options(parser)
    add_decision_options(parser)
    add_isolation_options(parser)
    set_defaults_aside(parser, "dry_run", "resume", "allow_mixed")  # a resumed sweep must know what was given
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run a sweep, continue one, or list what would be run."""
    given = take_given_options(arguments)
    refuse_idle_limits(given)
    if arguments.resume is not None:
        if arguments.dry_run:
            return dry_resume(arguments.resume, given, limits_of(arguments))
        with model_host(arguments) as host:
            return _resume(arguments.resume, given, host, allow_mixed=arguments.allow_mixed, metrics=arguments.metrics)
    if arguments.allow_mixed:
        raise UsageError("--allow-mixed needs --resume DIR: a new sweep mixes nothing")
    fasta = fasta_of_environment()
    resolve_model(arguments, given, arguments.target)
    refuse_options_of_builtin(given, arguments.target)
    refuse_idle_options(arguments, given, arguments.fasta or fasta)
    with model_host(arguments) as host:
        decisions = _decisions(arguments, given, host)
        resolve_device = resolve_device_here if arguments.dry_run else host.resolve_device
        with Heartbeat("starting PyTorch"):
            request = build_request(
                arguments,
                limit_file=True,
                grid=decisions.grid,
                fasta=fasta,
                resolve_device=resolve_device,
                target_knobs=decisions.knobs,
            )
        require_energy(decisions.objective, request.device.type)
        if arguments.dry_run:
            return dry_run(request, decisions, limits_of(arguments))
        arguments.output_dir = claim_folder(request.output_dir, named="output_dir" in given)
        request = dataclasses.replace(request, output_dir=arguments.output_dir)
        return _start(request, decisions, host, arguments.metrics)


def _decisions(arguments: argparse.Namespace, given: dict[str, Any], host: ModelHost) -> Decisions:
    """Return what the options ask to measure of their target, and warn of lists that have no effect."""
    with Heartbeat(f"asking {arguments.target} for its knobs"):
        facts = facts_of_target(arguments, host)
    knobs = facts.knobs
    lists = grid_given(given, knobs, searched=True)
    grid = grid_given(given, knobs, searched=arguments.search == ADAPTIVE)
    found = Decisions(
        steps_of(steps_of_search(arguments, given, lists, knobs), confirm=not arguments.no_confirm),
        grid,
        objective_of(arguments, facts),
        arguments.repeats,
        None if arguments.budget_minutes is None else 60 * arguments.budget_minutes,
        knobs,
    )
    steps_by_name = found.planned_steps
    if GRID in found.steps and not steps_by_name[GRID].grid:
        raise UsageError(
            f"nothing is varied: give several values of a knob of {knobs.target} with --knob NAME=V1,V2 (its knobs are "
            f"{', '.join(knobs) or 'none'}), or choose --steps without {GRID}"
        )
    if SEARCH not in found.steps and (idle := idle_lists(lists, knobs, (steps_by_name[one] for one in found.steps))):
        _log.warning("%s", idle)
    return found


def _start(request: Request, decisions: Decisions, host: ModelHost, metrics: Path | None) -> int:
    from virnuc_profiler.sweep.plan.budgets import check_budgets
    from virnuc_profiler.sweep.results.from_journal import Documents
    from virnuc_profiler.sweep.results.journal import Journal

    with Journal(request.output_dir) as journal:
        if journal.records and not Documents(journal.records).complete():
            folder = shown_path(request.output_dir)
            _log.warning(
                "%s holds a sweep that is not finished, and this starts a new one: --resume would continue it", folder
            )
        with Heartbeat("reading the sequences"):
            workload, validation = request.workload(), request.validation_workload()
        steps_by_name = decisions.planned_steps
        check_budgets(steps_by_name, decisions.steps, workload, validation)
        _require_environment(steps_by_name[name] for name in decisions.steps)
        print(describe_workload(workload))
        warn_of_findings(workload)
        for name in decisions.steps:
            if note := uncrossed_note(steps_by_name[name]):
                print(note)
        journal.begin(decisions.plan(request, workload, validation))
        return _run(_loaded(request, host, decisions.grid, decisions.knobs), request, journal, metrics)


def _resume(folder: Path, given: Mapping[str, Any], host: ModelHost, *, allow_mixed: bool, metrics: Path | None) -> int:
    from virnuc_profiler.sweep.results.journal import Journal
    from virnuc_profiler.telemetry.files import remove_unfinished

    require_journal(folder)
    require_writable(folder)
    with Journal(folder) as journal:
        record = last_sweep(folder, journal.records)
        with Heartbeat("starting PyTorch"):
            request = resumed_request(record, folder, given, host.resolve_device)
        require_same_file(record, request)
        remove_unfinished(folder)
        with Heartbeat("reading the sequences"):
            workload, validation = request.workload(), request.validation_workload()
        require_same_workload(record, request, workload, validation)
        print(describe_workload(workload))
        warn_of_findings(workload)
        sweep = _sweep(request, journal, with_limits(record.current_conditions, request, host.limits))
        sweep.write_files()  # the process may have been killed between the journal and the files
        left = sweep.to_run(record.plan.steps)
        print(f"Resumed: {len(record.trials)} finished, {len(left)} to run", flush=True)
        if not left:
            print()
            sweep.conditions = record.current_conditions  # no result of this process is added
            return _finish(sweep, request, None, metrics)
        require_same_conditions(record, folder, conditions_so_far(record), allow_mixed)
        _require_environment(sweep.steps[name] for name, _ in left)
        first = left[0][1]
        if first is not None:
            request = request.for_configuration(first)
        if not record.plan.knobs.is_builtin:
            require_same_knobs(record, folder, host.knobs_of(request.target, request.target_options()).knobs)
        model = _loaded(request, host, record.plan.grid, record.plan.knobs)
        require_same_conditions(record, folder, model.conditions(), allow_mixed)
        require_same_model(record, folder, request, model.description, allow_mixed)
        return _run(model, request, journal, metrics)


def _loaded(request: Request, host: ModelHost, grid: Grid, knobs: KnobSet) -> LoadedModel:
    from virnuc_profiler.capture.cpu_check import quota_notice

    with Heartbeat(f"loading {request.model or request.target}"):
        model = host.load(request)
    print(describe_model(model.description))
    for name in request.varied:
        values = ", ".join(map(knobs[name].text, grid[name]))
        print(safe(f"{knobs[name].heading}: {values} in turn; the model is loaded again for each"))
    print(f"Device: {request.device} ({model.device_name})")
    if model.forecast is not None:
        print(f"Memory: {model.forecast}")
    if (notice := quota_notice()) is not None:
        print(notice)
    return model


def _run(model: LoadedModel, request: Request, journal: Journal, metrics: Path | None) -> int:
    """Run what is left of the journal's current sweep."""
    return _finish(_sweep(request, journal, model.conditions()), request, model, metrics)


def _finish(sweep: Sweep, request: Request, model: LoadedModel | None, metrics: Path | None) -> int:
    """Run the sweep, without a model if everything is there already, and print where the results are."""
    from virnuc_profiler.cli.live.show_sweep import show_sweep
    from virnuc_profiler.cli.live.sweep_progress import make_progress
    from virnuc_profiler.sweep.plan.cooldown import min_pause_s
    from virnuc_profiler.sweep.results.remaining import is_confirmation_left
    from virnuc_profiler.sweep.results.result import ENVIRONMENT
    from virnuc_profiler.sweep.trial.loaded_model import LiveFigures

    assert sweep.journal is not None
    todo = sweep.journal.current.plan
    if SEARCH in todo.steps:
        sweep.search_space = space_of_sweep(todo, model)
        print(*describe_search(todo, sweep.search_space, budget_known=True), sep="\n")
    names = sweep.journal.current.plan.steps
    planned = sweep.planned(names)
    confirms = is_confirmation_left(sweep.journal.records, names, sweep.to_run(names))
    if planned:
        expected = estimate(request, sweep.workload, [workload.tokens for workload in planned])
        more = time_of_race(names) if confirms else ""
        print(f"Time: {expected} for {_counted_trials(planned, sweep.repeats)}{more}\n", flush=True)
    progress = sweep.listener = make_progress(
        planned,
        min_pause_s(request.cooldown_s),
        confirms=confirms,
        figures=LiveFigures if model is None else model.live_figures,
        so_far=[trial.result for trial in sweep.journal.current.trials],
    )
    with show_sweep(progress, request.output_dir, metrics):
        if model is not None:
            sweep.run_trial = partial(model.run_trial, on_tokens=progress.trial_counted)
            sweep.run_brief_trial = partial(model.run_trial, on_tokens=progress.trial_counted, brief=True)
            steps_to_run = [sweep.steps[name] for name in sweep.needed(names)]
            model.warm_up(sweep.workload, num_workers=min(1, _max_workers(steps_to_run)))
        sweep.run(names)
    folder = shown_path(request.output_dir)
    print(f"Results: {folder}")
    trials = sweep.journal.current.trials
    if again := sum(trial.result.reason == ENVIRONMENT for trial in trials):
        _log.warning("%s", _not_let_run(again, folder))
    if trials and not any(trial.result.succeeded for trial in trials):
        raise VirnucError(f"no configuration succeeded; the tables and the files in {folder} say why")
    return 0


def _counted_trials(planned: Sequence[Workload], repeats: int) -> str:
    return counted(len(planned), "configuration" if repeats == 1 else "trial")


def _not_let_run(count: int, folder: str) -> str:
    them = "it" if count == 1 else "them"
    found = f"this machine did not let {counted(count, 'configuration')} run"
    return f"{found}: sweep --resume {folder} measures {them} again"


def _sweep(request: Request, journal: Journal, conditions: Conditions) -> Sweep:
    """Return the journal's current sweep with the paths of this process, since the folder may have been moved."""
    from virnuc_profiler.sweep.session import Sweep

    def here(workload: Workload) -> Workload:
        return dataclasses.replace(workload, path=request.fasta or request.output_dir / workload.path.name)

    todo = journal.current.plan
    return Sweep(
        request.output_dir,
        _run_without_model,
        here(todo.workload),
        here(todo.validation_workload),
        conditions,
        todo.grid,
        journal=journal,
        repeats=todo.repeats,
        seed=todo.seed,
        objective=todo.objective,
        knobs=todo.knobs,
    )


def _run_without_model(
    workload: Workload,  # noqa: ARG001
    configuration: Configuration,
    output_dir: Path,  # noqa: ARG001
    on_progress: Callable[[int], None],  # noqa: ARG001
) -> Result:
    raise AssertionError(f"{configuration} is to be run without a model")


def _require_environment(steps_to_run: Iterable[Step]) -> None:
    """Say before the first trial what the machine lacks for every one of them."""
    from virnuc_profiler.inference.loading.environment import require_environment

    require_environment(_max_workers(tuple(steps_to_run)))


def _max_workers(steps_to_run: Sequence[Step]) -> int:
    workers = [one.get("num_workers") or 0 for step in steps_to_run for one in step.configurations()]
    base = steps_to_run[0].base if steps_to_run else BASELINE
    return int(max(workers, default=base.get("num_workers") or 0))


def describe_model(description: Mapping[str, Any]) -> str:
    """Return one line that says which model or target runs, and with which weights."""
    about = description.get("target")
    if not isinstance(about, Mapping):
        words = "Model: {model_name}, {precision}, weights: {weights}, attention: {attention_backend}"
        return safe(words.format(**description))
    model = description.get("model_name")
    parts = [str(about.get("name")), *([f"model: {model}"] if model != about.get("name") else [])]
    parts += [
        f"{name}: {description[key]}"
        for name, key in (("precision", "precision"), ("weights", "weights"), ("attention", "attention_backend"))
        if description.get(key) is not None
    ]
    return safe(f"Target: {', '.join(parts)}")
