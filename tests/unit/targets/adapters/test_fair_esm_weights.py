# SPDX-License-Identifier: MIT
import argparse

import pytest
import torch

from tests.support.adapters import program, run_adapter, tiny_options, write_workload
from virnuc_profiler.errors import ModelError
from virnuc_profiler.targets.adapters.fair_esm_target import FairEsmTarget

program("esm", "needs pip install fair-esm")


def test_weights_are_loaded_from_a_checkpoint(tmp_path):
    workload = write_workload(tmp_path)
    ran, target = run_adapter(FairEsmTarget, workload)
    path = tmp_path / "esm2_t2_small_UR50D.pt"
    shape = argparse.Namespace(encoder_layers=2, encoder_embed_dim=32, encoder_attention_heads=2, token_dropout=True)
    state = {f"encoder.sentence_encoder.{name}": value for name, value in target.model.state_dict().items()}
    torch.save({"cfg": {"model": shape}, "model": state}, path)
    torch.save({"model": {}}, tmp_path / "esm2_t2_small_UR50D-contact-regression.pt")
    again, loaded = run_adapter(FairEsmTarget, workload, tiny_options(model="8M", weights=str(path)))
    assert loaded.describe()["weights"] == str(path)
    for name, vector in ran.vectors.items():
        assert torch.equal(again.vectors[name], vector)


def test_a_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"cannot be loaded.*--weights random"):
        FairEsmTarget(tiny_options(model="8M", weights=str(tmp_path / "missing.pt")))
