# SPDX-License-Identifier: MIT
"""Trials with real files, packs and profiler, and a model that fails on demand."""

import contextlib
import gc
import json
import os
import signal
import time
import weakref

import pytest
import torch

from virnuc_profiler.errors import CudaError, OutputError, UsageError, WorkloadError
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.sweep.trial.cleanup import child_processes
from virnuc_profiler.sweep.trial.single_gpu_benchmark import run_single_gpu_benchmark
from virnuc_profiler.targets import builtin_source
from virnuc_profiler.telemetry.reader import read_telemetry
from virnuc_profiler.telemetry.run_result import RunResult

SMALL = {"num_workers": 0, "token_budget": 64, "buffer_size": 8, "cooldown_s": 0.0, "warm_up": False}
RUN_ID = "tune_0w_4pf_64tb_8bs"


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "proteins.fasta"
    path.write_text("".join(f">p{number}\n{'MKVLAT' * (number % 3 + 1)}\n" for number in range(20)))
    return path


TOKENS = sum(6 * (number % 3 + 1) + 2 for number in range(20))


class Model:
    """Returns vectors of width 4, and runs an action before the n-th call."""

    def __init__(self, before=None, at_call=2):
        self.before = before
        self.at_call = at_call
        self.calls = 0
        self.tensors = []

    def __call__(self, tokens, cu_seqlens, max_seqlen):
        self.calls += 1
        vectors = torch.ones(len(tokens), 4)
        self.tensors.append(weakref.ref(vectors))
        if self.before is not None and self.calls == self.at_call:
            self.before()
        return vectors


def raising(error):
    def fail():
        raise error

    return fail


def telemetry(folder):
    return read_telemetry(folder / f"telemetry_{RUN_ID}.json")


def test_a_success_has_the_figures_of_its_telemetry(fasta, tmp_path):
    progress = []
    started = time.monotonic()
    result = run_single_gpu_benchmark(fasta, tmp_path / "out", Model(), "cpu", **SMALL, on_progress=progress.append)
    wall = time.monotonic() - started
    assert result["status"] == "success"
    assert result["config"] == {"num_workers": 0, "prefetch_factor": 4, "token_budget": 64, "buffer_size": 8}
    assert result["telemetry_path"] == str(tmp_path / "out" / f"telemetry_{RUN_ID}.json")
    document = telemetry(tmp_path / "out")
    summary = document["summary"]
    assert (summary["total_sequences"], summary["total_tokens"]) == (20, TOKENS)
    assert sum(batch["num_tokens"] for batch in document["per_batch_metrics"]) == TOKENS
    assert result["elapsed_sec"] == summary["elapsed_seconds"] < wall
    assert result["tokens_per_sec"] == pytest.approx(TOKENS / result["elapsed_sec"])
    assert result["sequences_per_sec"] == pytest.approx(20 / result["elapsed_sec"])
    assert result["packing_efficiency"] == summary["avg_packing_efficiency"] <= 1
    assert (result["gpu_util"], result["peak_memory_gb"]) == (None, None)
    assert progress[-1] == 20
    json.dumps(result, allow_nan=False)


def test_the_run_and_its_circumstances_are_saved(fasta, tmp_path):
    fasta.write_text(fasta.read_text() + ">odd\nMK1\n>long\n" + "A" * 1100 + "\n")
    result = run_single_gpu_benchmark(
        fasta, tmp_path, Model(), "cpu", 0, 4, 2048, 8, cooldown_s=0, metadata={"who": "a test"}, warm_up=False
    )
    run = RunResult.load(result["run_path"])
    assert run.total_sequences == 22
    metadata = read_telemetry(result["telemetry_path"])["run_metadata"]
    assert metadata["status"] == "success"
    assert metadata["who"] == "a test"
    for counts in (metadata["workload"], result):
        assert (counts["truncated_sequences"], counts["unknown_residues"]) == (1, 1)
    assert result["oversize_batches"] == 0
    assert metadata["workload"]["fingerprint"].startswith("sha256:")
    assert metadata["versions"]["torch"] == torch.__version__
    assert metadata["hardware"]["cpu_logical_cores"] >= 1
    assert metadata["config"]["token_budget"] == 2048


