# SPDX-License-Identifier: MIT
"""``virnuc-profiler embed``: a vector for every sequence of a file, on disk, exactly once."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from virnuc_profiler.cli.embed.embed_prediction import print_forecast, projected_time, read_pace
from virnuc_profiler.cli.embed.embed_preparation import describe, prepare, warn_of_other_weights
from virnuc_profiler.cli.embed.embed_report import check_job, print_outcome, projected_seconds
from virnuc_profiler.cli.heartbeat import Heartbeat
from virnuc_profiler.cli.options.embed_options import EmbedRequest, add_embed_options, embed_request
from virnuc_profiler.cli.options.local_ranks import (
    add_rank_options,
    end_with_launcher,
    predicted_counts,
    run_on_this_host,
    starts_ranks,
)
from virnuc_profiler.cli.options.measurement_request import require_writable
from virnuc_profiler.cli.options.rank_options import describe_rank, share_cores, share_device, warn_of_unstarted_tasks
from virnuc_profiler.cli.options.ray_options import add_ray_options, runs_on_ray
from virnuc_profiler.errors import EnvironmentFailure, ModelError, UsageError
from virnuc_profiler.ranks.rank_variables import OWN_LAUNCHERS, RAY, current_rank

if TYPE_CHECKING:
    import torch

    from virnuc_profiler.embed.prepared_job import PreparedJob
    from virnuc_profiler.embed.rank_job import JobRank
    from virnuc_profiler.embed.rank_worker import RankOutcome
    from virnuc_profiler.reports.projection_text import Projected

_log = logging.getLogger(__name__)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "embed",
        help="write a vector for every sequence of a file",
        description="Write a vector for every sequence of a file: streaming, resumable, and every sequence exactly "
        "once. The same command again, or --resume DIR, continues a job that was stopped.",
    )
    add_embed_options(parser)
    add_rank_options(parser)
    add_ray_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run a job to its end; return 1 if a sequence is missing or not right."""
    from virnuc_profiler.embed.disk_space import require_space
    from virnuc_profiler.embed.prepared_job import take_back_damaged
    from virnuc_profiler.embed.rank_job import JobRank
    from virnuc_profiler.sweep.plan.workload import write_skipped

    request = embed_request(arguments)
    counts = predicted_counts(arguments)
    if len(counts) > 1 and request.measured is None:
        raise UsageError(
            f"--gpus {arguments.gpus} with --dry-run predicts the time from a measured pace: give --config SWEEP or "
            "--run PATH"
        )
    if runs_on_ray(arguments):
        from virnuc_profiler.cli.embed.embed_on_ray import run_on_ray

        return run_on_ray(arguments, request)
    if starts_ranks(arguments) and not arguments.dry_run:
        require_writable(request.folder)
        with JobRank(request.folder, current_rank()) as member:
            return check_job(member) if run_on_this_host(arguments) else 1
    end_with_launcher()
    rank = current_rank()
    warn_of_unstarted_tasks()
    share_device(arguments, rank)
    workers = share_cores(rank, request.configuration.num_workers, given=arguments.num_workers is not None)
    request = replace(request, configuration=request.configuration.replace(num_workers=workers))
    speaks = rank.local_index == 0 and rank.launcher != RAY  # the other ranks, or the launcher, say the same
    for notice in request.notices if speaks else ():
        print(notice)
    device = _device(arguments.device, request.precision)
    if not rank.is_single or rank.launcher == RAY:
        print(describe_rank(rank, str(device)), flush=True)
    prepared = prepare(request, device.type, arguments.shards, rank, checksums=not arguments.trust_sizes)
    if not arguments.dry_run:
        require_writable(prepared.folder)
        if rank.index == 0:
            write_skipped(prepared.fasta, prepared.folder)
    measured = read_pace(request, prepared.job) if prepared.left else None
    projected = None if measured is None or counts else projected_time(request, prepared, measured, rank)
    need = describe(request, prepared, projected, rank, speaks=speaks)
    if counts and measured is not None:
        print_forecast(request, prepared, measured, counts, "rank" if arguments.ranks else "GPU")
    elif counts and not prepared.left:
        print("Time: none, since nothing is left to do; another --output-dir predicts the whole job again")
    elif counts and request.measured is None:
        print("Time: not predicted, since neither --config SWEEP nor --run PATH tells a pace")
    require_space(need, prepared.job, prepared.folder)
    if arguments.dry_run:
        return 0
    with JobRank(prepared.folder, rank) as member:
        take_back_damaged(prepared, member.name)
        if not prepared.left and speaks:
            warn_of_other_weights(prepared)
        while True:
            if not member.is_finished(prepared.shards):
                outcome = _run_shards(
                    request, prepared, device, projected, arguments.min_cosine, member, arguments.metrics
                )
                print_outcome(outcome, projected, whole=speaks)
            if rank.launcher in OWN_LAUNCHERS:  # the launcher checks when all ranks have ended
                return 0
            code = check_job(member)
            if not code or member.is_finished(prepared.shards):  # else another rank has just found a damaged shard
                return code


