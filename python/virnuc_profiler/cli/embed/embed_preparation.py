# SPDX-License-Identifier: MIT
"""What is known of a job before it runs: what is left of it, what is damaged, and what it needs of the disk."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from virnuc_profiler.cli.embed.embed_report import projected_text
from virnuc_profiler.cli.heartbeat import Heartbeat
from virnuc_profiler.cli.options.measurement_request import shown_path
from virnuc_profiler.errors import UsageError
from virnuc_profiler.telemetry.number_text import counted

if TYPE_CHECKING:
    from virnuc_profiler.cli.options.embed_options import EmbedRequest
    from virnuc_profiler.embed.disk_space import DiskNeed
    from virnuc_profiler.embed.prepared_job import PreparedJob
    from virnuc_profiler.ranks.rank import Rank
    from virnuc_profiler.reports.projection_text import Projected

_log = logging.getLogger(__name__)


def prepare(
    request: EmbedRequest, device_type: str, num_shards: int | None, rank: Rank, *, checksums: bool
) -> PreparedJob:
    """Read the sequences and the folder, and find out what is left to do. Writes nothing.

    Args:
        request: What was asked for.
        device_type: ``cuda`` or ``cpu``, which the usual precision follows from.
        num_shards: Number of shards that was asked for; None for one that suits the file.
        rank: Which rank this process is, which decides whose checksums it compares.
        checksums: Whether files of finished shards are compared with their checksums, instead of only their sizes.

    Raises:
        UsageError: The file holds no sequences, or the folder another job.
        WorkloadError: The file cannot be read.
    """
    from virnuc_profiler.embed.formats.select_format import make_format
    from virnuc_profiler.embed.job import EmbedJob
    from virnuc_profiler.embed.prepared_job import prepare_job
    from virnuc_profiler.inference.esm2.config import ARCHITECTURES
    from virnuc_profiler.inference.sequences.dataset import open_fasta
    from virnuc_profiler.sweep.plan.request import recorded
    from virnuc_profiler.sweep.plan.workload import MAX_SEQUENCE_LENGTH

    make_format(request.format)  # a missing package is said before the sequences are read
    with Heartbeat("reading the sequences"):
        fasta = open_fasta(request.fasta, skip_invalid=request.skip_invalid)
        if not len(fasta):
            raise UsageError(f"{request.fasta} holds no sequences")
        fingerprint = fasta.fingerprint
    shape = ARCHITECTURES[request.model]
    job = EmbedJob(
        fasta=str(request.fasta.absolute()),
        fingerprint=fingerprint,
        num_sequences=len(fasta),
        skip_invalid=request.skip_invalid,
        max_residues=MAX_SEQUENCE_LENGTH,
        model=request.model,
        num_layers=shape.num_layers,
        hidden_size=shape.hidden_size,
        weights="",
        precision=request.precision or ("fp16" if device_type == "cuda" else "fp32"),
        format=request.format,
        dtype=request.dtype,
        per_residue=request.per_residue,
        num_shards=0,
        weights_option=recorded("weights", request.weights),
        **{name: getattr(request.configuration, name) for name in _KNOBS},
    )
    with Heartbeat("checking the finished shards"):
        part = (rank.index, rank.count)
        return prepare_job(request.folder, job, fasta, num_shards=num_shards, checksums=checksums, part=part)


_KNOBS = ("num_workers", "prefetch_factor", "token_budget", "buffer_size")


def describe(
    request: EmbedRequest, prepared: PreparedJob, projected: Projected | None, rank: Rank, *, speaks: bool
) -> DiskNeed:
    """Say what the job is, how much of it is left, and what is damaged, and return what it needs of the disk.

    Args:
        request: What was asked for.
        prepared: The job.
        projected: Time that was predicted; None if none was.
        rank: Which rank this process is.
        speaks: Whether this process says what all ranks would say.
    """
    from virnuc_profiler.embed.disk_space import disk_need

    job = prepared.job
    folder = next(path for path in (prepared.folder, *prepared.folder.absolute().parents) if path.is_dir())
    need = disk_need(job, folder, prepared.left)
    lines = [f"Job: {counted(job.num_sequences, 'sequence')} of {shown_path(request.fasta)} in {_shards(prepared)}"]
    if prepared.continued:
        unless = "" if rank.is_single else ", unless another rank finds files damaged"
        lines.append(f"Finished: {prepared.finished_sequences:,} of {counted(job.num_sequences, 'sequence')}{unless}")
    lines += [f"Disk: {need.text}", f"Configuration: {request.configuration}"]
    if projected is not None:
        ranks = "" if rank.is_single else f" if all {rank.count} ranks run at once"
        source = shown_path(projected.source.path)
        lines.append(f"Time: {projected_text(projected)}{ranks}, predicted from {source}")
    for retraction in prepared.damaged:
        if retraction.key.shard % rank.count == rank.index % rank.count:  # ranks may know of the same one
            print(f"Shard {retraction.key.shard} is done again: {shown_path(retraction.why)}")
    if speaks:
        print("\n".join(lines), flush=True)
    return need


def _shards(prepared: PreparedJob) -> str:
    text = counted(len(prepared.shards), "shard")
    return text if len(prepared.left) == len(prepared.shards) else f"{text}, {len(prepared.left):,} of them left"


def warn_of_other_weights(prepared: PreparedJob) -> None:
    """Say that weights of another name were not compared with those of a complete job, since none are loaded.

    Args:
        prepared: The job.
    """
    from virnuc_profiler.embed.job import read_job

    earlier, asked = read_job(prepared.folder), prepared.job.weights_option
    if earlier is not None and earlier.weights_option != asked:
        _log.warning(
            "nothing is left to do, so --weights %s was not compared with those of the job: %s (%s)",
            asked,
            earlier.weights_option,
            earlier.weights,
        )
