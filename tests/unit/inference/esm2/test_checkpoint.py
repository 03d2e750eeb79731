# SPDX-License-Identifier: MIT
"""Random weights, and checkpoints in fair-esm's own format."""

import argparse
import logging
import pickle
import urllib.error
from pathlib import Path

import pytest
import torch
from esm.pretrained import load_model_and_alphabet_core

from tests.support.packed import TINY, fair_esm_model, padded_oracle, proteins, run_packed, save_checkpoint
from virnuc_profiler import load_esm2_model
from virnuc_profiler.errors import ModelError, UsageError
from virnuc_profiler.inference.esm2.checkpoint import cached_checkpoint, fill_from_checkpoint, fill_randomly
from virnuc_profiler.inference.esm2.config import ARCHITECTURES, MODEL_NAMES
from virnuc_profiler.inference.esm2.load import from_fair_esm
from virnuc_profiler.inference.esm2.model import PackedESM2

NAME = "esm2_t6_8M_UR50D"


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """An empty hub cache for each test."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(fair_esm_model(ARCHITECTURES[NAME]), tmp_path_factory.mktemp("weights") / "mine.pt")


def random_model(seed, dtype=torch.float32):
    model = PackedESM2(TINY, dtype=dtype)
    fill_randomly(model, seed)
    return model


def load(**options):
    return load_esm2_model("8M", "cpu", **options)[0]


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_seed_determines_the_weights(dtype):
    assert equal(random_model(3, dtype), random_model(3, dtype))
    assert not equal(random_model(3, dtype), random_model(4, dtype))


def test_random_weights_do_not_change_the_global_random_state():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    random_model(0)
    assert torch.equal(torch.rand(3), expected)


def test_random_weights_give_embeddings_of_a_usual_size():
    for rows in run_packed(random_model(0), proteins([1, 50, 300])):
        assert rows.isfinite().all()
        assert 0.5 < rows.std() < 2


def test_every_weight_is_filled():
    model = PackedESM2(TINY)
    for parameter in model.parameters():
        parameter.fill_(float("nan"))
    fill_randomly(model, 0)
    assert not any(parameter.isnan().any() for parameter in model.parameters())
    assert not model.embed_tokens.weight[1].any()


def test_fair_esm_reads_the_test_checkpoint(checkpoint):
    with torch.serialization.safe_globals([argparse.Namespace]):
        data = torch.load(checkpoint, weights_only=True)
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
    data_path = save_checkpoint(oracle, tmp_path / "tiny.pt")
    with torch.serialization.safe_globals([argparse.Namespace]):
        data = torch.load(data_path, weights_only=True)
    torch.save(data, tmp_path / "again.pt", _use_new_zipfile_serialization=zipped)
    model = PackedESM2(TINY)
    fill_from_checkpoint(model, tmp_path / "again.pt")
    assert equal(model, from_fair_esm(oracle))


def test_loading_converts_to_the_requested_precision(checkpoint):
    exact, rounded = load(weights=str(checkpoint)), load(weights=checkpoint, precision="bf16")
    assert rounded.dtype == torch.bfloat16
    assert torch.equal(rounded.layers[0].qkv.weight, exact.layers[0].qkv.weight.bfloat16())
    assert exact.info.weights == str(checkpoint)
    assert exact.info.weights_source == "file"


def test_auto_uses_the_cache_or_warns_of_random_weights(hub, checkpoint, caplog):
    with caplog.at_level(logging.INFO, logger="virnuc_profiler"):
        assert load().info.weights_source == "random"
    assert "is not in the cache" in caplog.text
    assert "random seed 0" in caplog.text
    hub.mkdir(parents=True)
    (hub / f"{NAME}.pt").write_bytes(checkpoint.read_bytes())
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="virnuc_profiler"):
        model = load()
    assert model.info.weights_source == "cache"
    assert model.info.weights == str(cached_checkpoint(NAME)) == str(hub / f"{NAME}.pt")
    assert str(hub) in caplog.text


def test_pretrained_downloads_once(hub, checkpoint, monkeypatch):
    asked = []

    def download(url, path, progress):
        asked.append(url)
        Path(path).write_bytes(checkpoint.read_bytes())

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    assert load(weights="pretrained").info.weights_source == "download"
    assert load(weights="pretrained").info.weights_source == "cache"
    assert asked == [f"https://dl.fbaipublicfiles.com/fair-esm/models/{NAME}.pt"]


def test_a_failed_download_names_the_alternatives(hub, monkeypatch):
    def fail(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(ModelError, match=r"could not be downloaded.*no route to host.*weights='random'"):
        load(weights="pretrained")


def test_a_cache_that_cannot_be_written_is_reported(hub):
    hub.parent.mkdir(parents=True)
    hub.write_text("a file where the folder should be")
    with pytest.raises(ModelError, match="could not be downloaded"):
        load(weights="pretrained")


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    path = save_checkpoint(fair_esm_model(TINY), tmp_path / "tiny.pt")
    with pytest.raises(ModelError, match=f"holds {TINY}, but {NAME} has 6 layers of hidden size 320 with 20 heads"):
        load(weights=path)


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


def test_a_missing_tensor_is_reported(tmp_path, checkpoint):
    with torch.serialization.safe_globals([argparse.Namespace]):
        data = torch.load(checkpoint, weights_only=True)
    del data["model"]["encoder.sentence_encoder.layers.5.fc2.bias"]
    torch.save(data, tmp_path / "holed.pt")
    with pytest.raises(ModelError, match=r"has no tensor layers\.5\.fc2\.bias"):
        load(weights=tmp_path / "holed.pt")


def test_a_checkpoint_never_runs_code(tmp_path):
    class Harmful:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    torch.save({"model": {"x": Harmful()}}, tmp_path / "harmful.pt")
    with pytest.raises(ModelError, match=r"harmful\.pt"):
        load(weights=tmp_path / "harmful.pt")
    assert not (tmp_path / "ran").exists()


def test_weights_that_are_neither_a_keyword_nor_a_file(tmp_path):
    with pytest.raises(UsageError, match="'pretrained!' is neither a file nor one of auto, random, pretrained"):
        load(weights="pretrained!")
    with pytest.raises(UsageError, match="neither a file"):
        load(weights=tmp_path)


def test_parameter_names_match_fair_esm():
    from esm import pretrained

    assert all(hasattr(pretrained, name) for name in MODEL_NAMES)
    assert len(MODEL_NAMES) == 6