def test_only_the_first_sequences_are_run_if_asked(fasta, tmp_path):
    run_single_gpu_benchmark(fasta, tmp_path, Model(), "cpu", **SMALL, num_sequences=5)
    document = telemetry(tmp_path)
    assert document["summary"]["total_sequences"] == 5
    assert document["summary"]["total_tokens"] == sum(6 * (number % 3 + 1) + 2 for number in range(5))
    assert document["run_metadata"]["workload"]["sequences_in_file"] == 20


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), "OOM"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "cuda_error"),
        (ValueError("something else"), "error"),
    ],
)
def test_a_failure_is_a_result_and_keeps_what_was_measured(fasta, tmp_path, caplog, error, reason):
    result = run_single_gpu_benchmark(fasta, tmp_path, Model(raising(error)), "cpu", **SMALL)
    assert (result["status"], result["reason"]) == ("failed", reason)
    assert str(error) in result["message"]
    assert result["config"]["token_budget"] == 64
    assert "peak_memory_gb" in result
    assert "sequences_per_sec" not in result
    assert "token_budget=64" in caplog.text
    document = telemetry(tmp_path)
    assert document["run_metadata"]["status"] == "failed"
    assert document["run_metadata"]["failure"]["reason"] == reason
    assert document["summary"]["total_batches"] == 1
    assert 0 < document["summary"]["total_sequences"] < 20


