# SPDX-License-Identifier: MIT
"""The identity of a job: everything that determines its vectors, as the file ``job.json`` in its folder records it."""

from __future__ import annotations

import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from virnuc_profiler.analysis.model_cost import ModelShape
from virnuc_profiler.errors import TelemetryFormatError, UsageError
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.files import read_json, write_json_atomically
from virnuc_profiler.telemetry.typed_records import read_record
from virnuc_profiler.telemetry.values import shown

JOB_FILE: Final = "job.json"
JOB_KIND: Final = "embed_job"
JOB_VERSION: Final = "1.0"
FORMATS: Final = ("parquet", "safetensors")
DTYPES: Final = {"fp32": 4, "fp16": 2}
"""Names of the types of a vector's numbers on disk, with their size in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedJob:
    """What a job computes, and how it is divided and stored.

    Attributes:
        fasta: Path of the file of sequences as it was named when the job began.
        fingerprint: Fingerprint of that file's bytes.
        num_sequences: Number of its sequences.
        skip_invalid: Whether records that are not valid were left out.
        max_residues: Residues to which longer sequences are cut.
        model: Full name of the model.
        num_layers: Number of the model's layers.
        hidden_size: Length of a vector.
        weights: What identifies the weights, such as the fingerprint of their file, or ``random seed 0``.
        precision: Precision that the model computes in.
        format: ``parquet`` or ``safetensors``.
        dtype: Type of the vectors' numbers on disk, ``fp32`` or ``fp16``.
        per_residue: Whether the vectors of all residues are written too.
        num_shards: Number of shards that the sequences are divided into.
        weights_option: Where the weights were taken from: ``auto``, ``pretrained``, ``random`` or a path.
        num_workers: DataLoader processes when the job began.
        prefetch_factor: Chunks that each of them keeps ready.
        token_budget: Tokens of a full pack.
        buffer_size: Sequences that are packed together.
    """

    fasta: str
    fingerprint: str
    num_sequences: int
    skip_invalid: bool
    max_residues: int
    model: str
    num_layers: int
    hidden_size: int
    weights: str
    precision: str
    format: str
    dtype: str
    per_residue: bool
    num_shards: int
    weights_option: str
    num_workers: int
    prefetch_factor: int
    token_budget: int
    buffer_size: int

    @property
    def shape(self) -> ModelShape:
        """Shape of the model."""
        return ModelShape(self.num_layers, self.hidden_size)

    @property
    def configuration(self) -> Configuration:
        """Values of the knobs when the job began."""
        return Configuration(self.num_workers, self.prefetch_factor, self.token_budget, self.buffer_size)

    def to_json(self) -> dict[str, Any]:
        """Return the job as its file holds it."""
        return {"kind": JOB_KIND, "schema_version": JOB_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, document: Any) -> EmbedJob:
        """Read a job.

        Raises:
            TelemetryFormatError: It is something else, of another major version, or not whole.
        """
        if not isinstance(document, dict) or document.get("kind") != JOB_KIND:
            raise TelemetryFormatError("it is not the file of an embed job")
        version = document.get("schema_version")
        if not isinstance(version, str) or version.split(".")[0] != JOB_VERSION.split(".")[0]:
            raise TelemetryFormatError(f"it has version {shown(version)}; this version reads {JOB_VERSION[0]}.x")
        return read_record(cls, document, "the job")

    def differences(self, other: EmbedJob) -> list[str]:
        """Return in words how another job differs from this one; empty if it continues this one.

        The path of the file may differ if its content does not, and so may the knobs: a job that ran out of memory is
        continued with a smaller token budget.

        Args:
            other: The job that was asked for.
        """
        pairs = ((name, getattr(self, field), getattr(other, field)) for field, name in _IDENTITY.items())
        return [
            f"{name} was {shown(then)} and is now {shown(now)}" if name != _CONTENT else f"{name} is another one"
            for name, then, now in pairs
            if then != now
        ]


_CONTENT: Final = "the content of the FASTA file"
_IDENTITY: Final = {
    "fingerprint": _CONTENT,
    "num_sequences": "the number of sequences",
    "skip_invalid": "skip_invalid",
    "max_residues": "the length limit",
    "model": "the model",
    "weights": "the weights",
    "precision": "the precision",
    "format": "the format",
    "dtype": "the type of the vectors",
    "per_residue": "per_residue",
    "num_shards": "the number of shards",
}
"""What must be the same when a job is continued, with the words for it."""


def read_job(folder: Path) -> EmbedJob | None:
    """Return the job of a folder; None if it has none.

    Args:
        folder: The folder.

    Raises:
        TelemetryFormatError: The file of the job cannot be read.
    """
    path = folder / JOB_FILE
    if not path.exists():
        return None
    try:
        return EmbedJob.from_json(read_json(path))
    except TelemetryFormatError as error:
        raise TelemetryFormatError(f"{path}: {error}") from None


def begin_or_continue(folder: Path, job: EmbedJob) -> bool:
    """Write a job's file, or check that the folder holds the same job.

    Args:
        folder: Folder of the job.
        job: The job that was asked for.

    Returns:
        Whether the job is continued.

    Raises:
        UsageError: The folder holds another job; the message names each difference and the way out.
        OutputError: The file cannot be written.
    """
    earlier = read_job(folder)
    if earlier is None:
        if _written_first(folder / JOB_FILE, job):
            return False
        earlier = read_job(folder)
    if earlier is not None:
        require_same(folder, earlier, job)
    return True


def _written_first(path: Path, job: EmbedJob) -> bool:
    """Write a job's file unless another rank has written one meanwhile, and return whether this process wrote it."""
    own = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    write_json_atomically(own, job.to_json())
    try:
        os.link(own, path)
    except FileExistsError:
        return False
    except OSError:  # the file system has no links; ranks of one command write the same
        own.replace(path)
    finally:
        own.unlink(missing_ok=True)
    return True


def require_same(folder: Path, earlier: EmbedJob, job: EmbedJob) -> None:
    """Check that a job continues an earlier one.

    Args:
        folder: Folder of the job.
        earlier: The job of the folder.
        job: The job that was asked for.

    Raises:
        UsageError: It is another job; the message names each difference and the way out.
    """
    if found := earlier.differences(job):
        raise UsageError(
            f"{folder} holds another job: {'; '.join(found)}; embed --resume {folder} continues it as it was begun, "
            "and another --output-dir begins a new one"
        )
