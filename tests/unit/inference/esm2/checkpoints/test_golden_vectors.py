# SPDX-License-Identifier: MIT
"""The same model from every kind of file: its vectors are those of fair-esm and of Hugging Face's own model."""

import numpy as np
import pytest
import torch

from tests.support.huggingface_files import save_hugging_face
from tests.support.packed import (
    fair_esm_model,
    mean_over_residues,
    padded_oracle,
    proteins,
    round_frequencies,
    run_packed,
    save_checkpoint,
)
from virnuc_profiler import (
    AsyncInferenceRunner,
    SequenceDataset,
    VarlenCollator,
    create_async_dataloader,
    load_esm2_model,
)
from virnuc_profiler.inference.esm2.checkpoints.open_weights import fill_from_file
from virnuc_profiler.inference.esm2.config import ARCHITECTURES, Architecture
from virnuc_profiler.inference.esm2.model import PackedESM2

SMALL = Architecture(num_layers=3, hidden_size=64, attention_heads=4)
NAME = "esm2_t6_8M_UR50D"
SEQUENCES = [*proteins([30, 1, 2, 255, 1022, 64]), "MKT<mask>AYI<mask>KQR", "BZXUOACD"]


@pytest.fixture(scope="module")
def oracle():
    return round_frequencies(fair_esm_model(SMALL))


@pytest.fixture(scope="module")
def expected(oracle):
    return padded_oracle(oracle, SEQUENCES)


def hugging_face_class(name, oracle, folder):
    """Write the folder with the class of transformers itself."""
    transformers = pytest.importorskip("transformers")
    by_hand = save_hugging_face(oracle, folder / "by_hand")
    getattr(transformers, name).from_pretrained(by_hand).save_pretrained(folder / name)
    return folder / name


FILES = {
    "fair-esm": lambda oracle, folder: save_checkpoint(oracle, folder / "mine.pt"),
    "folder": save_hugging_face,
    "without-prefix": lambda oracle, folder: save_hugging_face(oracle, folder, prefix=""),
    "file": lambda oracle, folder: save_hugging_face(oracle, folder) / "model.safetensors",
    "shards": lambda oracle, folder: save_hugging_face(oracle, folder, shards=3),
    "index": lambda oracle, folder: save_hugging_face(oracle, folder, shards=2) / "model.safetensors.index.json",
    "EsmModel": lambda oracle, folder: hugging_face_class("EsmModel", oracle, folder),
    "EsmForMaskedLM": lambda oracle, folder: hugging_face_class("EsmForMaskedLM", oracle, folder),
}


def load(path, dtype=torch.float32):
    model = PackedESM2(SMALL, dtype=dtype)
    fill_from_file(model, path)
    return model


@pytest.mark.parametrize("write", FILES.values(), ids=FILES)
def test_every_residue_equals_fair_esm(write, oracle, expected, tmp_path):
    for ours, theirs in zip(run_packed(load(write(oracle, tmp_path)), SEQUENCES), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=5e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_files_in_half_precision_are_read_exactly(dtype, oracle, tmp_path):
    """The frequencies are those of the published models, whatever the conversion did to them."""
    rounded = fair_esm_model(SMALL)
    rounded.load_state_dict({name: value.to(dtype).float() for name, value in oracle.state_dict().items()})
    for layer in rounded.layers:
        layer.self_attn.rot_emb.inv_freq.copy_(oracle.layers[0].self_attn.rot_emb.inv_freq)
    model = load(save_hugging_face(oracle, tmp_path, dtype=dtype))
    for ours, theirs in zip(run_packed(model, SEQUENCES), padded_oracle(rounded, SEQUENCES), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=5e-5)


def test_every_residue_equals_hugging_face(oracle, tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = save_hugging_face(oracle, tmp_path)
    theirs = transformers.EsmModel.from_pretrained(folder).eval()
    tokenizer = transformers.EsmTokenizer.from_pretrained(folder)
    for sequence, ours in zip(SEQUENCES, run_packed(load(folder), SEQUENCES), strict=True):
        with torch.inference_mode():
            hidden = theirs(**tokenizer(sequence, return_tensors="pt")).last_hidden_state[0]
        torch.testing.assert_close(ours, hidden, rtol=0, atol=5e-5)


@pytest.mark.parametrize("write", [FILES["fair-esm"], FILES["shards"]], ids=["fair-esm", "shards"])
def test_the_pipeline_gives_fair_esms_mean_of_each_sequence(write, oracle, tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, NAME, SMALL)
    sequences = proteins([30, 1, 2, 255, 64, 17], seed=3)
    fasta = tmp_path / "proteins.fasta"
    fasta.write_text("".join(f">p{number}\n{sequence}\n" for number, sequence in enumerate(sequences)))
    model, batch_converter = load_esm2_model(NAME, "cpu", weights=write(oracle, tmp_path / "."))
    collator = VarlenCollator(batch_converter, max_tokens_per_batch=256, buffer_size=4)
    with create_async_dataloader(SequenceDataset(fasta), collator, num_workers=0) as loader:
        results = list(AsyncInferenceRunner(model, "cpu").run(loader, in_order=True))
    found = np.concatenate([result.embeddings for result in results])
    expected = np.stack([mean_over_residues(rows) for rows in padded_oracle(oracle, sequences)])
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-5)
