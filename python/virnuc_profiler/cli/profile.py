# SPDX-License-Identifier: MIT
"""``virnuc-profiler profile``: one configuration, stage by stage."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from virnuc_profiler.cli.estimates import estimate
from virnuc_profiler.cli.heartbeat import Heartbeat
from virnuc_profiler.cli.nsys import profile_under_nsys
from virnuc_profiler.cli.options.arguments import (
    add_measurement_options,
    set_defaults_aside,
    take_given_options,
    whole,
)
from virnuc_profiler.cli.options.idle_options import refuse_idle_options
from virnuc_profiler.cli.options.isolation import ModelHost, ThisProcess, model_process
from virnuc_profiler.cli.options.measurement_request import (
    build_request,
    describe_workload,
    fill_in_folder,
    resolve_device_here,
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
from virnuc_profiler.cli.options.target_options import (
    configuration_given,
    facts_of_target,
    refuse_options_of_builtin,
    resolve_model,
)
from virnuc_profiler.cli.terminal import command_line, safe, say, terminal_width
from virnuc_profiler.errors import LibraryUnavailable, UsageError, first_line
from virnuc_profiler.ranks.rank_variables import current_rank

if TYPE_CHECKING:
    from virnuc_profiler.sweep.plan.request import Request
    from virnuc_profiler.sweep.plan.workload import Workload
    from virnuc_profiler.sweep.results.result import Result
    from virnuc_profiler.sweep.trial.measured_model import MeasuredModel
    from virnuc_profiler.sweep.trial.measured_target import MeasuredTarget
    from virnuc_profiler.targets.knobs.configuration import Configuration

KERNEL_BATCHES: Final = 20
"""Batches that ``--kernels`` captures by default."""


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
    kernels = parser.add_argument_group("kernels")
    kernels.add_argument(
        "--kernels", nargs="?", type=whole(1), const=KERNEL_BATCHES, metavar="N",
        help="afterwards run N steady batches again under CUPTI: the true busy share of the GPU, gaps inside stages, "
        f"launches, and the largest kernels of each stage (default: {KERNEL_BATCHES} batches)",
    )  # fmt: skip
    set_defaults_aside(parser, "nsys", "capture_range", "verbose", "kernels")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and report; return 1 if the configuration failed."""
    from virnuc_profiler.sweep.results.folder_lock import LOCK_FILE, FolderLock

    given = take_given_options(arguments)
    resolve_model(arguments, given, arguments.target)
    refuse_options_of_builtin(given, arguments.target)
    refuse_idle_options(arguments, given, arguments.fasta)
    rank = current_rank()
    named = arguments.output_dir is not None
    if arguments.kernels and (arguments.nsys or arguments.capture_range):
        raise UsageError(
            "--kernels and Nsight's tools both need CUPTI, which serves one tool at a time: leave out --kernels, or "
            "--nsys and --capture-range"
        )
    if arguments.nsys:
        refuse_ranks("profile --nsys")
        with model_process() as other:  # whose device memory is free again before the run
            configuration = _configuration(arguments, given, other)
        return profile_under_nsys(arguments.argv, configuration.run_id, fill_in_folder(arguments), named=named)
    share_device(arguments, rank)
    here = ThisProcess()
    host = ModelHost(resolve_device_here, here.load, here.knobs_of, {})
    configuration = _configuration(arguments, given, host)
    if "num_workers" in configuration.knobs:
        workers = share_cores(rank, int(configuration.get("num_workers") or 0), given="num_workers" in given)
        configuration = configuration.replace(num_workers=workers)
    request = build_request(arguments, limit_file=False, target_knobs=configuration.knobs)
    if not configuration.knobs.is_builtin:
        request = request.for_configuration(configuration)
    folder = request.output_dir if named else request.output_dir.with_name(rank.file_name(request.output_dir.name))
    arguments.output_dir = claim_folder(folder, named=named)
    request = replace(request, output_dir=arguments.output_dir, part=part_of_rank(rank))
    if request.part is not None:
        print(describe_rank(rank, str(request.device)))
    with FolderLock(request.output_dir, "profile", rank.file_name(LOCK_FILE)):
        result = _measure(request, configuration, here, arguments.kernels or 0)
    # Neither file exists if the device failed before the run began.
    if result.telemetry_path is not None and result.run_path is not None:
        print(_rendered(result.run_path, whole=arguments.verbose))
        print(f"Telemetry: {shown_path(result.telemetry_path)}")
        print(f"Run: {shown_path(result.run_path)}")
        if not arguments.verbose:
            print(command_line(["virnuc-profiler", "report", result.run_path], "All figures: "))
    print(f"Results: {shown_path(request.output_dir)}")
    return 0 if result.succeeded else 1


