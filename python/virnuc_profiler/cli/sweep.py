# SPDX-License-Identifier: MIT
"""``virnuc-profiler sweep``: finds the fastest safe configuration."""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from virnuc_profiler.cli.arguments import (
    STEPS_HELP,
    add_isolation_options,
    add_measurement_options,
    setting_help,
    settings,
    steps,
)
from virnuc_profiler.cli.request import (
    build_request,
    describe_workload,
    fasta_of_environment,
    require_writable,
    shown_path,
)
from virnuc_profiler.sweep.configuration import RANGES
from virnuc_profiler.sweep.steps import STEP_NAMES, Step, plan

if TYPE_CHECKING:
    from virnuc_profiler.sweep.estimate import Estimate
    from virnuc_profiler.sweep.request import Request, TrialModel
    from virnuc_profiler.sweep.workload import Workload

_DEFAULTS = {
    "num_workers": "2,4,8; 4,8 in interaction",
    "prefetch_factor": "2,4,8",
    "token_budget": "2048,4096,8192",
    "buffer_size": "500,1000,2000",
}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "sweep",
        help="find the fastest safe configuration",
        description="Measures configurations in five steps and names the fastest that is safe. A list that is given "
        "holds in every step that varies its setting; the baseline stays 4, 4, 4096, 2000. The environment variable "
        "VIRNUCPRO_PRODUCTION_FASTA stands in for --fasta.",
    )
    add_measurement_options(parser, folder="tuning_results/sweep_TIME")
    grid = parser.add_argument_group("grid: lists like 2,4,8")
    for name in RANGES:
        option = f"--{name.replace('_', '-')}"
        grid.add_argument(option, type=settings(name), metavar="LIST", help=setting_help(name, _DEFAULTS[name]))
    parser.add_argument("--steps", type=steps, default=STEP_NAMES, metavar="LIST", help=STEPS_HELP)
    parser.add_argument("--dry-run", action="store_true", help="list what would run and how long, and stop")
    add_isolation_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the sweep, or lists what it would run."""
    grid = {name: values for name in RANGES if (values := getattr(arguments, name)) is not None}
    if arguments.dry_run:
        request = build_request(arguments, limit_file=True, fasta=fasta_of_environment())
        return _dry_run(request, plan(grid), arguments.steps)
    if arguments.isolation == "none":
        return _sweep_here(arguments, grid)
    return _sweep_supervised(arguments, grid)


def _sweep_here(arguments: argparse.Namespace, grid: Mapping[str, Sequence[int]]) -> int:
    def load(request: Request) -> TrialModel:
        from virnuc_profiler.sweep.prepare import MeasuredModel

        return MeasuredModel(request)

    request = build_request(arguments, limit_file=True, fasta=fasta_of_environment())
    return _sweep(request, load, grid, arguments.steps)


def _sweep_supervised(arguments: argparse.Namespace, grid: Mapping[str, Sequence[int]]) -> int:
    """The same with the model in another process; this one never imports PyTorch."""
    from virnuc_profiler.sweep.supervision.deadlines import Limits
    from virnuc_profiler.sweep.supervision.model import SupervisedModel
    from virnuc_profiler.sweep.supervision.supervisor import Supervisor

    limits = Limits(arguments.start_timeout, arguments.progress_timeout)
    with Supervisor(limits) as supervisor:
        request = build_request(
            arguments, limit_file=True, fasta=fasta_of_environment(), find_device=supervisor.find_device
        )
        return _sweep(request, lambda request: SupervisedModel(request, supervisor), grid, arguments.steps)


def _sweep(
    request: Request,
    load: Callable[[Request], TrialModel],
    grid: Mapping[str, Sequence[int]],
    names: Sequence[str],
) -> int:
    from virnuc_profiler.cli.progress import show_progress
    from virnuc_profiler.sweep.session import Sweep, check_budgets

    require_writable(request.output_dir)
    workload, validation = request.workload(), request.validation_workload()
    check_budgets(plan(grid), names, workload, validation)
    print(describe_workload(workload))
    model = load(request)
    print(describe_model(model.description))
    print(f"Device: {request.device} ({model.device_name})")
    if model.forecast is not None:
        print(f"Memory: {model.forecast}")
    print(flush=True)
    sweep = Sweep(request.output_dir, model.run_trial, workload, validation, model.conditions(), grid)
    with show_progress(sweep.planned(names), request.cooldown_s) as progress:
        sweep.listener = progress
        steps_to_run = [sweep.steps[name] for name in sweep.needed(names)]
        model.warm_up(workload, num_workers=min(1, _most_workers(steps_to_run)))
        sweep.run(names)
    print(f"Results: {shown_path(request.output_dir)}")
    return 0


def _most_workers(steps_to_run: Sequence[Step]) -> int:
    return max(configuration.num_workers for step in steps_to_run for configuration in step.configurations())


def describe_model(description: Mapping[str, object]) -> str:
    """One line that says which model runs, and with which weights."""
    return "Model: {model_name}, {precision}, weights: {weights}, attention: {attention_backend}".format(**description)


def _dry_run(request: Request, planned: Mapping[str, Step], names: Sequence[str]) -> int:
    from virnuc_profiler.sweep.results import baseline_seconds
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
        configurations = planned[name].configurations()
        print(f"{name}: {len(configurations)} configuration{'s' if len(configurations) > 1 else ''}")
        for configuration in configurations:
            print(f"  {'the best found' if name == 'validation' else configuration}")
            tokens.append((validation if name == "validation" else workload).tokens)
    print(f"Model: {request.model} on {request.device}")
    print(f"Workload: {workload.num_sequences:,} sequences, {workload.tokens:,} tokens")
    print(f"Time: {_estimate(request, workload, tokens, seconds)}")
    print(f"Results would be in: {shown_path(request.output_dir)}")
    return 0


def _estimate(request: Request, workload: Workload, tokens: Sequence[int], seconds: float | None) -> Estimate:
    """From the `seconds` of an earlier baseline of the same workload, model and device, or a guess without one."""
    from virnuc_profiler.inference.architectures import ARCHITECTURES
    from virnuc_profiler.sweep.estimate import from_baseline, guess
    from virnuc_profiler.sweep.prepare import usable_cores

    if seconds is not None:
        return from_baseline(tokens, request.cooldown_s, measured_seconds=seconds, measured_tokens=workload.tokens)
    architecture = ARCHITECTURES[request.model]
    return guess(
        tokens,
        request.cooldown_s,
        layers=architecture.num_layers,
        hidden=architecture.embed_dim,
        cores=usable_cores() if request.device.type == "cpu" else None,
    )
