# SPDX-License-Identifier: MIT
"""The open file and the sample of each workload, which are read and drawn once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.sweep.plan.workload import Workload, sample_of
from virnuc_profiler.telemetry.number_text import counted

if TYPE_CHECKING:
    from virnuc_profiler.inference.sequences.fasta import FastaFile
    from virnuc_profiler.sweep.plan.sample import Sample


class WorkloadFiles:
    """Opens the files of workloads, and keeps the last one open.

    Args:
        fasta: Open file of a workload; None to open it when it is needed.
    """

    def __init__(self, fasta: FastaFile | None = None) -> None:
        self._fasta = fasta
        self._samples: dict[Workload, Sample | None] = {}

    def opened(self, workload: Workload) -> FastaFile:
        """Return the file of a workload, which holds the bytes that were described.

        Raises:
            WorkloadError: The file cannot be read, or is not the one that the workload describes.
        """
        from virnuc_profiler.inference.sequences.fasta import FastaFile  # needs the compiled core; --help does not

        fasta = self._fasta
        if fasta is None or fasta.path != workload.path or fasta.fingerprint != workload.fingerprint:
            fasta = FastaFile.open(workload.path, skip_invalid=workload.skip_invalid)
        if fasta.fingerprint != workload.fingerprint:
            raise WorkloadError(
                f"{workload.path} was changed since its {counted(workload.num_sequences, 'sequence')} were read"
            )
        self._fasta = fasta
        return fasta

    def sample(self, workload: Workload) -> Sample | None:
        """Return the sample of a workload; None if it runs the first sequences of its file."""
        if workload not in self._samples:
            self._samples[workload] = sample_of(workload, self.opened(workload))
        return self._samples[workload]
