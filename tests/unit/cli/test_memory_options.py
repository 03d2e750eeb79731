# SPDX-License-Identifier: MIT
"""The commands where the memory is predicted: a pretended footprint, and runs that only say that they were called."""

import json
from types import SimpleNamespace

import pytest

from tests.support.sweeps import success
from virnuc_profiler.analysis.memory_footprint import MemoryFootprint
from virnuc_profiler.cli.main import main
from virnuc_profiler.inference.esm2.model import ModelInfo
from virnuc_profiler.sweep.trial import measured_model as prepare
from virnuc_profiler.sweep.trial.memory_forecast import MemoryForecast

MODEL = SimpleNamespace(info=ModelInfo("m", "random seed 0", "random", "fp32", "sdpa", "torch", 1))
FOOTPRINT = MemoryFootprint(bytes_per_token=210_000.0, fixed_bytes=1_340_000_000)
LINE = "Memory: 1.34 GB + 0.21 MB a token; budgets up to about 15,000 tokens fit"
GRID = ("--token-budget", "4096,40000", "--buffer-size", "2000", "--steps", "packing")
HERE = ("--isolation", "none")  # another process would have neither the pretended footprint nor the runs


@pytest.fixture
def tried(monkeypatch):
    """The token budgets that were run, and the metadata of each; a device with 5 GB."""
    calls = []

    def run(configuration, fasta, output_dir, model, device, **options):
        if "metadata" in options:  # else it is the warm-up
            calls.append((configuration.token_budget, options["metadata"]))
        return success(configuration)

    monkeypatch.setattr(prepare, "measure_configuration", run)
    monkeypatch.setattr("virnuc_profiler.sweep.trial.warm_up.measure_configuration", run)
    monkeypatch.setattr("virnuc_profiler.inference.esm2.load.load_esm2_model", lambda *args, **options: (MODEL, None))
    monkeypatch.setattr(prepare, "forecast_memory", lambda *args: MemoryForecast(FOOTPRINT, lambda: 5_000_000_000))
    return calls


def run(folder, command, *options):
    argv = [command, "--device", "cpu", "--num-sequences", "200", "--cooldown", "0", "--output-dir", str(folder)]
    return main([*argv, *map(str, options)])


def packing_results(folder):
    return json.loads((folder / "packing_sweep.json").read_text())


def test_a_sweep_does_not_try_what_surely_does_not_fit_and_says_so(tried, tmp_path, capsys):
    assert run(tmp_path, "sweep", *GRID, *HERE) == 0
    assert [budget for budget, _ in tried] == [4096, 4096]  # the baseline, and the first of the grid
    output = capsys.readouterr()
    assert LINE in output.out.splitlines()
    apart = output.out[output.out.index("Failed configurations (OOM, predicted):") :].splitlines()[1]
    assert apart == "  token_budget=40000, buffer_size=2000 (predicted: 9.74 GB of 5.00 GB, not tried)"
    assert "[3/3] packing:" in output.err
    assert "failed, OOM (predicted, not tried)" in output.err
    document = packing_results(tmp_path)
    assert document["complete"] is True
    assert document["best"]["config"]["token_budget"] == 4096
    skipped = document["results"][1]
    assert (skipped["status"], skipped["reason"], skipped["predicted"]) == ("failed", "OOM", True)
    assert skipped["peak_memory_gb"] is skipped["speedup"] is None
    assert main(["report", str(tmp_path / "packing_sweep.json")]) == 0
    assert apart in capsys.readouterr().out


def test_a_sweep_tries_it_if_told_to(tried, tmp_path, capsys):
    assert run(tmp_path, "sweep", *GRID, *HERE, "--try-all") == 0
    assert [budget for budget, _ in tried] == [4096, 4096, 40_000]
    output = capsys.readouterr().out
    assert LINE in output
    assert "predicted" not in output
    assert packing_results(tmp_path)["settings"]["try_all"] is True


def test_result_files_name_the_footprint(tried, tmp_path):
    run(tmp_path, "sweep", *GRID, *HERE)
    model = packing_results(tmp_path)["model"]
    assert (model["bytes_per_token"], model["fixed_bytes"]) == (210_000.0, 1_340_000_000)
    assert {metadata["bytes_per_token"] for _, metadata in tried} == {210_000.0}


def test_a_profile_of_it_is_refused_with_one_sentence(tried, tmp_path, capsys):
    assert run(tmp_path, "profile", "--token-budget", 40_000) == 2
    output = capsys.readouterr()
    assert LINE in output.out
    assert output.err.count("\n") == 1
    assert output.err.startswith("virnuc-profiler: error: num_workers=4, prefetch_factor=4, token_budget=40000, ")
    assert "is predicted to need 9.74 GB of device memory" in output.err
    assert "--try-all runs it anyway; the largest budget that should fit is about 15,000" in output.err
    assert not tried


@pytest.mark.parametrize("options", [("--token-budget", 40_000, "--try-all"), ("--token-budget", 4096)])
def test_a_profile_runs_what_may_fit_or_what_it_is_told_to(tried, tmp_path, options):
    assert run(tmp_path, "profile", *options) == 0
    assert [budget for budget, _ in tried] == [options[1]]


def test_where_nothing_can_be_predicted_nothing_is_said(tried, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(prepare, "forecast_memory", lambda *args: None)
    assert run(tmp_path, "sweep", *GRID, *HERE) == 0
    assert not any(line.startswith("Memory:") for line in capsys.readouterr().out.splitlines())
    assert [budget for budget, _ in tried] == [4096, 4096, 40_000]
    model = packing_results(tmp_path)["model"]
    assert model["bytes_per_token"] is model["fixed_bytes"] is None


def test_a_dry_run_measures_nothing(tried, monkeypatch, tmp_path, capsys):
    monkeypatch.delattr(prepare, "forecast_memory")
    assert run(tmp_path, "sweep", *GRID, *HERE, "--dry-run") == 0
    assert "token_budget=40000" in capsys.readouterr().out