def _device(name: str, precision: str | None) -> torch.device:
    from virnuc_profiler.cli.options.measurement_request import resolve_device_here

    return resolve_device_here(name, {} if precision is None else {"precision": (precision,)})


def _run_shards(
    request: EmbedRequest,
    prepared: PreparedJob,
    device: torch.device,
    projected: Projected | None,
    min_cosine: float | None,
    member: JobRank,
    metrics: Path | None,
) -> RankOutcome:
    from virnuc_profiler.capture.target import resolve_target
    from virnuc_profiler.cli.embed.embed_progress import show_job
    from virnuc_profiler.cli.sweep import describe_model
    from virnuc_profiler.embed.prepared_job import begin_job
    from virnuc_profiler.embed.rank_worker import run_rank
    from virnuc_profiler.inference.esm2.hub_cache import cached_checkpoint
    from virnuc_profiler.inference.esm2.load import load_esm2_model
    from virnuc_profiler.inference.esm2.precision_check import MIN_COSINE
    from virnuc_profiler.inference.loading.environment import require_environment
    from virnuc_profiler.sweep.trial.provenance import model_description

    require_environment(request.configuration.num_workers)
    if request.weights == "auto" and not cached_checkpoint(request.model).is_file():
        raise _no_weights(request.model)
    with Heartbeat(f"loading {request.model}"):
        model, _ = load_esm2_model(request.model, device, precision=prepared.job.precision, weights=request.weights)
    description = model_description(model)
    if description["weights_source"] == "random" and request.weights != "random":
        raise _no_weights(request.model)
    if member.rank.local_index == 0:
        print(describe_model(description), end="\n\n", flush=True)
    weights = description.get("weights_fingerprint") or description["weights"]
    uuid = resolve_target(str(device)).uuid
    if uuid is not None and not member.has_device(uuid):
        _log.warning("another process of this job computes on %s (%s) too, so both are slower", device, uuid)
    prepared = begin_job(prepared, weights)
    queue = member.queue(prepared.shards)
    showing = show_job(
        prepared.left,
        queue,
        member.rank,
        budget=request.configuration.token_budget,
        folder=prepared.folder,
        name=member.name,
        metrics=metrics,
    )
    with showing as meter, _memory_errors_explained():
        return run_rank(
            prepared.job,
            prepared.folder,
            queue,
            prepared.fasta,
            model,
            device,
            configuration=request.configuration,
            rank=member.name,
            listener=meter,
            min_cosine=MIN_COSINE if min_cosine is None else min_cosine,
            predicted_s=None if projected is None else projected_seconds(projected),
        )


@contextmanager
def _memory_errors_explained() -> Iterator[None]:
    """Say what to do when memory runs out; PyTorch's own errors would be internal ones.

    Raises:
        EnvironmentFailure: Memory ran out.
    """
    from virnuc_profiler.sweep.results.result import OOM
    from virnuc_profiler.sweep.trial.failure import DEVICE, SHARED, describe_failure

    try:
        yield
    except Exception as error:
        failure = describe_failure(error)
        if failure.reason != OOM:
            raise
        smaller = "a smaller --token-budget" if failure.memory == DEVICE else "fewer --num-workers"
        memory = "" if failure.memory == SHARED else " memory"  # its name says that it is memory
        raise EnvironmentFailure(
            f"{failure.memory}{memory} ran out ({failure.message}); the same command with {smaller} continues, and "
            "finished shards stay"
        ) from error


def _no_weights(model: str) -> ModelError:
    return ModelError(
        f"there are no weights of {model} in PyTorch's hub cache, and vectors of random weights mean nothing: give "
        "--weights pretrained to download them, or --weights PATH (--weights random is for tests)"
    )
