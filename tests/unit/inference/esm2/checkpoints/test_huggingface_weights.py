# SPDX-License-Identifier: MIT
"""Hugging Face models in safetensors: whole and broken, in one file and in several."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.huggingface_files import hugging_face_tensors, save_hugging_face
from tests.support.packed import TINY, fair_esm_model
from virnuc_profiler.errors import LibraryUnavailable, ModelError
from virnuc_profiler.inference.esm2.checkpoints.open_weights import fill_from_file, open_weights
from virnuc_profiler.inference.esm2.config import Architecture
from virnuc_profiler.inference.esm2.load import from_fair_esm
from virnuc_profiler.inference.esm2.model import PackedESM2

QUERY = "esm.encoder.layer.2.attention.self.query.weight"
EMBEDDING = "esm.embeddings.word_embeddings.weight"


@pytest.fixture(scope="module")
def oracle():
    return fair_esm_model(TINY)


def load(path, architecture=TINY):
    model = PackedESM2(architecture)
    fill_from_file(model, path)
    return model


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def changed(oracle, folder, **tensors):
    """Write a folder in which some tensors differ; None leaves one out."""
    found = {**hugging_face_tensors(oracle), **tensors}
    return save_hugging_face(
        oracle, folder, tensors={name: value for name, value in found.items() if value is not None}
    )


def test_a_folder_is_described_by_its_path(oracle, tmp_path):
    model = load(save_hugging_face(oracle, tmp_path / "esm2"))
    assert model.info.weights == str(tmp_path / "esm2")
    assert equal(model, from_fair_esm(oracle))


def test_the_output_weights_of_the_language_model_are_the_embedding(oracle, tmp_path):
    tied = {EMBEDDING: None, "lm_head.decoder.weight": oracle.embed_tokens.weight.clone()}
    assert equal(load(changed(oracle, tmp_path, **tied)), from_fair_esm(oracle))


def test_heads_are_ignored(oracle, tmp_path):
    heads = {"classifier.dense.weight": torch.ones(2, 2), "lm_head.dense.bias": torch.full((3,), torch.nan)}
    assert equal(load(changed(oracle, tmp_path, **heads)), from_fair_esm(oracle))


def test_a_folder_of_the_cache_is_pointed_to_its_snapshot(oracle, tmp_path):
    snapshot = save_hugging_face(oracle, tmp_path / "snapshots" / "08e4846e")
    with pytest.raises(
        ModelError, match=f"{tmp_path} has neither .*: choose the folder of the weights, such as {snapshot}"
    ):
        load(tmp_path)


def test_a_missing_tensor_is_reported_by_its_name_in_the_file(oracle, tmp_path):
    with pytest.raises(ModelError, match=rf"{tmp_path} has no tensor {QUERY}: it is not a complete ESM-2 model"):
        load(changed(oracle, tmp_path, **{QUERY: None}))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(32, 31), rf"{QUERY} of shape \(32, 31\) instead of \(32, 32\)"),
        (torch.zeros(32, 32, dtype=torch.int8), rf"{QUERY} in int8: quantized weights are not supported"),
        (torch.zeros(32, 32).to(torch.float8_e4m3fn), rf"{QUERY} in float8_e4m3fn: quantized"),
    ],
    ids=["shape", "int8", "fp8"],
)
def test_a_tensor_that_does_not_fit_is_reported(oracle, tmp_path, value, message):
    with pytest.raises(ModelError, match=message):
        load(changed(oracle, tmp_path, **{QUERY: value}))


@pytest.mark.parametrize(
    "surplus",
    [
        "esm.encoder.layer.0.attention.self.query.lora_A.default.weight",
        "esm.encoder.layer.3.output.dense.weight",
        "esm.embeddings.layer_norm.weight",
    ],
)
def test_a_tensor_of_the_encoder_that_esm2_does_not_have_is_reported(oracle, tmp_path, surplus):
    with pytest.raises(ModelError, match=rf"holds {surplus}, which custom does not have: .* merged into its weights"):
        load(changed(oracle, tmp_path, **{surplus: torch.zeros(2)}))


def test_the_same_weights_twice_are_refused(oracle, tmp_path):
    twice = {QUERY.removeprefix("esm."): torch.zeros(32, 32)}
    with pytest.raises(ModelError, match=r"has the same weights twice, as .*query\.weight and as .*query\.weight"):
        load(changed(oracle, tmp_path, **twice))


def test_another_model_is_named(oracle, tmp_path):
    eight_million = Architecture(6, 320, 20)
    with pytest.raises(ModelError, match=rf"holds {TINY}, but custom has {eight_million}: choose the model"):
        load(save_hugging_face(oracle, tmp_path), eight_million)
    config = {"num_hidden_layers": 6, "hidden_size": 320, "num_attention_heads": 20, "intermediate_size": 1280}
    with pytest.raises(ModelError, match=r"holds esm2_t6_8M_UR50D, 6 layers .*\(--model esm2_t6_8M_UR50D; in Python"):
        load(save_hugging_face(oracle, tmp_path, **config))


def test_a_file_alone_tells_its_architecture(oracle, tmp_path):
    path = save_hugging_face(oracle, tmp_path) / "model.safetensors"
    (tmp_path / "config.json").unlink()
    assert open_weights(path).architecture == TINY
    with pytest.raises(ModelError, match=r"has no config\.json"):
        load(tmp_path)
    without = {name: value for name, value in load_file(path).items() if "inv_freq" not in name}
    save_file(without, path)
    with pytest.raises(ModelError, match=r"how many attention heads it has: put the model's config\.json"):
        load(path)
    save_file({"bert.weight": torch.zeros(2)}, path)
    with pytest.raises(ModelError, match="does not hold the weights of an ESM-2 model"):
        load(path)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda data: b"", r"is not a safetensors file, or is truncated \("),
        (lambda data: data[:1000], r"is not a safetensors file, or is truncated \("),
        (lambda data: data[:-1], r"is not a safetensors file, or is truncated \("),
        (lambda data: b"\xff" * 8 + data[8:], r"is not a safetensors file, or is truncated \("),
        (lambda data: b"version https://git-lfs.github.com/spec/v1\n", "which 'git lfs pull' fetches"),
    ],
    ids=["empty", "header", "cut", "length", "pointer"],
)
def test_a_broken_file_is_refused(oracle, tmp_path, broken, message):
    path = save_hugging_face(oracle, tmp_path) / "model.safetensors"
    path.write_bytes(broken(path.read_bytes()))
    with pytest.raises(ModelError, match=message):
        load(tmp_path)


def test_a_pipe_is_not_waited_for(oracle, tmp_path):
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read: it is not a file"):
        open_weights(tmp_path / "model.safetensors")


def test_a_layer_number_of_thousands_of_digits_is_no_layer(oracle, tmp_path):
    tensors = hugging_face_tensors(oracle)
    tensors[f"esm.encoder.layer.{'9' * 5000}.output.dense.weight"] = torch.ones(1)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="does not have: it is another model"):
        load(tmp_path / "model.safetensors")


def test_broken_shards_are_refused(oracle, tmp_path):
    folder = save_hugging_face(oracle, tmp_path, shards=2)
    second, index = folder / "model-00002-of-00002.safetensors", folder / "model.safetensors.index.json"
    with pytest.raises(ModelError, match=f"is one part of a model in several files: choose its folder, {folder}"):
        load(second)
    tensors = load_file(second)
    (name, *_) = tensors
    save_file({key: value for key, value in tensors.items() if key != name}, second)
    with pytest.raises(ModelError, match=rf"{second} has no tensor {name}, which {index} says"):
        load(folder)
    second.unlink()
    with pytest.raises(ModelError, match=rf"{second} cannot be read: .*[Nn]o such file"):
        load(folder)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("not json", "is not JSON"),
        ({"weight_map": {}}, "has no weight_map"),
        ({"weight_map": {QUERY: "../elsewhere.safetensors"}}, "must be a .safetensors file beside it"),
        ({"weight_map": {QUERY: "/etc/passwd"}}, "must be a .safetensors file beside it"),
        ({"weight_map": {QUERY: "pytorch_model.bin"}}, "must be a .safetensors file beside it"),
    ],
    ids=["text", "empty", "above", "absolute", "pickle"],
)
def test_an_index_names_files_beside_it(oracle, tmp_path, index, message):
    folder = save_hugging_face(oracle, tmp_path, shards=2)
    text = index if isinstance(index, str) else json.dumps(index)
    (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ModelError, match=message):
        load(folder)


def test_pickled_weights_are_not_even_read(oracle, tmp_path):
    (save_hugging_face(oracle, tmp_path) / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has neither model\.safetensors nor"):
        load(tmp_path)
    pickled = tmp_path / "pytorch_model.bin"
    ran = tmp_path / "ran"
    pickled.write_bytes(b"cos\nsystem\n(S'touch " + str(ran).encode() + b"'\ntR.")
    for path in (tmp_path, pickled):
        with pytest.raises(ModelError, match=rf"{pickled} is in pickle, .*save_pretrained.*--weights pretrained"):
            load(path)
    assert not ran.exists()


def test_without_the_package_the_message_names_it(oracle, tmp_path, monkeypatch):
    folder = save_hugging_face(oracle, tmp_path)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(
        LibraryUnavailable, match=r"needs the package safetensors .*: pip install 'virnuc_profiler\[emb"
    ):
        load(folder)


MEASURE = """
import sys
from pathlib import Path
import torch
from virnuc_profiler.inference.esm2.checkpoints.open_weights import fill_from_file
from virnuc_profiler.inference.esm2.config import Architecture
from virnuc_profiler.inference.esm2.model import PackedESM2

def anonymous_mb():
    return next(int(line.split()[1]) / 1e3 for line in open("/proc/self/status") if line.startswith("RssAnon"))

small, large = (Path(argument) for argument in sys.argv[1:])
fill_from_file(PackedESM2(Architecture(3, 32, 2)), small)  # imports everything
model = PackedESM2(Architecture(4, 1024, 16))
before = anonymous_mb()
fill_from_file(model, large)
print(anonymous_mb() - before, sum(p.numel() for p in model.parameters()) * 4 / 1e6)
"""


def test_loading_needs_no_second_copy_in_memory(oracle, tmp_path):
    """Beside the model itself, memory grows by less than a part of a layer: pages of the file are not the process's."""
    small = save_hugging_face(oracle, tmp_path / "small")
    large = save_hugging_face(fair_esm_model(Architecture(4, 1024, 16)), tmp_path / "large", shards=2)
    command = [sys.executable, "-c", MEASURE, str(small), str(large)]
    grown, model = map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert 0.9 * model < grown < 1.1 * model
