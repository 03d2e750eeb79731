# SPDX-License-Identifier: MIT
"""``virnuc-profiler sweep``: finds the fastest safe configuration."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virnuc_profiler.cli.arguments import (
    STEPS_HELP,
    add_isolation_options,
    add_measurement_options,
    setting_help,
    settings,
    steps,
)
from virnuc_profiler.cli.dry_run import dry_resume, dry_run
from virnuc_profiler.cli.isolation import limits_of, model_host
from virnuc_profiler.cli.measurement_request import (
    build_request,
    describe_workload,
    fasta_of_environment,
    require_writable,
    shown_path,
)
from virnuc_profiler.cli.resume import (
    conditions_so_far,
    last_sweep,
    require_journal,
    require_same_conditions,
    require_same_file,
    require_same_workload,
    resumed_request,
    with_limits,
)
from virnuc_profiler.errors import UsageError, VirnucError
from virnuc_profiler.sweep.plan.configuration import RANGES, Configuration
from virnuc_profiler.sweep.plan.steps import STEP_NAMES, Step, plan

if TYPE_CHECKING:
    from virnuc_profiler.cli.isolation import ModelHost
    from virnuc_profiler.sweep.plan.conditions import Conditions
    from virnuc_profiler.sweep.plan.request import Request, TrialModel
    from virnuc_profiler.sweep.plan.workload import Workload
    from virnuc_profiler.sweep.results.journal import Journal
    from virnuc_profiler.sweep.session import Sweep

_DEFAULTS = {
    "num_workers": "2,4,8; 4,8 in interaction",
    "prefetch_factor": "2,4,8",
    "token_budget": "2048,4096,8192",
    "buffer_size": "500,1000,2000",
}
_NO_OPTIONS_OF_A_SWEEP = ("command", "run", "debug", "dry_run", "resume", "allow_mixed", "defaults")

_log = logging.getLogger(__name__)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "sweep",
        help="find the fastest safe configuration",
        description="Measures configurations in five steps and names the fastest that is safe. A list that is given "
        "holds in every step that varies its setting; the baseline stays 4, 4, 4096, 2000. The environment variable "
        "VIRNUCPRO_PRODUCTION_FASTA stands in for --fasta.",
    )
    add_measurement_options(parser, folder="tuning_results/sweep_TIME", sequences="2000 on a GPU, 72 without")
    grid = parser.add_argument_group("grid: lists like 2,4,8")
    for name in RANGES:
        option = f"--{name.replace('_', '-')}"
        grid.add_argument(option, type=settings(name), metavar="LIST", help=setting_help(name, _DEFAULTS[name]))
    parser.add_argument("--steps", type=steps, default=STEP_NAMES, metavar="LIST", help=STEPS_HELP)
    parser.add_argument("--dry-run", action="store_true", help="list what would run and how long, and stop")
    parser.add_argument(
        "--resume", type=Path, metavar="DIR",
        help="continue the sweep in this folder, with the options that it was begun with; what is finished is kept",
    )  # fmt: skip
    parser.add_argument(
        "--allow-mixed", action="store_true",
        help="with --resume: continue although machine or versions are not what they were",
    )  # fmt: skip
    add_isolation_options(parser)
    _tell_given_from_default(parser)
    parser.set_defaults(run=run)


def _tell_given_from_default(parser: argparse.ArgumentParser) -> None:
    """Puts the defaults aside: a sweep that is resumed must know which options were given."""
    names = [name for name, value in vars(parser.parse_args([])).items() if name not in _NO_OPTIONS_OF_A_SWEEP]
    parser.set_defaults(defaults={name: parser.get_default(name) for name in names}, **dict.fromkeys(names))


def run(arguments: argparse.Namespace) -> int:
    """Runs the sweep, continues one, or lists what would be run."""
    given = {name: value for name in arguments.defaults if (value := getattr(arguments, name)) is not None}
    vars(arguments).update({**arguments.defaults, **given})
    if arguments.resume is not None:
        if arguments.dry_run:
            return dry_resume(arguments.resume, given, limits_of(arguments))
        with model_host(arguments) as place:
            return _resume(arguments.resume, given, place, allow_mixed=arguments.allow_mixed)
    if arguments.allow_mixed:
        raise UsageError("--allow-mixed needs --resume DIR: a new sweep mixes nothing")
    grid = {name: values for name in RANGES if (values := getattr(arguments, name)) is not None}
    if arguments.dry_run:
        request = build_request(arguments, limit_file=True, fasta=fasta_of_environment())
        return dry_run(request, plan(grid), arguments.steps)
    with model_host(arguments) as place:
        request = build_request(
            arguments, limit_file=True, fasta=fasta_of_environment(), resolve_device=place.resolve_device
        )  # fmt: skip
        return _start(request, grid, arguments.steps, place)


def _start(request: Request, grid: Mapping[str, Sequence[int]], names: Sequence[str], place: ModelHost) -> int:
    from virnuc_profiler.sweep.plan.request import options_of
    from virnuc_profiler.sweep.results.from_journal import Documents
    from virnuc_profiler.sweep.results.journal import Journal
    from virnuc_profiler.sweep.results.sweep_record import SweepPlan
    from virnuc_profiler.sweep.session import check_budgets

    require_writable(request.output_dir)
    with Journal(request.output_dir) as journal:
        if journal.records and not Documents(journal.records).complete():
            folder = shown_path(request.output_dir)
            _log.warning("%s holds a sweep that is not finished, and this one starts anew: --resume continues", folder)
        workload, validation = request.workload(), request.validation_workload()
        check_budgets(plan(grid), names, workload, validation)
        print(describe_workload(workload))
        values = {name: tuple(chosen) for name, chosen in grid.items()}
        journal.begin(SweepPlan(tuple(names), values, workload, validation, options_of(request)))
        return _run(_loaded(request, place), request, journal)


def _resume(folder: Path, given: Mapping[str, Any], place: ModelHost, *, allow_mixed: bool) -> int:
    from virnuc_profiler.sweep.results.journal import Journal
    from virnuc_profiler.telemetry.files import remove_unfinished

    require_journal(folder)
    require_writable(folder)
    with Journal(folder) as journal:
        record = last_sweep(folder, journal.records)
        request = resumed_request(record, folder, given, place.resolve_device)
        require_same_file(record, request)
        remove_unfinished(folder)
        workload, validation = request.workload(), request.validation_workload()
        require_same_workload(record, request, workload, validation)
        print(describe_workload(workload))
        sweep = _sweep(request, journal, with_limits(record.current_conditions, request, place.limits))
        sweep.write_files()  # the process may have been killed between the journal and the files
        left = len(sweep.to_run(record.plan.steps))
        print(f"Resumed: {len(record.trials)} trials are kept, {left} to run", flush=True)
        if not left:
            print()
            sweep.conditions = record.current_conditions  # nothing is added, so nothing is said of this process
            return _finish(sweep, request, None)
        require_same_conditions(record, folder, conditions_so_far(record), allow_mixed)
        model = _loaded(request, place)
        require_same_conditions(record, folder, model.conditions(), allow_mixed)
        return _run(model, request, journal)


def _loaded(request: Request, place: ModelHost) -> TrialModel:
    model = place.load(request)
    print(describe_model(model.description))
    print(f"Device: {request.device} ({model.device_name})")
    if model.forecast is not None:
        print(f"Memory: {model.forecast}")
    print(flush=True)
    return model


def _run(model: TrialModel, request: Request, journal: Journal) -> int:
    """Runs what is left of the journal's current sweep."""
    sweep = _sweep(request, journal, model.conditions())
    sweep.run_trial = model.run_trial
    return _finish(sweep, request, model)


