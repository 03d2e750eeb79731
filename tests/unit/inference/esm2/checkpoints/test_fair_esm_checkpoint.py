# SPDX-License-Identifier: MIT
"""Checkpoints in fair-esm's own format: read without running code, and refused with a reason."""

import argparse
import os
import pickle

import pytest
import torch
from esm.model.esm2 import ESM2
from esm.pretrained import load_model_and_alphabet_core

from tests.support.packed import TINY, fair_esm_model, padded_oracle, proteins, run_packed, save_checkpoint
from virnuc_profiler import load_esm2_model
from virnuc_profiler.errors import ModelError
from virnuc_profiler.inference.esm2.checkpoints.fair_esm_checkpoint import stored_in_fair_esm
from virnuc_profiler.inference.esm2.checkpoints.open_weights import fill_from_file
from virnuc_profiler.inference.esm2.checkpoints.weight_names import fair_esm_sources, surplus_names
from virnuc_profiler.inference.esm2.config import ARCHITECTURES, MODEL_NAMES, model_name_of
from virnuc_profiler.inference.esm2.load import from_fair_esm
from virnuc_profiler.inference.esm2.model import PackedESM2

NAME = "esm2_t6_8M_UR50D"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(fair_esm_model(ARCHITECTURES[NAME]), tmp_path_factory.mktemp("weights") / "mine.pt")


def load(**options):
    return load_esm2_model("8M", "cpu", **options)[0]


def load_tiny(path):
    model = PackedESM2(TINY)
    fill_from_file(model, path)
    return model


def content_of(path):
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, weights_only=True)


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_fair_esm_reads_the_test_checkpoint(checkpoint):
    data = content_of(checkpoint)
    with pytest.warns(UserWarning, match="Regression weights not found"):
        oracle, _ = load_model_and_alphabet_core(NAME, data, None)
    sequences = proteins([9, 70])
    for ours, theirs in zip(
        run_packed(load(weights=checkpoint), sequences), padded_oracle(oracle.eval(), sequences), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_both_file_formats_of_pytorch_are_read(tmp_path, zipped):
    oracle = fair_esm_model(TINY)
    content = content_of(save_checkpoint(oracle, tmp_path / "tiny.pt"))
    torch.save(content, tmp_path / "again.pt", _use_new_zipfile_serialization=zipped)
    assert equal(load_tiny(tmp_path / "again.pt"), from_fair_esm(oracle))


def test_settings_of_a_training_run_are_read(tmp_path):
    content = content_of(save_checkpoint(fair_esm_model(TINY), tmp_path / "tiny.pt"))
    settings = vars(content["cfg"]["model"])
    settings.update(arch="roberta_large", lr=[4e-4], dropout=0.0, nested=argparse.Namespace(tpu=False), unset=None)
    content["cfg"].update(task=argparse.Namespace(mask_prob=0.15, sizes={"a": (1, 2)}), criterion="masked_lm")
    torch.save(content, tmp_path / "trained.pt")
    load_tiny(tmp_path / "trained.pt")


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_all_six_models_have_the_tensors_that_are_read(name, tmp_path):
    architecture = ARCHITECTURES[name]
    with torch.device("meta"):
        oracle = ESM2(architecture.num_layers, architecture.hidden_size, architecture.attention_heads)
    state = oracle.state_dict()
    assert surplus_names(state, architecture.num_layers) == []
    model = PackedESM2(architecture, device="meta")
    for parameter, sources in fair_esm_sources(architecture.num_layers):
        shapes = [state[source].shape for source in sources]
        assert model.get_parameter(parameter).shape == (sum(shape[0] for shape in shapes), *shapes[0][1:])
    stored = stored_in_fair_esm(oracle)
    assert model_name_of(stored.architecture) == name


def test_a_checkpoint_of_another_model_is_refused(tmp_path, checkpoint):
    path = save_checkpoint(fair_esm_model(TINY), tmp_path / "tiny.pt")
    with pytest.raises(ModelError, match=f"holds {TINY}, but {NAME} has 6 layers of hidden size 320 with 20 heads"):
        load(weights=path)
    with pytest.raises(ModelError, match=rf"holds {NAME}, 6 layers .* but esm2_t12_35M_UR50D has 12 .*--model {NAME}"):
        load_esm2_model("35M", "cpu", weights=checkpoint)


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"PK\x03\x04 broken", pickle.dumps({"model": 1}, protocol=2), b"\x80\x02."]
)
def test_files_that_are_not_checkpoints_are_refused(tmp_path, content):
    path = tmp_path / "odd.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=str(path)):
        load(weights=path)


