# SPDX-License-Identifier: MIT
"""Stored weights on a GPU: fair-esm's vectors, by the frequencies of the file, and the fingerprint of a CPU."""

import pytest
import torch
from torch.nn.functional import cosine_similarity

from tests.support.huggingface_files import save_hugging_face
from tests.support.packed import (
    fair_esm_model,
    mean_over_residues,
    packed_batch,
    padded_oracle,
    proteins,
    round_frequencies,
    save_checkpoint,
)
from virnuc_profiler import AsyncInferenceRunner, load_esm2_model
from virnuc_profiler.inference.esm2.config import ARCHITECTURES

pytestmark = pytest.mark.gpu

SEQUENCES = proteins([1, 30, 1022, 700, 255, 1022])


@pytest.fixture(scope="module", params=["esm2_t6_8M_UR50D", "esm2_t33_650M_UR50D"])
def stored(request, tmp_path_factory):
    """Name, files in both formats, and fair-esm's vectors in fp32, of a model with the published frequencies."""
    folder = tmp_path_factory.mktemp("weights")
    oracle = round_frequencies(fair_esm_model(ARCHITECTURES[request.param]))
    files = [save_checkpoint(oracle, folder / "mine.pt"), save_hugging_face(oracle, folder / "parts", shards=3)]
    rows = padded_oracle(oracle.cuda(), SEQUENCES, "cuda", batch_size=2)
    yield request.param, files, torch.stack([mean_over_residues(sequence).cpu() for sequence in rows])
    torch.cuda.empty_cache()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_vectors_equal_fair_esm(stored, precision):
    name, files, expected = stored
    for path in files:
        model, _ = load_esm2_model(name, "cuda:0", precision=precision, weights=path)
        (result,) = AsyncInferenceRunner(model, "cuda:0").run([packed_batch(SEQUENCES)])
        found = torch.as_tensor(result.embeddings).double()
        assert cosine_similarity(found, expected, dim=-1).min() > (0.99999 if precision == "fp32" else 0.999)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_fingerprint_is_that_of_a_cpu(stored, precision):
    name, files, _ = stored
    found = {
        load_esm2_model(name, device, precision=precision, weights=path)[0].info.weights_fingerprint
        for path in files
        for device in ("cpu", "cuda:0")
    }
    assert len(found) == 1


def test_loading_on_another_stream_gives_the_same_fingerprint(stored):
    name, files, _ = stored
    expected = load_esm2_model(name, "cuda:0", weights=files[0])[0].info.weights_fingerprint
    with torch.cuda.stream(torch.cuda.Stream()):
        assert load_esm2_model(name, "cuda:0", weights=files[1])[0].info.weights_fingerprint == expected
