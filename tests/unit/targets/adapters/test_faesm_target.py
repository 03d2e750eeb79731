# SPDX-License-Identifier: MIT
import pytest
import torch

from tests.support.adapters import (
    check_closing_early,
    check_contract,
    check_padding,
    check_probe,
    default_grid_size,
    program,
    run_adapter,
    tiny_options,
    write_workload,
)
from virnuc_profiler.inference.sequences.fair_esm import import_fair_esm
from virnuc_profiler.targets.adapters.faesm_target import FaesmTarget

faesm = program("faesm.esm", "needs FAESM and a transformers that it can import")

STAGES = ("fetch", "h2d", "forward", "pool", "d2h", "emit")


@pytest.fixture
def workload(tmp_path):
    return write_workload(tmp_path)


def test_every_sequence_is_embedded_once_and_the_padding_is_counted(workload):
    ran, target = run_adapter(FaesmTarget, workload, batch_tokens=600)
    check_contract(target, ran, workload, STAGES)
    check_padding(ran, workload)
    assert target.describe()["attention_backend"] == ("flash-attn" if faesm.flash_attn_installed else "sdpa")


def test_the_vectors_are_those_of_the_model_one_sequence_at_a_time(workload):
    ran, target = run_adapter(FaesmTarget, workload, batch_tokens=600, sort_by_length=True)
    encode = import_fair_esm().data.Alphabet.from_architecture("ESM-1b").encode
    for name, sequence in workload.records():
        tokens = torch.tensor([[0, *encode(sequence), 2]])
        with torch.no_grad():
            hidden = target.model(tokens, attention_mask=torch.ones_like(tokens).bool()).last_hidden_state
        torch.testing.assert_close(ran.vectors[name], hidden[0, 1:-1].float().mean(0), atol=1e-5, rtol=1e-4)


def test_workers_end_with_a_run_that_is_ended_early(workload):
    check_closing_early(FaesmTarget, workload, batch_tokens=600, num_workers=2)


def test_a_probe_runs_a_batch():
    check_probe(FaesmTarget)


def test_the_default_grid_is_small():
    assert default_grid_size(FaesmTarget(tiny_options())) <= 12
