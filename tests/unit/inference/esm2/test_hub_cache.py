# SPDX-License-Identifier: MIT
"""The words for weights: auto and pretrained use fair-esm's checkpoint in the hub cache; anything else is a path."""

import logging
import urllib.error
from pathlib import Path

import pytest
import torch

from tests.support.packed import fair_esm_model, save_checkpoint
from virnuc_profiler import load_esm2_model
from virnuc_profiler.errors import ModelError, UsageError
from virnuc_profiler.inference.esm2.config import ARCHITECTURES
from virnuc_profiler.inference.esm2.hub_cache import cached_checkpoint

NAME = "esm2_t6_8M_UR50D"


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """An empty hub cache for each test."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(fair_esm_model(ARCHITECTURES[NAME]), tmp_path_factory.mktemp("weights") / "mine.pt")


def load(**options):
    return load_esm2_model("8M", "cpu", **options)[0]


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


def test_weights_that_are_neither_a_keyword_nor_a_path():
    with pytest.raises(UsageError, match="'pretrained!' is neither a file, nor a folder, nor one of auto, random"):
        load(weights="pretrained!")
    with pytest.raises(UsageError, match="'facebook/esm2_t6_8M_UR50D' is neither a file"):
        load(weights="facebook/esm2_t6_8M_UR50D")