def _finish(sweep: Sweep, request: Request, model: TrialModel | None) -> int:
    """Runs the sweep, without a model if everything is there already, and says where the results are."""
    from virnuc_profiler.cli.progress import show_progress
    from virnuc_profiler.sweep.plan.cooldown import shortest_pause_s

    assert sweep.journal is not None
    names = sweep.journal.current.plan.steps
    with show_progress(sweep.planned(names), shortest_pause_s(request.cooldown_s)) as progress:
        sweep.listener = progress
        if model is not None:
            steps_to_run = [sweep.steps[name] for name in sweep.needed(names)]
            model.warm_up(sweep.workload, num_workers=min(1, _most_workers(steps_to_run)))
        sweep.run(names)
    folder = shown_path(request.output_dir)
    print(f"Results: {folder}")
    trials = sweep.journal.current.trials
    if trials and not any(trial.result["status"] == "success" for trial in trials):
        raise VirnucError(f"no configuration succeeded; the tables and the files in {folder} say why")
    return 0


def _sweep(request: Request, journal: Journal, conditions: Conditions) -> Sweep:
    """The journal's current sweep; its paths are those of this process, for the folder may have been moved."""
    from virnuc_profiler.sweep.session import Sweep

    def here(workload: Workload) -> Workload:
        return dataclasses.replace(workload, path=request.fasta or request.output_dir / workload.path.name)

    todo = journal.current.plan
    return Sweep(
        request.output_dir,
        _nothing_to_run,
        here(todo.workload),
        here(todo.validation_workload),
        conditions,
        todo.grid,
        journal=journal,
    )


def _nothing_to_run(
    workload: Workload,  # noqa: ARG001
    configuration: Configuration,
    output_dir: Path,  # noqa: ARG001
    on_progress: Callable[[int], None],  # noqa: ARG001
) -> Mapping[str, Any]:
    raise AssertionError(f"{configuration} is to be run without a model")


def _most_workers(steps_to_run: Sequence[Step]) -> int:
    return max(configuration.num_workers for step in steps_to_run for configuration in step.configurations())


def describe_model(description: Mapping[str, object]) -> str:
    """One line that says which model runs, and with which weights."""
    return "Model: {model_name}, {precision}, weights: {weights}, attention: {attention_backend}".format(**description)
