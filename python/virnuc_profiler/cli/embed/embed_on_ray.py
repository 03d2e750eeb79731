# SPDX-License-Identifier: MIT
"""``embed --engine ray``: this process prepares the job, starts its ranks as actors, and checks what they write."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from virnuc_profiler.cli.embed.embed_prediction import projected_time, read_pace
from virnuc_profiler.cli.embed.embed_preparation import describe, prepare, warn_of_other_weights
from virnuc_profiler.cli.embed.embed_report import check_job, projected_seconds, projected_text
from virnuc_profiler.cli.embed.job_meter import JobMeter
from virnuc_profiler.cli.heartbeat import Heartbeat
from virnuc_profiler.cli.options.measurement_request import require_writable
from virnuc_profiler.cli.terminal import say
from virnuc_profiler.embed.disk_space import require_space
from virnuc_profiler.embed.job_folder import TELEMETRY_FOLDER
from virnuc_profiler.embed.manifest.finished_shards import FinishedShards
from virnuc_profiler.embed.on_ray.actor_pool import ActorPool, PoolPlan
from virnuc_profiler.embed.on_ray.node_check import node_probe
from virnuc_profiler.embed.on_ray.rank_actor import Line
from virnuc_profiler.embed.on_ray.ray_cluster import RayCluster, ray_cluster
from virnuc_profiler.embed.prepared_job import PreparedJob, take_back_damaged
from virnuc_profiler.embed.rank_job import JobRank
from virnuc_profiler.errors import EnvironmentFailure, OutputError, TelemetryFormatError, UsageError
from virnuc_profiler.ranks.rank import Rank
from virnuc_profiler.sweep.plan.estimate import in_words
from virnuc_profiler.sweep.plan.workload import write_skipped
from virnuc_profiler.telemetry.number_text import counted, number

if TYPE_CHECKING:
    from virnuc_profiler.cli.options.embed_options import EmbedRequest

_WINDOW_S: Final = 600.0
"""The rate is that of ten minutes, since only whole shards are counted, and one may take a minute."""

_MISUSE: Final = 2


def run_on_ray(arguments: argparse.Namespace, request: EmbedRequest) -> int:
    """Run a job on a cluster to its end; return 1 if a sequence is missing or not right.

    Args:
        arguments: The options.
        request: What was asked for.

    Raises:
        VirnucError: The cluster cannot be used, or all ranks have failed; the message is that of the first one.
    """
    request = replace(request, folder=request.folder.absolute(), fasta=request.fasta.absolute())
    for notice in request.notices:
        print(notice)
    require_writable(request.folder)
    with ray_cluster(arguments.ray_address) as cluster:
        print(f"Ray: {cluster}", flush=True)
        use_gpus = _uses_gpus(arguments.device, cluster)
        checksums = not arguments.trust_sizes
        prepared = prepare(request, "cuda" if use_gpus else "cpu", arguments.shards, Rank(), checksums=checksums)
        write_skipped(prepared.fasta, prepared.folder)
        with JobRank(request.folder, Rank()) as member:
            if prepared.left:
                _run_ranks(arguments, request, prepared, cluster, member, use_gpus=use_gpus)
            else:
                describe(request, prepared, None, Rank(), speaks=True)
                warn_of_other_weights(prepared)
            return check_job(member)


def _run_ranks(
    arguments: argparse.Namespace,
    request: EmbedRequest,
    prepared: PreparedJob,
    cluster: RayCluster,
    member: JobRank,
    *,
    use_gpus: bool,
) -> None:
    """Run the shards that are left, and print how it went."""
    with node_probe(request.folder, request.fasta) as probe:
        plan = PoolPlan(
            arguments=rank_arguments(arguments, request, prepared, "cuda" if use_gpus else "cpu"),
            probe=probe,
            max_actors=min(arguments.num_actors or len(prepared.left), len(prepared.left)),
            elastic=arguments.num_actors is None,
            use_gpus=use_gpus,
            workers=request.configuration.num_workers if arguments.num_workers is None else None,
        )
        places = plan.max_actors
        if plan.elastic:
            places = max(1, min(places, plan.places(cluster.nodes())))
        measured = read_pace(request, prepared.job)
        all_ranks = Rank(count=places)
        projected = None if measured is None else projected_time(request, prepared, measured, all_ranks)
        require_space(describe(request, prepared, projected, all_ranks, speaks=True), prepared.job, prepared.folder)
        if prepared.damaged:
            take_back_damaged(prepared, member.name)
        pool = ActorPool(cluster, plan, _show, _say)
        before = _telemetry(request.folder)
        began = time.monotonic()
        progress = _Progress(prepared, pool)
        with Heartbeat(progress.line):
            try:
                pool.run()
            except KeyboardInterrupt as stop:
                pool.stop(signal.SIGTERM if str(stop) else signal.SIGINT)
                raise
        seconds = time.monotonic() - began
    if pool.failures and not member.is_finished(prepared.shards):
        code, why = pool.failures[0]
        more = f" ({counted(len(pool.failures), 'rank')} failed)" if len(pool.failures) > 1 else ""
        raise (UsageError if code == _MISUSE else EnvironmentFailure)(f"no rank is left, since {why}{more}")
    shards, sequences, tokens = progress.done()
    rates = f"{number(sequences / seconds)} sequences/s, {number(tokens / seconds)} tokens/s"
    print(
        f"All ranks: {counted(sequences, 'vector')} in {counted(shards, 'shard')}, {in_words(seconds)}, {rates} over "
        "the whole run, start-up included"
    )
    if projected is not None:
        low, _, high = projected_seconds(projected)
        where = "inside" if low <= seconds <= high else "outside"
        print(f"Predicted: {projected_text(projected)}; it took {in_words(seconds)}, {where} the interval")
    _print_scaling([path for path, state in _telemetry(request.folder).items() if before.get(path) != state])


def rank_arguments(
    arguments: argparse.Namespace, request: EmbedRequest, prepared: PreparedJob, device: str
) -> list[str]:
    """Return the arguments of Python that make a process a rank of the job, which read no other file of this host.

    Args:
        arguments: The options.
        request: What was asked for, with absolute paths.
        prepared: The job.
        device: ``cuda`` or ``cpu``.
    """
    job, knobs = prepared.job, request.configuration
    weights = request.weights
    if weights not in ("auto", "random", "pretrained"):
        weights = str(Path(weights).absolute())
    values = {
        "--fasta": request.fasta,
        "--output-dir": request.folder,
        "--model": request.model,
        "--weights": weights,
        "--precision": job.precision,
        "--prefetch-factor": knobs.prefetch_factor,
        "--token-budget": knobs.token_budget,
        "--buffer-size": knobs.buffer_size,
        "--format": request.format,
        "--dtype": request.dtype,
        "--shards": job.num_shards,
        "--device": device,
    }
    if arguments.num_workers is not None:
        values["--num-workers"] = knobs.num_workers
    if arguments.metrics is not None:
        values["--metrics"] = arguments.metrics.absolute()
    if arguments.min_cosine is not None:
        values["--min-cosine"] = arguments.min_cosine
    flags = {
        "--skip-invalid": request.skip_invalid,
        "--per-residue": request.per_residue,
        "--trust-sizes": True,  # this process has compared the checksums
        "--quiet": arguments.quiet,
        "--debug": arguments.debug,
    }
    options = [f"{name}={value}" for name, value in values.items()]
    return ["-m", "virnuc_profiler", "embed", *options, *(name for name, given in flags.items() if given)]


class _Progress:
    """How far the job is, from the manifests of its ranks."""

    def __init__(self, prepared: PreparedJob, pool: ActorPool) -> None:
        self._left = prepared.left
        self._pool = pool
        self._finished = FinishedShards(prepared.folder)
        tokens = sum(shard.tokens for shard in prepared.left)
        self._meter = JobMeter(tokens, len(prepared.left), window_s=_WINDOW_S)

    def done(self) -> tuple[int, int, int]:
        """Return the shards, sequences and tokens that are written."""
        with suppress(OutputError):  # the ranks say what is wrong
            self._finished.refresh()
        written = [shard for shard in self._left if shard.number in self._finished]
        return len(written), sum(shard.num_sequences for shard in written), sum(shard.tokens for shard in written)

    def line(self) -> str:
        """Return a line for the log."""
        shards, sequences, tokens = self.done()
        if shards != self._meter.shards_written:
            self._meter.shards_written = shards
            self._meter.batch_done(sequences, tokens)
        return f"embedding on {counted(self._pool.running, 'actor')}: {self._meter}"


def _uses_gpus(device: str, cluster: RayCluster) -> bool:
    return device == "cuda" or (device == "auto" and any(node.gpus for node in cluster.nodes()))


def _telemetry(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return the telemetry files of a job, with what changes when one is written again."""
    paths = sorted((folder / TELEMETRY_FOLDER).glob("telemetry_embed_rank_*.json"))
    stats = {path: path.stat() for path in paths if ".earlier-" not in path.name}
    return {path: (status.st_ino, status.st_mtime_ns) for path, status in stats.items()}


def _print_scaling(paths: list[Path]) -> None:
    """Print how well the ranks worked together, from the telemetry that they have written."""
    from virnuc_profiler.reports.ranks.rank_scaling_text import scaling_lines, straggler_sentences
    from virnuc_profiler.reports.shard_files import aggregate_files

    try:
        scaling = aggregate_files(paths)[1] if len(paths) > 1 else None
    except TelemetryFormatError as error:
        _say(f"the telemetry of the ranks cannot be aggregated: {error}")
        return
    if scaling is not None:
        for label, text in scaling_lines(scaling):
            print(f"{label}: {text}")
        for sentence in straggler_sentences(scaling):
            print(f"Straggler: {sentence}")


def _show(index: int, line: Line) -> None:
    text = f"[rank {index}] {line.text}" if line.text else ""
    print(text, file=sys.stderr if line.is_error else sys.stdout, flush=True)


def _say(sentence: str) -> None:
    say(f"virnuc-profiler: {sentence}")