def _configuration(arguments: argparse.Namespace, given: dict[str, Any], host: ModelHost) -> Configuration:
    """Return the configuration that the options name, for the knobs of their target."""
    knobs = facts_of_target(arguments, host).knobs
    if knobs.is_builtin:  # its precision belongs to the model, which is loaded once
        given = {name: value for name, value in given.items() if name not in knobs.model_knobs}
    return configuration_given(given, knobs)


def _rendered(run_path: str, *, whole: bool) -> str:
    """Return the page on a run, or all that is known of it."""
    from virnuc_profiler.reports.renderers import TextRenderer
    from virnuc_profiler.reports.run_page import render_page
    from virnuc_profiler.telemetry.run_result import RunResult

    run = RunResult.load(run_path, max_bytes=sys.maxsize)
    return TextRenderer(terminal_width()).run(run) if whole else render_page(run, terminal_width())


def _measure(request: Request, configuration: Configuration, here: ThisProcess, kernel_batches: int) -> Result:
    from virnuc_profiler.capture.cpu_check import quota_notice
    from virnuc_profiler.cli.live.run_progress import show_run
    from virnuc_profiler.cli.sweep import describe_model
    from virnuc_profiler.inference.loading.environment import require_environment
    from virnuc_profiler.sweep.plan.budgets import require_budget
    from virnuc_profiler.sweep.results.result_files import trial_paths

    with Heartbeat("reading the sequences"):
        workload, fasta = request.open_workload()
    workers = int(configuration.get("num_workers") or 0)
    if configuration.knobs.is_builtin:
        require_budget(configuration.token_budget, workload.longest_tokens)
    require_environment(workers)
    print(describe_workload(workload))
    warn_of_findings(workload)
    with Heartbeat(f"loading {request.model or request.target}"):
        model = here.load(request, fasta)
    print(describe_model(model.description))
    if model.forecast is not None:
        print(f"Memory: {model.forecast}")
    if (notice := quota_notice()) is not None:
        print(notice)
    print(safe(f"Configuration: {configuration}"))
    print(f"Time: {estimate(request, workload, [workload.tokens])}\n", flush=True)
    predicted = model.predicted_failure(workload, configuration)
    if predicted is not None:
        raise UsageError(f"{configuration} is {predicted.message}")
    with Heartbeat("warming up the model"):
        model.warm_up(workload, num_workers=min(1, workers))
    run_id = configuration.run_id + ("" if workload.part is None else workload.part.suffix)
    keep_earlier(trial_paths(request.output_dir, run_id))
    with show_run(workload, configuration, model.live_figures, alone=request.part is None) as progress:
        result = model.run_trial(
            workload, configuration, request.output_dir, progress.count_sequences, progress.count_tokens
        )
    if result.succeeded and kernel_batches and result.run_path is not None:
        _add_kernels(model, workload, configuration, Path(result.run_path), kernel_batches)
    if not result.succeeded:
        say(f"virnuc-profiler: error: {configuration} failed, {result.message}")
    return result


def _add_kernels(
    model: MeasuredModel | MeasuredTarget,
    workload: Workload,
    configuration: Configuration,
    run_path: Path,
    num_batches: int,
) -> None:
    """Capture kernels beside a finished run. A failure is printed, because the run itself is complete without them."""
    try:
        with Heartbeat(f"running {num_batches} batches again under CUPTI"):
            model.add_kernels(workload, configuration, run_path, num_batches)
    except (LibraryUnavailable, ValueError) as error:
        say(f"virnuc-profiler: no kernels were captured: {error}")
    except Exception as error:  # of the program that is run again, such as a lack of device memory
        reason = f"{type(error).__name__}: {first_line(error)}"
        say(f"virnuc-profiler: no kernels were captured, because the batches failed, {reason}")
