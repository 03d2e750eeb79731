# SPDX-License-Identifier: MIT
import pytest
import torch

from tests.support.adapters import (
    check_closing_early,
    check_contract,
    check_padding,
    configuration_of,
    default_grid_size,
    program,
    run_adapter,
    tiny_options,
    write_workload,
)
from virnuc_profiler import BatchProfiler
from virnuc_profiler.errors import ModelError
from virnuc_profiler.inference.sequences.fair_esm import import_fair_esm
from virnuc_profiler.targets.adapters.huggingface_target import HuggingFaceTarget

program("transformers", "needs pip install transformers")

STAGES = ("fetch", "h2d", "forward", "pool", "d2h", "emit")


@pytest.fixture
def workload(tmp_path):
    return write_workload(tmp_path)


@pytest.mark.parametrize("sort", [False, True])
def test_every_sequence_is_embedded_once_and_the_padding_is_counted(workload, sort):
    ran, target = run_adapter(HuggingFaceTarget, workload, batch_tokens=600, sort_by_length=sort)
    check_contract(target, ran, workload, STAGES)
    check_padding(ran, workload)
    assert len(ran.batches) > 3


def test_sorting_by_length_saves_padding(workload):
    padding = [
        sum(
            batch.packing.padding_tokens
            for batch in run_adapter(HuggingFaceTarget, workload, **values)[0].result.batches
        )
        for values in ({"sort_by_length": False}, {"sort_by_length": True, "batch_tokens": 600})
    ]
    assert padding[1] < padding[0] / 2


def test_the_vectors_are_those_of_the_model_one_sequence_at_a_time(workload):
    ran, target = run_adapter(HuggingFaceTarget, workload, batch_tokens=600)
    encode = import_fair_esm().data.Alphabet.from_architecture("ESM-1b").encode
    for name, sequence in workload.records():
        tokens = torch.tensor([[0, *encode(sequence), 2]])
        with torch.no_grad():
            hidden = target.model(input_ids=tokens).last_hidden_state
        torch.testing.assert_close(ran.vectors[name], hidden[0, 1:-1].mean(0), atol=1e-5, rtol=1e-4)


def test_workers_end_with_a_run_that_is_ended_early(workload):
    check_closing_early(HuggingFaceTarget, workload, batch_tokens=600, num_workers=2)


def test_the_attention_is_another_one_where_a_configuration_says_so(workload):
    first, _ = run_adapter(HuggingFaceTarget, workload)
    second, target = run_adapter(HuggingFaceTarget, workload, attention="eager")
    assert target.model.config._attn_implementation == "eager"
    for name, vector in first.vectors.items():
        torch.testing.assert_close(second.vectors[name], vector, atol=1e-5, rtol=1e-4)


def test_an_attention_that_cannot_be_had_does_not_spoil_the_next_run(workload, monkeypatch):
    target = HuggingFaceTarget(tiny_options())
    automatic = target._transformers.AutoModel
    refused = configuration_of(target, attention="flash_attention_2")
    with monkeypatch.context() as patch, BatchProfiler(device="cpu") as profiler:
        patch.setattr(automatic, "from_config", lambda *_, **__: (_ for _ in ()).throw(ImportError("flash_attn")))
        with pytest.raises(ImportError):
            next(target.run(workload, refused, profiler))
    with BatchProfiler(device="cpu") as profiler:
        assert sum(target.run(workload, configuration_of(target), profiler)) == workload.num_sequences


def test_the_precision_is_the_one_that_was_asked_for(workload):
    ran, target = run_adapter(HuggingFaceTarget, workload, tiny_options(precision="bf16"))
    assert target.describe()["precision"] == "bf16"
    assert target.model.dtype == torch.bfloat16
    assert all(vector.dtype == torch.float32 for vector in ran.vectors.values())


def test_weights_are_loaded_from_a_folder(workload, tmp_path):
    ran, target = run_adapter(HuggingFaceTarget, workload)
    target.model.save_pretrained(tmp_path / "checkpoint")
    options = tiny_options(model="8M", weights=str(tmp_path / "checkpoint"))
    again, loaded = run_adapter(HuggingFaceTarget, workload, options)
    assert loaded.describe()["weights"] == str(tmp_path / "checkpoint")
    for name, vector in ran.vectors.items():
        torch.testing.assert_close(again.vectors[name], vector)


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"cannot be loaded.*--weights random"):
        HuggingFaceTarget(tiny_options(model="8M", weights=str(tmp_path)))


def test_a_probe_runs_a_batch(workload):
    target = HuggingFaceTarget(tiny_options())
    shapes = []
    target.model.register_forward_pre_hook(
        lambda _, __, given: shapes.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    target.probe(configuration_of(target), 2048)
    assert shapes == [(2, 1024)]


def test_the_default_grid_is_small():
    assert default_grid_size(HuggingFaceTarget(tiny_options())) <= 12


def test_a_closed_target_holds_no_model():
    target = HuggingFaceTarget(tiny_options())
    target.close()
    assert target.model is None
