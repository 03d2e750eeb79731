# SPDX-License-Identifier: MIT
"""BatchProfiler with host times only. tests/integration/test_profiler_standin.py adds a device."""

import time

import numpy as np
import pytest

from virnuc_profiler import BatchProfiler, RunResult
from virnuc_profiler._core import pack_statistics
from virnuc_profiler.errors import LibraryUnavailable, UsageError


@pytest.fixture
def profiler():
    return BatchProfiler(device="cpu", stages=("fetch", "work", "tail"))


def names(batch):
    return [stage.name for stage in batch.stages]


def test_a_loop_records_one_batch_per_item(profiler):
    with profiler:
        for item in profiler.batches(iter(range(5))):
            with profiler.stage("work"):
                time.sleep(0.001 * item)
    run = profiler.result
    assert [batch.index for batch in run.batches] == [0, 1, 2, 3, 4]
    assert all(names(batch) == ["fetch", "work"] for batch in run.batches)
    assert run.batches[4].stages[1].host_ns >= 4_000_000
    assert run.host_start_ns <= run.batches[0].host_start_ns
    assert run.batches[4].host_end_ns <= run.host_end_ns


def test_without_a_gpu_the_result_gives_the_reason_and_no_device_times(profiler):
    with profiler:
        for _ in profiler.batches([1]):
            pass
    device = profiler.result.device
    assert (device.name, device.timed, device.alignment_uncertainty_ns) == ("cpu", False, None)
    assert device.reason == "the run is on the CPU"
    assert device.sampling_reason == "the run is on the CPU"
    assert profiler.result.gpu is None
    assert all(stage.device_ns is None for stage in profiler.result.batches[0].stages)


def test_a_mark_ends_the_previous_stage(profiler):
    profiler.start()
    batch = profiler.begin_batch()
    for stage in ("fetch", "work", "tail"):
        batch.mark(stage)
    batch.end()
    (record,) = profiler.stop().batches
    assert names(record) == ["fetch", "work", "tail"]
    first, second, third = record.stages
    assert (first.host_end_ns, second.host_end_ns) == (second.host_start_ns, third.host_start_ns)
    assert third.host_end_ns <= record.host_end_ns


def test_packing_and_externally_measured_intervals_are_recorded(profiler):
    profiler.start()
    batch = profiler.begin_batch(index=7)
    batch.set_packing(pack_statistics(np.array([0, 4, 10], np.int32), 16))
    now = time.monotonic_ns()
    batch.record_interval("tail", now - 50, now - 20)
    batch.end()
    (record,) = profiler.stop().batches
    assert (record.index, record.packing.tokens, record.packing.packing_efficiency) == (7, 10, 10 / 16)
    assert [(s.name, s.host_start_ns, s.host_end_ns) for s in record.stages] == [("tail", now - 50, now - 20)]


def test_totals_sum_the_batches_that_have_packing(profiler):
    profiler.start()
    profiler.begin_batch().end()
    assert profiler.stop().total_tokens is None
    profiler.start()
    profiler.begin_batch().end()
    packed = profiler.begin_batch()
    packed.set_packing(pack_statistics(np.array([0, 4, 10], np.int32), 16))
    packed.end()
    run = profiler.stop()
    assert (run.total_tokens, run.total_sequences) == (10, 2)


def test_stop_records_a_batch_that_is_still_open(profiler):
    profiler.start()
    items = profiler.batches(range(9))
    next(items)
    next(items)
    assert len(profiler.stop().batches) == 2


def test_stop_may_be_called_inside_the_with_statement(profiler):
    with profiler:
        profiler.begin_batch().end()
        run = profiler.stop()
    assert profiler.result is run


def test_result_raises_until_a_run_has_finished(profiler):
    assert not profiler.has_result
    with pytest.raises(RuntimeError, match=r"has not finished a run: read `result` after the `with` block"):
        _ = profiler.result
    with profiler:
        assert not profiler.has_result
        with pytest.raises(RuntimeError, match=r"is still running: read `result` after the `with` block"):
            _ = profiler.result
    assert profiler.has_result
    profiler.start()
    assert not profiler.has_result  # a new start drops the previous result
    profiler.stop()
    assert profiler.has_result


