# SPDX-License-Identifier: MIT
"""A job with the configuration of a sweep, and its vectors beside those of the runner alone."""

import json

import numpy as np
import pytest

from tests.support.command import run
from tests.support.embed_job import write_fasta
from virnuc_profiler import SequenceDataset, VarlenCollator, create_async_dataloader, load_esm2_model, open_embeddings
from virnuc_profiler.inference.runner import AsyncInferenceRunner

pytestmark = pytest.mark.slow  # starts whole programs


def test_embed_with_the_configuration_of_a_sweep(tmp_path, small_sweep):
    sweep, _ = small_sweep
    best = json.loads((sweep / "best_config.json").read_text())
    fasta, folder = write_fasta(tmp_path / "a.fa", 80), tmp_path / "out"
    options = ("--fasta", fasta, "--output-dir", folder, "--config", sweep, "--weights", "random", "--device", "cpu")
    finished = run("embed", *options)
    assert finished.code == 0, finished.err
    assert f"token_budget={best['config']['token_budget']}" in finished.out
    # A run of one batch says nothing of the time; whether its sweep has such runs depends on the machine.
    assert ("Predicted: about " in finished.out) != ("no time is predicted" in finished.err)
    found = open_embeddings(folder).to_numpy()
    expected = runner_vectors(fasta)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def runner_vectors(fasta):
    """The vectors of the same model from the runner, without any part of the job."""
    model, converter = load_esm2_model("8M", "cpu", weights="random")
    loader = create_async_dataloader(SequenceDataset(fasta), VarlenCollator(converter), num_workers=0)
    with loader, AsyncInferenceRunner(model, "cpu") as runner:
        return np.concatenate([result.embeddings.numpy() for result in runner.run(loader, in_order=True)])
