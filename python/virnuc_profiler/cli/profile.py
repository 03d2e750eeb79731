# SPDX-License-Identifier: MIT
"""``virnuc-profiler profile``: one configuration, stage by stage."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from virnuc_profiler.cli.estimates import estimate
from virnuc_profiler.cli.heartbeat import Heartbeat
from virnuc_profiler.cli.nsys import profile_under_nsys
from virnuc_profiler.cli.options.arguments import add_measurement_options, set_defaults_aside, take_given_options
from virnuc_profiler.cli.options.idle_options import refuse_idle_options
from virnuc_profiler.cli.options.measurement_request import (
    build_request,
    describe_workload,
    fill_in_folder,
    shown_path,
    warn_of_findings,
)
from virnuc_profiler.cli.options.rank_options import (
    describe_rank,
    part_of_rank,
    refuse_ranks,
    share_cores,
    share_device,
)
from virnuc_profiler.cli.options.result_folder import claim_folder, keep_earlier
from virnuc_profiler.cli.terminal import terminal_width
from virnuc_profiler.errors import UsageError
from virnuc_profiler.ranks.rank_variables import current_rank
from virnuc_profiler.targets.knobs.configuration import KNOBS, Configuration

if TYPE_CHECKING:
    from virnuc_profiler.sweep.plan.request import Request
    from virnuc_profiler.sweep.results.result import Result


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "profile",
        help="measure one configuration, stage by stage",
        description="Measure one configuration and show where the time goes. Ranks of torchrun or Slurm run a part of "
        "the sequences each, and write files of their own.",
    )
    add_measurement_options(
        parser,
        folder="tuning_results/profile_TIME",
        sequences="all of your own file; else 2000 on a GPU, 72 without",
        lists=False,
    )
    parser.add_argument(
        "--verbose", action="store_true", help="print the whole report: all figures, the stages, the diagnosis"
    )
    nsys = parser.add_argument_group("Nsight Systems")
    nsys.add_argument("--nsys", action="store_true", help="run under nsys, and show its capture beside the run")
    nsys.add_argument(
        "--capture-range", action="store_true",
        help="bracket the measured batches with cudaProfilerStart/Stop, for nsys or ncu",
    )  # fmt: skip
    set_defaults_aside(parser, "nsys", "capture_range", "verbose")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and report; return 1 if the configuration failed."""
    from virnuc_profiler.sweep.results.folder_lock import LOCK_FILE, FolderLock

    given = take_given_options(arguments)
    refuse_idle_options(arguments, given, arguments.fasta)
    rank = current_rank()
    arguments.num_workers = share_cores(rank, arguments.num_workers, given="num_workers" in given)
    knobs = {name: getattr(arguments, name) for name, knob in KNOBS.items() if not knob.needs_new_model}
    configuration = Configuration(**knobs)
    named = arguments.output_dir is not None
    if arguments.nsys:
        refuse_ranks("profile --nsys")
        return profile_under_nsys(arguments.argv, configuration.run_id, fill_in_folder(arguments), named=named)
    share_device(arguments, rank)
    request = build_request(arguments, limit_file=False)
    folder = request.output_dir if named else request.output_dir.with_name(rank.file_name(request.output_dir.name))
    arguments.output_dir = claim_folder(folder, named=named)
    request = replace(request, output_dir=arguments.output_dir, part=part_of_rank(rank))
    if request.part is not None:
        print(describe_rank(rank, str(request.device)))
    with FolderLock(request.output_dir, "profile", rank.file_name(LOCK_FILE)):
        result = _measure(request, configuration)
    # Neither file exists if the device failed before the run began.
    if result.telemetry_path is not None and result.run_path is not None:
        print(_rendered(result.run_path, whole=arguments.verbose))
        print(f"Telemetry: {shown_path(result.telemetry_path)}")
        print(f"Run: {shown_path(result.run_path)}")
        if not arguments.verbose:
            print(f"All figures: virnuc-profiler report {shown_path(shlex.quote(result.run_path))}")
    print(f"Results: {shown_path(request.output_dir)}")
    return 0 if result.succeeded else 1


def _rendered(run_path: str, *, whole: bool) -> str:
    """Return the page on a run, or all that is known of it."""
    from virnuc_profiler.reports.renderers import TextRenderer
    from virnuc_profiler.reports.run_page import render_page
    from virnuc_profiler.telemetry.run_result import RunResult

    run = RunResult.load(run_path, max_bytes=sys.maxsize)
    return TextRenderer().run(run) if whole else render_page(run, terminal_width())


def _measure(request: Request, configuration: Configuration) -> Result:
    from virnuc_profiler.capture.cpu_check import quota_notice
    from virnuc_profiler.cli.progress import show_run
    from virnuc_profiler.cli.sweep import describe_model
    from virnuc_profiler.inference.loading.environment import require_environment
    from virnuc_profiler.sweep.plan.budgets import require_budget
    from virnuc_profiler.sweep.results.result_files import trial_paths
    from virnuc_profiler.sweep.trial.measured_model import MeasuredModel

    with Heartbeat("reading the sequences"):
        workload, fasta = request.open_workload()
    require_budget(configuration.token_budget, workload.longest_tokens)
    require_environment(configuration.num_workers)
    print(describe_workload(workload))
    warn_of_findings(workload)
    with Heartbeat(f"loading {request.model}"):
        model = MeasuredModel(request, fasta)
    print(describe_model(model.description))
    if model.forecast is not None:
        print(f"Memory: {model.forecast}")
    if (notice := quota_notice()) is not None:
        print(notice)
    print(f"Configuration: {configuration}")
    print(f"Time: {estimate(request, workload, [workload.tokens])}\n", flush=True)
    predicted = model.predicted_failure(workload, configuration)
    if predicted is not None:
        raise UsageError(f"{configuration} is {predicted.message}")
    with Heartbeat("warming up the model"):
        model.warm_up(workload, num_workers=min(1, configuration.num_workers))
    run_id = configuration.run_id + ("" if workload.part is None else workload.part.suffix)
    keep_earlier(trial_paths(request.output_dir, run_id))
    with show_run(workload) as progress:
        result = model.run_trial(
            workload, configuration, request.output_dir, progress.count_sequences, progress.count_tokens
        )
    if not result.succeeded:
        print(f"virnuc-profiler: error: {configuration} failed, {result.message}", file=sys.stderr)
    return result
