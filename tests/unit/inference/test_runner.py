# SPDX-License-Identifier: MIT
"""The runner's order and records, on the CPU and on a simulated device."""

import pytest
import torch

from tests.support.packed import TINY, fair_esm_model, mean_over_residues, padded_oracle, proteins
from tests.support.simulated_device import batches, drain
from virnuc_profiler import AsyncInferenceRunner, BatchProfiler
from virnuc_profiler.errors import NonFiniteError, UsageError
from virnuc_profiler.inference.esm2.load import from_fair_esm
from virnuc_profiler.telemetry.records import STAGES as STAGE_NAMES

STAGES = ["fetch", "end_stage", ("collate", 1_000, 2_000), "h2d", "forward", "pool", "d2h", "end_stage", "emit"]


@pytest.fixture(scope="module")
def oracle():
    return fair_esm_model(TINY)


@pytest.fixture(scope="module")
def model(oracle):
    return from_fair_esm(oracle)


def test_every_sequence_comes_out_once_under_its_own_id(model, oracle):
    sizes = [3, 1, 4, 2]
    results = list(AsyncInferenceRunner(model, "cpu").run(batches(sizes)))
    assert [result.batch_idx for result in results] == [0, 1, 2, 3]
    positions = [position for result in results for position in result.positions.tolist()]
    assert positions == list(range(10))
    assert [name for result in results for name in result.sequence_ids] == [f"seq{position}" for position in positions]
    found = torch.cat([result.embeddings for result in results])
    assert found.dtype == torch.float32
    sequences = [protein for first, size in [(0, 3), (3, 1), (4, 4), (8, 2)]
                 for protein in proteins(range(first + 1, first + size + 1))]  # fmt: skip
    expected = torch.stack([mean_over_residues(rows) for rows in padded_oracle(oracle, sequences)])
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_results_belong_to_the_consumer(model):
    results = list(AsyncInferenceRunner(model, "cpu").run(batches([2, 2])))
    kept = results[0].embeddings.clone()
    results[1].embeddings.zero_()
    assert torch.equal(results[0].embeddings, kept)
    assert not results[0].embeddings.is_inference()
    torch.nn.Linear(32, 1)(results[0].embeddings).sum().backward()


def test_the_consumers_own_code_is_not_in_inference_mode(model):
    for _ in AsyncInferenceRunner(model, "cpu").run(batches([1])):
        assert not torch.is_inference_mode_enabled()


def test_an_empty_loader_yields_and_records_nothing(model, profiler):
    assert list(AsyncInferenceRunner(model, "cpu", profiler=profiler).run([])) == []
    assert [batch.state for batch in profiler.begun] == ["discarded"]


def test_every_batch_is_recorded_with_its_stages_and_packing(model, profiler):
    packs = list(batches([3, 1, 2]))
    for _ in AsyncInferenceRunner(model, "cpu", profiler=profiler).run(packs):
        pass
    assert [batch.state for batch in profiler.begun] == ["ended"] * 3 + ["discarded"]
    assert all(batch.calls == STAGES for batch in profiler.batches())
    assert [batch.packing for batch in profiler.batches()] == [pack.statistics for pack in packs]


def test_a_batch_stays_open_while_the_consumer_has_its_results(model, profiler):
    run = AsyncInferenceRunner(model, "cpu", profiler=profiler).run(batches([1, 1]))
    next(run)
    assert [batch.state for batch in profiler.begun] == ["open"]
    next(run)
    assert [batch.state for batch in profiler.begun] == ["ended", "open"]
    assert list(run) == []
    assert [batch.state for batch in profiler.begun] == ["ended", "ended", "discarded"]


@pytest.mark.parametrize("in_flight", [1, 2, 3])
def test_the_next_batches_are_queued_before_the_oldest_is_waited_for(device, in_flight):
    results = list(AsyncInferenceRunner(None, "cuda", in_flight=in_flight).run(batches([1] * 5)))
    assert [result.batch_idx for result in results] == [0, 1, 2, 3, 4]
    assert [result.embeddings[0, 0].item() for result in results] == [0, 1, 2, 3, 4]
    for number in range(5):
        launched = {entry for entry in device.log[: device.log.index(("wait", number))] if entry[0] == "launch"}
        assert len(launched) == min(5, number + in_flight)


