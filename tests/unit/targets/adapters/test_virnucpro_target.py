# SPDX-License-Identifier: MIT
import logging

import pytest
import torch

from tests.support.adapters import (
    MAX_RESIDUES,
    Collected,
    check_closing_early,
    check_contract,
    configuration_of,
    default_grid_size,
    program,
    run_adapter,
    tiny_options,
    write_workload,
)
from virnuc_profiler.errors import UsageError
from virnuc_profiler.targets.adapters.virnucpro_target import VirnucproTarget

program("virnucpro.data", "needs a clone of virnucpro on PYTHONPATH")
async_inference = program("virnucpro.pipeline.async_inference", "needs what virnucpro needs")

STAGES = {"fetch", "h2d", "forward", "pool", "d2h", "emit"}
OPTIONS = tiny_options(precision="fp32")  # fp16 takes minutes on a CPU
KNOBS = {"token_budget": 600, "buffer_size": 15, "num_workers": 1}

pytestmark = pytest.mark.slow  # its workers are spawned, and import PyTorch


@pytest.fixture
def workload(tmp_path):
    return write_workload(tmp_path)


def test_every_sequence_is_embedded_once_and_the_packing_is_counted(workload):
    ran, target = run_adapter(VirnucproTarget, workload, OPTIONS, **KNOBS)
    check_contract(target, ran, workload, STAGES | {"collate"})


def test_batches_and_vectors_are_those_of_its_own_runner(workload, tmp_path, monkeypatch):
    from virnucpro.data import VarlenCollator, create_async_dataloader, create_sequence_index, get_worker_indices
    from virnucpro.data.sequence_dataset import IndexBasedDataset

    monkeypatch.chdir(tmp_path)  # where its runner writes a log
    ran, target = run_adapter(VirnucproTarget, workload, OPTIONS, **KNOBS)
    index = create_sequence_index([workload.path], tmp_path / "index.json")
    dataset = IndexBasedDataset(index, get_worker_indices(index, 0, 1), max_length=MAX_RESIDUES)
    collator = VarlenCollator(target._converter, max_sequence_length=MAX_RESIDUES, buffer_size=15)
    loader = create_async_dataloader(dataset, collator, num_workers=1, token_budget=600)
    runner = async_inference.AsyncInferenceRunner(target.model, torch.device("cpu"))
    results = list(runner.run(loader))
    assert ran.batches == [result.sequence_ids for result in results]
    for result in results:
        for name, vector in zip(result.sequence_ids, result.embeddings, strict=True):
            assert torch.equal(ran.vectors[name], vector)


def test_a_run_that_is_ended_early_leaves_neither_workers_nor_files(workload, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    check_closing_early(lambda _, emit: VirnucproTarget(OPTIONS, emit), workload, **KNOBS)
    assert [path.name for path in tmp_path.iterdir()] == ["workload.fasta"]


def test_the_defaults_are_its_own():
    knobs = {knob.name: knob.default for knob in VirnucproTarget(OPTIONS, Collected()).knobs()}
    assert knobs == {
        "token_budget": 4096,
        "buffer_size": 2000,
        "num_workers": 4,
        "prefetch_factor": 4,
        "enable_streams": True,
    }
    assert default_grid_size(VirnucproTarget(OPTIONS)) <= 12


def test_models_without_the_layer_that_its_runner_reads_are_refused():
    with pytest.raises(UsageError, match="layer 36, which esm2_t33_650M_UR50D lacks: use --model 3B"):
        VirnucproTarget(tiny_options(model="650M"))


@pytest.mark.skipif(async_inference.torch.cuda.is_available(), reason="flash-attn may be installed")
def test_a_missing_flash_attn_is_said(caplog):
    with caplog.at_level(logging.WARNING, logger="virnuc_profiler"):
        target = VirnucproTarget(OPTIONS)
    assert "flash-attn is not installed" in caplog.text
    assert "flash-attn is not installed" in target.describe()["attention_backend"]


def test_a_probe_runs_a_pack():
    target = VirnucproTarget(OPTIONS)
    target.probe(configuration_of(target), 64)
