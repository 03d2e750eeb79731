# SPDX-License-Identifier: MIT
"""The benchmarks run from end to end on the CPU, in the smallest form: their logic, not the figures."""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.standin import Standins
from virnuc_profiler import RunResult

pytestmark = pytest.mark.slow  # starts whole programs

TINY_PASS = ["--device", "cpu", "--token-budget", "256", "--num-sequences", "15", "--warm-up-s", "0"]


def figures_of(standins: Standins, folder: Path, name: str, *options: str, libraries: tuple[str, ...]) -> tuple:
    """What a benchmark prints, and the figures that it writes."""
    path = folder / "figures.json"
    command = [sys.executable, "-m", f"benchmarks.{name}", *options, "--json", str(path)]
    printed = standins.run(command, libraries=libraries, timeout_s=240)
    return printed, json.loads(path.read_text())["figures"]


def test_run_overhead(standins: Standins, tmp_path: Path) -> None:
    options = ["--models", "8M", "--pairs", "6", "--segment-s", "0.1"]
    printed, figures = figures_of(standins, tmp_path, "run_overhead", *TINY_PASS, *options, libraries=())
    found = figures["8M"]
    assert len(found["bare"]) == len(found["profiled"]) == found["ratio"]["pairs"] == 6
    assert found["ratio"]["low"] <= found["ratio"]["mean"] <= found["ratio"]["high"]
    assert f"x{found['ratio']['mean']:.4f}" in printed
    assert printed.splitlines()[-1].startswith(("8M: PASS", "8M: FAIL"))
    assert found["torch_profiler"]["with_collection"] >= found["torch_profiler"]["recording"] > 0


def test_gpu_sampling(standins: Standins, tmp_path: Path) -> None:
    options = ["--device", "cpu", "--idle-s", "0.5", "--load-s", "3", "--fast-only-s", "0.5", "--matrix", "64"]
    printed, figures = figures_of(standins, tmp_path, "gpu_sampling", *options, libraries=("cuda", "nvml"))
    assert [phase["phase"] for phase in figures["phases"]] == ["idle", "load", "idle again", "load, fast tier alone"]
    assert [tier["tier"] for tier in figures["tiers_fast_alone"]] == ["fast"]
    assert {"fast", "gpm", "energy"} <= {tier["tier"] for tier in figures["tiers"]}
    assert figures["phases"][1]["power_w"] == 350  # as the stand-in says
    assert figures["phases"][1]["tensor_activity"] == pytest.approx(0.6)
    assert figures["energy"]["whole run"]["integral_j"] == pytest.approx(
        350 * figures["energy"]["whole run"]["seconds"]
    )
    assert 0 < figures["cpu_share_by_linux"] < 0.5
    verdicts = {line.split()[0] for line in printed.splitlines() if line.startswith(("PASS", "FAIL", "n/a"))}
    assert "FAIL" in verdicts  # the stand-in's tensor activity does not follow the load
    assert len(figures["claims"]) == 7