def test_the_cpu_computes_a_batch_only_after_the_last_one_was_delivered(model, profiler):
    run = AsyncInferenceRunner(model, "cpu", profiler=profiler, in_flight=4).run(batches([1, 1, 1]))
    next(run)
    assert len(profiler.begun) == 1


def test_non_finite_embeddings_are_named_in_the_result(device, profiler, caplog):
    device.broken_rows[1] = [0, 2]
    results = list(AsyncInferenceRunner(None, "cuda", profiler=profiler).run(batches([3, 3, 3])))
    assert [list(result.non_finite) for result in results] == [[], ["seq3", "seq5"], []]
    (record,) = caplog.records
    assert "of 2 of the 3 sequences of batch 1: seq3, seq5;" in record.getMessage()
    assert [batch.state for batch in profiler.begun] == ["ended"] * 3 + ["discarded"]


def test_non_finite_embeddings_can_end_the_run(device, profiler, caplog):
    device.broken_rows.update({1: [0], 2: [1]})
    seen = []
    runner = AsyncInferenceRunner(None, "cuda", profiler=profiler, in_flight=2, on_non_finite="raise")
    run = runner.run(batches([3] * 9))
    with pytest.raises(NonFiniteError, match="of 1 of the 3 sequences of batch 1") as caught:
        drain(run, seen)
    assert caught.value.sequence_ids == ["seq3"]
    assert seen == [0]
    assert [batch.state for batch in profiler.begun] == ["ended", "discarded", "discarded"]
    assert device.log[-1] == ("drop", 2)
    assert caplog.records == []


def test_nan_weights_are_reported_on_the_cpu_too(oracle):
    model = from_fair_esm(oracle)
    model.final_norm.weight.fill_(torch.nan)
    (result,) = AsyncInferenceRunner(model, "cpu").run(batches([2]))
    assert list(result.non_finite) == ["seq0", "seq1"]


def test_items_that_are_not_packed_batches_are_refused(model, profiler):
    with pytest.raises(TypeError, match=r"needs batches of type PackedBatch.*one of type tuple"):
        list(AsyncInferenceRunner(model, "cpu", profiler=profiler).run([("id", "MKT")]))
    assert [batch.state for batch in profiler.begun] == ["discarded"]
    with pytest.raises(TypeError, match="not iterable"):
        AsyncInferenceRunner(model, "cpu").run(None)


def test_wrong_arguments_are_refused(model):
    with pytest.raises(ValueError, match="in_flight must be at least 1, not 0"):
        AsyncInferenceRunner(model, "cpu", in_flight=0)
    with pytest.raises(ValueError, match="on_non_finite is 'ignore', must be one of report, raise"):
        AsyncInferenceRunner(model, "cpu", on_non_finite="ignore")
    with pytest.raises(UsageError, match="'tpu' is not one of"):
        AsyncInferenceRunner(model, "tpu")


def test_a_callback_is_not_taken_for_an_option(model):
    with pytest.raises(TypeError, match="positional argument"):
        AsyncInferenceRunner(model, "cpu").run(batches([1]), print)


def test_a_model_on_another_device_is_refused(device, model):
    with pytest.raises(ValueError, match="the model is on cpu, not on cuda:0"):
        AsyncInferenceRunner(model, "cuda")


def test_the_real_profiler_records_what_came_out(model):
    packs = list(batches([3, 1, 2]))
    with BatchProfiler(device="cpu", sample_gpu=False) as profiler:
        results = list(AsyncInferenceRunner(model, "cpu", profiler=profiler).run(packs))
    run = profiler.result
    assert [batch.index for batch in run.batches] == [result.batch_idx for result in results] == [0, 1, 2]
    assert run.total_sequences == 6
    assert run.total_tokens == sum(len(pack.tokens) for pack in packs)
    for batch in run.batches:
        assert sorted(stage.name for stage in batch.stages) == sorted(STAGE_NAMES)
        (collate,) = (stage for stage in batch.stages if stage.name == "collate")
        assert (collate.host_start_ns, collate.host_end_ns) == (1_000, 2_000)
        assert batch.packing.token_budget == 4096