def test_the_stream_without_cuda_in_pytorch_is_the_default_stream():
    from virnuc_profiler.capture.target import current_stream

    assert current_stream(0) == 0


def test_each_call_of_a_decorated_function_is_a_run(profiler):
    @profiler
    def loop(count):
        for _ in profiler.batches(range(count)):
            pass
        return count

    assert loop(3) == 3
    assert len(profiler.result.batches) == 3
    loop(2)
    assert len(profiler.result.batches) == 2


def test_an_exception_in_the_loop_keeps_earlier_batches(profiler):
    with pytest.raises(KeyError, match="mine"), profiler:  # noqa: PT012
        for item in profiler.batches(range(9)):
            if item == 2:
                raise KeyError("mine")
    assert len(profiler.result.batches) >= 2


def test_an_exception_in_the_data_source_is_not_a_batch(profiler):
    def data():
        yield 1
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"), profiler:
        list(profiler.batches(data()))
    assert len(profiler.result.batches) == 1


def test_a_run_cannot_be_started_twice(profiler):
    with profiler, pytest.raises(RuntimeError, match="is running"):
        profiler.start()


def test_errors_before_the_start_say_what_to_do(profiler):
    with pytest.raises(RuntimeError, match=r"is not running: use it in a `with` statement, or call start\(\)"):
        profiler.begin_batch()
    with pytest.raises(RuntimeError, match=r"no batch has begun in this thread: .* call begin_batch\(\) first"):
        profiler.stage("work")
    with pytest.raises(RuntimeError, match="no batch has begun in this thread"):
        _ = profiler.current_batch
    with profiler, pytest.raises(ValueError, match=r"nonsense.*fetch"):
        profiler.begin_batch().mark("nonsense")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:-1", "", "cpu:0"])
def test_an_invalid_device_name_is_refused(device):
    with pytest.raises(UsageError, match="is not one of auto, cpu, cuda, cuda:N"):
        BatchProfiler(device=device)


def test_the_constructor_refuses_invalid_stages():
    with pytest.raises(ValueError, match="stage"):
        BatchProfiler(device="cpu", stages=())
    with pytest.raises(ValueError, match="twice"):
        BatchProfiler(device="cpu", stages=("twice", "twice"))
    with pytest.raises(ValueError, match="other"):
        BatchProfiler(device="cpu", stages=("work",), device_stages=("other",))


def test_a_missing_gpu_is_an_error_only_if_requested(monkeypatch):
    from virnuc_profiler.capture import target

    monkeypatch.setattr(target._core, "cuda_devices", list)
    with pytest.raises(LibraryUnavailable, match="'cuda:0' cannot be used"):
        BatchProfiler(device=0)
    assert BatchProfiler(device="auto").device_name == "cpu"


def test_the_result_can_be_saved_and_loaded(profiler, tmp_path):
    with profiler:
        for _ in profiler.batches(range(3)):
            pass
    loaded = RunResult.load(profiler.result.save(tmp_path / "run.json"))
    assert list(loaded.batches) == list(profiler.result.batches)


def test_a_run_that_an_exception_ends_names_it_and_keeps_its_batches(profiler):
    @profiler
    def fail():
        for number in profiler.batches(range(3)):
            if number == 1:
                raise LookupError("the moon is full\nfurther lines")

    with pytest.raises(LookupError):
        fail()
    run = profiler.result
    assert len(run.batches) == 2
    assert run.metadata["status"] == "failed"
    assert run.metadata["failure"] == {"reason": "error", "message": "LookupError: the moon is full"}


def test_metadata_of_the_user_come_before_what_an_exception_says():
    profiler = BatchProfiler(device="cpu", metadata={"status": "a trial run"})
    with pytest.raises(LookupError), profiler:
        raise LookupError
    assert profiler.result.metadata["status"] == "a trial run"
    assert profiler.result.metadata["failure"]["message"] == "LookupError: LookupError"


def test_a_loop_that_is_closed_early_has_not_failed(profiler):
    def loop():
        with profiler:
            yield from profiler.batches(range(3))

    iterator = loop()
    next(iterator)
    iterator.close()
    assert len(profiler.result.batches) == 1
    assert "status" not in profiler.result.metadata