def test_throughput(standins: Standins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # so small a model gains nothing from threads, and waits for them
    options = ["--device", "cpu", "--models", "8M", "--workloads", "sweep", "--token-budgets", "256", "--fp8"]
    options += ["--seconds", "0.1", "--warm-up-s", "0", "--ceiling-s", "0.02", "--matrix", "64"]
    options += ["--num-sequences", "15", "--padded-tokens", "256", "--default-settings", "0,4,256,50"]
    options += ["--num-workers", "0", "--buffer-size", "50"]
    printed, figures = figures_of(standins, tmp_path, "throughput", *options, libraries=())
    (table,) = figures["tables"]
    roles = {figure["role"]: figure for figure in table["figures"]}
    assert list(roles) == ["ceiling", "a", "b", "c", "c fp8", "d defaults", "d best", "d fp8"]
    for role in ("a", "c", "d defaults", "d best"):
        assert len(roles[role]["turns"]) == 2
        assert roles[role]["tokens_per_s"] > 0
        assert not roles[role]["reason"]
    assert roles["d best"]["turns"][0]["whole_run_tokens_per_s"] > 0
    assert roles["d best"]["turns"][0]["stage_share"] is None  # the CPU has no device times
    assert roles["c fp8"]["reason"].startswith("UsageError: precision 'fp8'")
    assert roles["d fp8"]["reason"] == "(c) was measured at no budget"
    assert (roles["b"]["tokens_per_s"] is None) == (find_spec("transformers") is None)
    assert roles["b"]["tokens_per_s"] or "transformers" in roles["b"]["reason"]
    verdicts = {claim["text"]: claim["verdict"] for claim in figures["claims"]}
    assert verdicts["8M: forward alone at least 10,000,000 tokens/s"] == "FAIL"
    assert len(verdicts) == 2
    assert "(d) end to end, best" in printed
    assert figures["notes"]


def test_throughput_goes_on_when_a_figure_fails(standins: Standins, tmp_path: Path) -> None:
    options = ["--device", "cpu", "--models", "8M", "--workloads", "short", "--only", "c", "--precision", "fp16"]
    options += ["--token-budgets", "128", "--num-sequences", "5", "--seconds", "0.1", "--ceiling-s", "0.02"]
    printed, figures = figures_of(standins, tmp_path, "throughput", *options, "--matrix", "64", libraries=())
    ceiling, forward = figures["tables"][0]["figures"]
    assert ceiling["tflops"] > 0
    assert forward["reason"].startswith("UsageError: precision 'fp16' needs a GPU")
    assert "n/a, UsageError" in printed


def test_host_pipeline(standins: Standins, tmp_path: Path) -> None:
    printed, figures = figures_of(
        standins, tmp_path, "host_pipeline", "--num-sequences", "300", "--fair-esm-sequences", "20", libraries=()
    )
    assert set(figures) == {"workload", "1", "2"}
    assert figures["workload"] == "sweep"
    assert figures["1"]["tokens_per_s"].keys() == {
        "fair-esm batch converter",
        *(f"ours, {n} workers" for n in range(3)),
    }
    assert min(figures["1"]["tokens_per_s"].values()) > 0
    assert (figures["2"] is None) == (len(os.sched_getaffinity(0)) < 2)
    assert [line.split(":")[0] in ("PASS", "FAIL", "n/a") for line in printed.splitlines()[-2:]] == [True, True]


def test_supervision_cost(standins: Standins, tmp_path: Path) -> None:
    options = ["--device", "cpu", "--trials", "6", "--num-sequences", "4", "--num-workers", "0"]
    printed, figures = figures_of(standins, tmp_path, "supervision_cost", *options, libraries=())
    assert len(figures["here_s"]) == len(figures["supervised_s"]) == figures["ratio"]["pairs"] == 6
    assert printed.splitlines()[-1].split()[0] in ("PASS", "FAIL")


def test_embed_throughput(standins: Standins, tmp_path: Path) -> None:
    options = ["--num-sequences", "2000", "--num-workers", "0", "--token-budget", "512", "--rounds", "1"]
    printed, figures = figures_of(standins, tmp_path, "embed_throughput", *options, libraries=())
    assert {name: len(passes) for name, passes in figures.items()} == {"runner": 1, "embed": 1}
    assert all(passes[0]["whole"] > 0 and passes[0]["process_s"] > 0 for passes in figures.values())
    assert "verdict" not in printed  # a model that computes nothing has no rate to compare with
    options = ["--model", "8M", "--device", "cpu", "--num-sequences", "12", *options[2:]]
    printed, figures = figures_of(standins, tmp_path, "embed_throughput", *options, libraries=())
    assert "0.85 x the runner's rate from end to end" in printed


def test_embedding_lookup(standins: Standins, tmp_path: Path) -> None:
    options = ["--num-sequences", "3000", "--hidden-size", "8", "--token-budget", "1024", "--rounds", "2"]
    printed, figures = figures_of(standins, tmp_path, "embedding_lookup", *options, libraries=())
    assert len(figures["1,000 identifiers, opening included"]) == 2
    assert "1,000 random identifiers in less than 1 s" in printed


def test_kernel_busy_share(standins: Standins, tmp_path: Path) -> None:
    """Kernels need a GPU; the run that nsys would capture does not."""
    saved = tmp_path / "run.json"
    command = [sys.executable, "-m", "benchmarks.kernel_busy_share", "--loop", "packed", "--device", "cpu"]
    command += ["--tokens", "256", "--num-sequences", "12", "--batches", "5", "--run-only", str(saved)]
    printed = standins.run(command, libraries=(), timeout_s=240)
    assert "in device stages, at most: n/a" in printed
    assert len(RunResult.load(saved).batches) == 5


def test_export_scale(standins: Standins, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.export_scale", "--batches", "300", "--folder", str(tmp_path)]
    printed = standins.run(command, libraries=(), timeout_s=240)
    assert all(f"\n{step} " in printed for step in ("load", "report", "trace", "Parquet", "CSV"))


def test_claim_cost(standins: Standins, tmp_path: Path) -> None:
    printed, figures = figures_of(standins, tmp_path, "claim_cost", "--count", "20", libraries=())
    assert {name: len(times) for name, times in figures.items()} == {
        "a claim that is free": 20,
        "an addition in a TCPStore": 20,
    }
    assert "a claim takes less than 10 ms" in printed


def test_timeline_page(standins: Standins, tmp_path: Path) -> None:
    options = ["--batches", "300", "--views", "0"]
    printed, figures = figures_of(standins, tmp_path, "timeline_page", *options, libraries=())
    found = figures["300"]
    assert 1 < found["page_mb"] < 3
    assert found["peak_mb"] >= found["run_mb"] > 0
    assert f"300 batches: page of {found['page_mb']:.2f} MB" in printed


def test_live_view_cost(standins: Standins, tmp_path: Path) -> None:
    options = ["--pairs", "6", "--segment-s", "0.05"]
    printed, figures = figures_of(standins, tmp_path, "live_view_cost", *TINY_PASS, *options, libraries=())
    assert len(figures["bare"]) == len(figures["live"]) == figures["ratio"]["pairs"] == 6
    assert figures["ratio"]["low"] <= figures["ratio"]["typical"] <= figures["ratio"]["high"]
    assert 0 < figures["share_of_core"] < 0.1
    assert f"x{figures['ratio']['typical']:.4f}" in printed
    assert printed.splitlines()[-1].startswith(("PASS", "FAIL"))
