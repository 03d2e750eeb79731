# SPDX-License-Identifier: MIT
"""The built-in pipeline as a source of batches: dataset, loader, packing, and the runner."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.inference.loading.loader import create_async_dataloader
from virnuc_profiler.inference.packing.collator import VarlenCollator
from virnuc_profiler.inference.runner import AsyncInferenceRunner
from virnuc_profiler.inference.sequences.dataset import IndexBasedDataset, SequenceDataset
from virnuc_profiler.inference.sequences.fair_esm import import_fair_esm
from virnuc_profiler.targets.batch_source import DoneBatch
from virnuc_profiler.targets.repetition import Repetition
from virnuc_profiler.telemetry.records import STAGES

if TYPE_CHECKING:
    import torch

    from virnuc_profiler.capture.profiler import BatchProfiler
    from virnuc_profiler.inference.batches import PackedBatch
    from virnuc_profiler.inference.sequences.fasta import FastaFile
    from virnuc_profiler.targets.knobs.configuration import Configuration


class BuiltinSource:
    """A run of the built-in pipeline.

    Args:
        fasta: Open file of the sequences.
        positions: (n,) positions of the sequences to run; None for the whole file in its order.
        model: A model as :func:`load_esm2_model` returns it.
        device: Device that the model is on.
        configuration: Values of all knobs.
        max_residues: Residues to which longer sequences are cut.
        batch_converter: A batch converter of fair-esm; None for that of ESM-2.
        min_cosine: Lowest cosine similarity that a model in FP8 must reach.
        timeout_s: Time limit of the loader in seconds; None for none.
        precision_target: Relative half-width of the steady rate's interval at which the sequences are run no further
            time; None to run them again for `trial_seconds`.
        trial_seconds: Seconds after start-up during which the sequences are run again and again, always to the end;
            None to run them once.
        count_tokens: Whether the tokens of each batch are counted although nothing repeats the sequences.
    """

    stages: Sequence[str] = STAGES

    def __init__(
        self,
        fasta: FastaFile,
        positions: NDArray[np.int64] | None,
        model: Any,
        device: torch.device,
        configuration: Configuration,
        *,
        max_residues: int,
        batch_converter: Any,
        min_cosine: float,
        timeout_s: float | None,
        precision_target: float | None,
        trial_seconds: float | None,
        count_tokens: bool,
    ) -> None:
        self._fasta: Any = fasta
        self._positions = positions
        self._model = model
        self._device = device
        self._configuration = configuration
        self._max_residues = max_residues
        self._batch_converter = batch_converter
        self._min_cosine = min_cosine
        self._timeout_s = timeout_s
        self._precision_target = precision_target
        self._trial_seconds = trial_seconds
        self._count_tokens = count_tokens
        self._dataset: Any = None
        self._collator: Any = None
        self._loader: Any = None
        self._runner: AsyncInferenceRunner | None = None
        self._repetition: Repetition | None = None

    @property
    def num_workers(self) -> int:
        """Number of DataLoader workers."""
        workers: int = self._configuration.num_workers
        return workers

    @property
    def passes(self) -> int:
        """Number of passes over the sequences that have begun."""
        return 1 if self._repetition is None else self._repetition.passes

    def open(self) -> None:
        """Make the dataset and the collator."""
        limit = {"max_sequence_length": self._max_residues}
        options = {**limit, **self._configuration.arguments("dataset")}
        self._dataset = (
            SequenceDataset(self._fasta, **options)
            if self._positions is None
            else IndexBasedDataset(self._fasta, self._positions, **options)
        )
        self._collator = VarlenCollator(
            self._batch_converter or import_fair_esm().data.Alphabet.from_architecture("ESM-1b").get_batch_converter(),
            **{**limit, **self._configuration.arguments("collator")},
        )

    def run(self, profiler: BatchProfiler, deadline_ns: int | None) -> Generator[DoneBatch, None, None]:
        """Start the workers and run all sequences, again and again for the seconds of a trial."""
        self._loader = create_async_dataloader(
            self._dataset,
            self._collator,
            pin_memory=self._device.type == "cuda",
            timeout_s=self._timeout_s or 0.0,
            **self._configuration.arguments("loader"),
        )
        self._runner = AsyncInferenceRunner(
            self._model, self._device, profiler=profiler, deadline_ns=deadline_ns, min_cosine=self._min_cosine
        )
        batches: Iterable[PackedBatch] = self._loader
        if self._trial_seconds is not None:
            self._repetition = Repetition(
                self._tokens(self._positions), self._trial_seconds, self._precision_target, deadline_ns
            )
            batches = self._loader.passes(self._repetition.another)
        counts_tokens = self._count_tokens or self._repetition is not None
        for result in self._runner.run(batches):
            tokens = self._tokens(result.positions) if counts_tokens else 0
            if self._repetition is not None:
                self._repetition.deliver(tokens)
            yield DoneBatch(len(result.sequence_ids), tokens)

    def counts(self) -> Mapping[str, int | None]:
        """Return the sequences that were cut and the letters that the model does not know."""
        return {
            "truncated_sequences": self._collator.truncated,
            "unknown_residues": self._collator.unknown_residues,
        }

    def findings(self) -> Mapping[str, Any]:
        """Return how far vectors in FP8 are from those in bf16 and fp32; empty for other precisions."""
        report = None if self._runner is None else self._runner.precision
        return {} if report is None else {"precision_check": dataclasses.asdict(report)}

    def worker_pids(self) -> Collection[int]:
        """Return the process ids of the loader's workers."""
        return () if self._loader is None else tuple(self._loader.worker_pids())

    def close(self) -> None:
        """End runner and workers, and release the file too, whose shared folder goes with its last owner."""
        parts = (self._loader, self._runner)
        self._loader = self._runner = self._dataset = self._fasta = self._collator = None
        with ExitStack() as stack:  # the runner first, and each even if the other fails
            for part in parts:
                if part is not None:
                    stack.callback(part.close)

    def _tokens(self, positions: NDArray[np.int64] | None) -> int:
        residues = self._fasta.residue_counts if positions is None else self._fasta.residue_counts[positions]
        return int((residues.clip(max=self._max_residues) + 2).sum())
