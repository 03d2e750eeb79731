# SPDX-License-Identifier: MIT
import numpy as np
import pytest
import torch

from tests.support.embed_job import job_of, write_fasta
from virnuc_profiler import (
    AsyncInferenceRunner,
    SequenceDataset,
    VarlenCollator,
    create_async_dataloader,
    load_esm2_model,
    open_embeddings,
)
from virnuc_profiler.embed.prepared_job import begin_job, prepare_job
from virnuc_profiler.embed.rank_worker import run_rank
from virnuc_profiler.embed.shard_queue import LocalQueue
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.targets.knobs.configuration import Configuration

pytestmark = pytest.mark.gpu

CONFIGURATION = Configuration(num_workers=2, token_budget=4096)


@pytest.fixture(scope="module")
def model():
    return load_esm2_model("8M", "cuda", weights="random")[0]


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    return FastaFile.open(write_fasta(tmp_path_factory.mktemp("fasta") / "a.fa", 3000, longest=400))


def run_job(model, fasta, folder, **changes):
    folder.mkdir(exist_ok=True)
    job = job_of(fasta, hidden_size=320, num_layers=6, precision="fp16", **changes)
    prepared = begin_job(prepare_job(folder, job, fasta, num_shards=15), "random")
    return run_rank(
        prepared.job, folder, LocalQueue(prepared.left), fasta, model, torch.device("cuda:0"),
        configuration=CONFIGURATION,
    )  # fmt: skip


def test_vectors_are_those_of_the_runner_and_the_same_bits_after_a_resume(tmp_path, model, fasta):
    outcome = run_job(model, fasta, tmp_path / "out", weights="random")
    assert (outcome.sequences, outcome.non_finite) == (3000, 0)
    found = open_embeddings(tmp_path / "out").to_numpy()
    loader = create_async_dataloader(
        SequenceDataset(fasta), VarlenCollator(**CONFIGURATION.arguments("collator")), num_workers=2
    )
    with loader, AsyncInferenceRunner(model, "cuda") as runner:
        expected = np.concatenate([one.embeddings.numpy() for one in runner.run(loader, in_order=True)])
    cosines = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() > 0.9999
    for number in (2, 9):
        (tmp_path / "out" / "vectors" / f"shard_{number:05d}.parquet").unlink()
    assert run_job(model, fasta, tmp_path / "out", weights="random").shards == 2
    np.testing.assert_array_equal(open_embeddings(tmp_path / "out").to_numpy(), found)


def test_vectors_of_residues_have_the_vector_as_their_mean(tmp_path, model, fasta):
    run_job(model, fasta, tmp_path / "out", weights="random", per_residue=True)
    embeddings = open_embeddings(tmp_path / "out")
    for position in (0, 1500, 2999):
        residues = embeddings.residues(position)
        assert len(residues) == fasta.residue_counts[position]
        np.testing.assert_allclose(residues.mean(0), embeddings[position], rtol=1e-3, atol=1e-3)