def test_a_device_that_lets_no_run_begin_is_a_failure_without_files(fasta, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise CudaError("cuStreamSynchronize failed: illegal address", 700, "cuStreamSynchronize")

    monkeypatch.setattr("virnuc_profiler.sweep.trial.trial_run.BatchProfiler.start", fail)
    result = run_single_gpu_benchmark(fasta, tmp_path, Model(), "cpu", **SMALL)
    assert (result["status"], result["reason"]) == ("failed", "cuda_error")
    assert (result["telemetry_path"], result["run_path"]) == (None, None)
    assert result["cleanup"]["workers_left"] == []
    assert not list(tmp_path.glob("*.json"))


def test_the_traceback_of_a_failure_is_logged_for_debugging(fasta, tmp_path, caplog):
    caplog.set_level("DEBUG", "virnuc_profiler")
    run_single_gpu_benchmark(fasta, tmp_path, Model(raising(ValueError("odd"))), "cpu", **SMALL)
    assert "ValueError: odd" in caplog.text
    assert "in raising" in caplog.text or "in fail" in caplog.text


def test_the_file_is_indexed_once(fasta, tmp_path, monkeypatch):
    opened = []
    open_file = FastaFile.open
    monkeypatch.setattr(FastaFile, "open", lambda path, **options: opened.append(path) or open_file(path, **options))
    run_single_gpu_benchmark(fasta, tmp_path, Model(), "cpu", **SMALL, num_sequences=5)
    assert opened == [fasta]


def test_out_of_memory_says_which_memory(fasta, tmp_path):
    result = run_single_gpu_benchmark(fasta, tmp_path, Model(raising(MemoryError())), "cpu", **SMALL)
    assert (result["reason"], result["memory"]) == ("OOM", "host")


def test_a_failure_keeps_no_tensor_alive(fasta, tmp_path):
    model = Model(raising(torch.cuda.OutOfMemoryError("CUDA out of memory")))
    run_single_gpu_benchmark(fasta, tmp_path, model, "cpu", **SMALL)
    gc.collect()
    assert [reference() for reference in model.tensors] == [None, None]


def test_a_time_limit_ends_the_run(fasta, tmp_path):
    model = Model(lambda: time.sleep(0.3), at_call=1)
    result = run_single_gpu_benchmark(fasta, tmp_path, model, "cpu", **SMALL, timeout_s=0.2)
    assert (result["status"], result["reason"]) == ("failed", "timeout")
    assert telemetry(tmp_path)["summary"]["total_batches"] == 1


def test_ctrl_c_is_passed_on_once_everything_is_written(fasta, tmp_path):
    model = Model(lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run_single_gpu_benchmark(fasta, tmp_path, model, "cpu", **SMALL)
    document = telemetry(tmp_path)
    assert document["run_metadata"]["status"] == "interrupted"
    assert document["summary"]["total_batches"] == 1


def test_a_worker_that_is_killed_is_told_apart_and_none_is_left(tmp_path):
    path = tmp_path / "many.fasta"
    path.write_text("".join(f">p{number}\n{'MKVLAT' * 3}\n" for number in range(3000)))

    def kill_workers():
        for pid in child_processes():
            with contextlib.suppress(ProcessLookupError):  # one that had ended by itself
                os.kill(pid, signal.SIGKILL)

    options = {"token_budget": 64, "buffer_size": 8, "prefetch_factor": 1, "cooldown_s": 0, "warm_up": False}
    result = run_single_gpu_benchmark(path, tmp_path, Model(kill_workers), "cpu", num_workers=1, **options)
    assert (result["status"], result["reason"]) == ("failed", "worker_crash")
    assert "SIGKILL" in result["message"]
    assert result["cleanup"]["workers_left"] == []
    assert child_processes() == set()


def test_results_that_do_not_add_up_are_a_failure(fasta, tmp_path, monkeypatch):
    # As if the loader lost what its last flush should bring.
    monkeypatch.setattr(
        "virnuc_profiler.inference.packing.collator.VarlenCollator.remaining_packs", lambda self: iter(())
    )
    result = run_single_gpu_benchmark(fasta, tmp_path, Model(), "cpu", **SMALL)
    assert (result["status"], result["reason"]) == ("failed", "error")
    assert "but 20 went in" in result["message"]


def test_wrong_requests_raise_at_once(fasta, tmp_path):
    with pytest.raises(ValueError, match="token_budget is 0"):
        run_single_gpu_benchmark(fasta, tmp_path, Model(), "cpu", token_budget=0)
    with pytest.raises(UsageError, match="cuda:99"):
        run_single_gpu_benchmark(fasta, tmp_path, Model(), "cuda:99")
    with pytest.raises(WorkloadError, match=r"absent\.fasta"):
        run_single_gpu_benchmark(tmp_path / "absent.fasta", tmp_path, Model(), "cpu")


def test_a_folder_that_cannot_be_written_raises_before_the_model_runs(fasta, tmp_path):
    model = Model()
    with pytest.raises(OutputError, match=r"proteins\.fasta"):
        run_single_gpu_benchmark(fasta, fasta / "folder", model, "cpu", **SMALL)
    assert model.calls == 0


def test_the_loader_its_dataset_and_the_runner_are_gone_when_the_result_is_there(fasta, tmp_path, monkeypatch):
    seen = []

    def remembering(function):
        def call(*arguments, **options):
            made = function(*arguments, **options)
            seen.append(weakref.ref(made))
            return made

        return call

    for name in ("create_async_dataloader", "AsyncInferenceRunner", "SequenceDataset"):
        monkeypatch.setattr(builtin_source, name, remembering(getattr(builtin_source, name)))
    result = run_single_gpu_benchmark(fasta, tmp_path, Model(raising(ValueError("odd"))), "cpu", **SMALL)
    assert [reference() for reference in seen] == [None] * 3
    assert result["evidence"]["exception"] == "ValueError"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_is_truncated_meanwhile_fails_the_run_and_keeps_what_was_measured(tmp_path, workers):
    path = tmp_path / "proteins.fasta"
    path.write_text("".join(f">p{number}\n{'MKVLAT' * 300}\n" for number in range(3000)))
    model = Model(before=lambda: os.truncate(path, 5000))
    options = {**SMALL, "num_workers": workers, "token_budget": 2048, "prefetch_factor": 1}
    result = run_single_gpu_benchmark(path, tmp_path / "out", model, "cpu", **options)
    assert (result["status"], result["reason"]) == ("failed", "error")
    assert f"{path} was truncated while it was in use: it had" in result["message"]
    document = read_telemetry(result["telemetry_path"])
    assert document["run_metadata"]["status"] == "failed"
    assert 0 < document["summary"]["total_sequences"] < 3000
    assert RunResult.load(result["run_path"]).total_sequences == document["summary"]["total_sequences"]


def test_an_open_file_is_run_as_it_was_indexed_and_stays_open(fasta, tmp_path):
    opened = FastaFile.open(fasta)
    for _ in range(2):
        result = run_single_gpu_benchmark(opened, tmp_path / "out", Model(), "cpu", **SMALL)
        assert result["status"] == "success"
        assert result["cleanup"]["clean"] is True
    os.truncate(fasta, 40)
    with pytest.raises(WorkloadError, match="truncated while it was in use"):
        run_single_gpu_benchmark(opened, tmp_path / "out", Model(), "cpu", **SMALL)
