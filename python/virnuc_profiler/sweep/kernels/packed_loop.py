# SPDX-License-Identifier: MIT
"""The built-in pipeline as a loop that repeats its sequences until it is closed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from virnuc_profiler.capture.profiler import BatchProfiler
from virnuc_profiler.inference.loading.loader import create_async_dataloader
from virnuc_profiler.inference.packing.collator import VarlenCollator
from virnuc_profiler.inference.runner import AsyncInferenceRunner
from virnuc_profiler.inference.sequences.dataset import IndexBasedDataset, SequenceDataset
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.sweep.plan.sample import Sample
from virnuc_profiler.sweep.plan.workload import MAX_SEQUENCE_LENGTH
from virnuc_profiler.targets.knobs.configuration import Configuration


def packed_batches(
    profiler: BatchProfiler,
    configuration: Configuration,
    fasta: FastaFile,
    sample: Sample | None,
    model: Any,
    device: torch.device,
    batch_converter: Any,
) -> Iterator[object]:
    """Run the batches that a measured run of the same arguments has, again and again.

    Args:
        profiler: Running profiler that records the batches.
        configuration: Values of all knobs.
        fasta: Open file of the sequences.
        sample: Sequences to run, and their order; None for the whole file.
        model: A model as :func:`load_esm2_model` returns it.
        device: Device that the model is on.
        batch_converter: A batch converter of fair-esm.
    """
    limit = {"max_sequence_length": MAX_SEQUENCE_LENGTH}
    options = {**limit, **configuration.arguments("dataset")}
    dataset: Any = (
        SequenceDataset(fasta, **options) if sample is None else IndexBasedDataset(fasta, sample.positions, **options)
    )
    collator = VarlenCollator(batch_converter, **{**limit, **configuration.arguments("collator")})
    loader = create_async_dataloader(
        dataset, collator, pin_memory=device.type == "cuda", **configuration.arguments("loader")
    )
    try:
        with AsyncInferenceRunner(model, device, profiler=profiler, min_cosine=None) as runner:
            yield from runner.run(loader.passes(lambda: True))
    finally:
        loader.close()