def test_only_cached_files_come_with_the_advice_to_delete_them(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    for path, advice in ((tmp_path / "own.pt", ""), (tmp_path / "hub" / "odd.pt", ": delete it and download it again")):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"not a checkpoint")
        with pytest.raises(ModelError) as caught:
            load(weights=path)
        assert str(caught.value) == f"{path} is not a checkpoint of fair-esm, or is broken{advice}"


def test_a_truncated_checkpoint_is_refused(tmp_path, checkpoint):
    path = tmp_path / "short.pt"
    path.write_bytes(checkpoint.read_bytes()[:100_000])
    with pytest.raises(ModelError, match=r"short\.pt is not a checkpoint of fair-esm, or is broken"):
        load(weights=path)


def test_other_files_saved_by_pytorch_are_refused(tmp_path):
    for content in ([1, 2], {"weights": 1}, {"model": {}}, {"model": {}, "cfg": {"model": {"encoder_layers": 6}}}):
        torch.save(content, tmp_path / "other.pt")
        with pytest.raises(ModelError, match=r"other\.pt"):
            load(weights=tmp_path / "other.pt")


def test_a_model_without_token_dropout_is_refused(tmp_path):
    content = content_of(save_checkpoint(fair_esm_model(TINY), tmp_path / "tiny.pt"))
    content["cfg"]["model"].token_dropout = False
    torch.save(content, tmp_path / "tiny.pt")
    with pytest.raises(ModelError, match="holds no ESM-2 model: its entry 'cfg' does not describe one"):
        load_tiny(tmp_path / "tiny.pt")


def saved_without(path, checkpoint, name, value=None):
    """Save a checkpoint without a tensor, or with another one."""
    content = content_of(checkpoint)
    del content["model"][name]
    if value is not None:
        content["model"][name] = value
    torch.save(content, path)
    return path


def test_a_missing_tensor_is_reported(tmp_path, checkpoint):
    path = saved_without(tmp_path / "holed.pt", checkpoint, "encoder.sentence_encoder.layers.5.fc2.bias")
    with pytest.raises(ModelError, match=r"holed\.pt has no tensor layers\.5\.fc2\.bias"):
        load(weights=path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(321), r"layers\.5\.fc2\.bias of shape \(321,\) instead of \(320,\)"),
        (torch.zeros(320, dtype=torch.int8), r"layers\.5\.fc2\.bias in int8: quantized weights are not supported"),
        (3.0, "is no tensor"),
    ],
    ids=["shape", "type", "number"],
)
def test_a_tensor_that_does_not_fit_is_reported(tmp_path, checkpoint, value, message):
    path = saved_without(tmp_path / "odd.pt", checkpoint, "encoder.sentence_encoder.layers.5.fc2.bias", value)
    with pytest.raises(ModelError, match=message):
        load(weights=path)


def test_a_tensor_that_esm2_does_not_have_is_reported(tmp_path, checkpoint):
    content = content_of(checkpoint)
    content["model"]["encoder.sentence_encoder.layers.5.adapter.weight"] = torch.zeros(2)
    content["model"]["encoder.sentence_encoder.layers.6.fc1.bias"] = torch.zeros(2)
    torch.save(content, tmp_path / "adapted.pt")
    with pytest.raises(ModelError, match=r"adapted\.pt holds layers\.5\.adapter\.weight and 1 other tensor, which"):
        load(weights=tmp_path / "adapted.pt")


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("place", ["model", "cfg", "other"])
@pytest.mark.parametrize("call", [exec, os.system], ids=["exec", "system"])
def test_a_checkpoint_never_runs_code(tmp_path, zipped, place, call):
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w')" if call is exec else f"touch {ran}"
    content = content_of(save_checkpoint(fair_esm_model(TINY), tmp_path / "tiny.pt"))
    places = {"model": content["model"], "cfg": vars(content["cfg"]["model"]), "other": content}
    places[place]["x"] = Harmful(call, code)
    torch.save(content, tmp_path / "harmful.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=r"harmful\.pt holds the Python object \w+\.?\w+, .*not loaded"):
        load_tiny(tmp_path / "harmful.pt")
    assert not ran.exists()


def test_a_git_lfs_pointer_is_recognized(tmp_path):
    path = tmp_path / "esm2.pt"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 30000000\n")
    with pytest.raises(ModelError, match="only a pointer to the real file, which 'git lfs pull' fetches"):
        load(weights=path)


def test_parameter_names_match_fair_esm():
    from esm import pretrained

    assert all(hasattr(pretrained, name) for name in MODEL_NAMES)
    assert len(MODEL_NAMES) == 6
