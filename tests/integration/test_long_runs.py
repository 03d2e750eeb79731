# SPDX-License-Identifier: MIT
"""Many short sequences from end to end: every one exactly once, and host memory that stays flat."""

import random

import numpy as np
import psutil
import pytest
import torch

from tests.support.packed import RESIDUES, TINY, fair_esm_model
from virnuc_profiler import (
    AsyncInferenceRunner,
    BatchProfiler,
    SequenceDataset,
    VarlenCollator,
    create_async_dataloader,
    load_esm2_model,
)
from virnuc_profiler.inference.esm2.load import from_fair_esm


def short_sequences(path, count):
    """30 to 70 residues each."""
    draw = random.Random(0)
    letters = "".join(draw.choices(RESIDUES, k=1_000_000))
    with path.open("w") as file:
        for number in range(count):
            start = draw.randrange(len(letters) - 70)
            file.write(f">s{number}\n{letters[start : start + draw.randint(30, 70)]}\n")
    return path


def memory_while_running(model, device, fasta, count, token_budget):
    """Resident bytes of this process after each fifth of the run."""
    seen = np.zeros(count, dtype=np.int64)
    samples = []
    loader = create_async_dataloader(
        SequenceDataset(fasta), VarlenCollator(max_tokens_per_batch=token_budget), num_workers=2
    )
    with (
        BatchProfiler(device=device) as profiler,
        loader,
        AsyncInferenceRunner(model, device, profiler=profiler) as runner,
    ):
        for result in runner.run(loader):
            np.add.at(seen, result.positions, 1)
            assert list(result.sequence_ids) == [f"s{position}" for position in result.positions]
            while seen.sum() >= (len(samples) + 1) * count / 5:
                samples.append(psutil.Process().memory_info().rss)
    assert (seen == 1).all()
    assert profiler.result.total_sequences == count
    return samples


def assert_flat(samples):
    """Batches are recorded, in some hundred bytes each; nothing else may stay."""
    assert len(samples) == 5
    assert samples[-1] - samples[1] < 48 * 2**20, [round(sample / 2**20) for sample in samples]


@pytest.mark.slow
def test_a_tiny_model_on_the_cpu(tmp_path):
    count = 8_000
    fasta = short_sequences(tmp_path / "short.fasta", count)
    model = from_fair_esm(fair_esm_model(TINY))
    assert_flat(memory_while_running(model, "cpu", fasta, count, token_budget=8192))


@pytest.mark.slow
@pytest.mark.gpu
def test_the_smallest_model_on_a_gpu(tmp_path):
    count = 100_000
    fasta = short_sequences(tmp_path / "short.fasta", count)
    model, _ = load_esm2_model("8M", "cuda:0", precision="bf16", weights="random")
    samples = memory_while_running(model, "cuda:0", fasta, count, token_budget=16_384)
    assert_flat(samples)
    assert torch.cuda.memory_allocated() < 2**30
