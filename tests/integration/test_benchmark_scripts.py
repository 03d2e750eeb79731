# SPDX-License-Identifier: MIT
"""The benchmarks of the profiler run from end to end on the CPU, in the smallest form: their logic, not the figures."""

import json
import sys
from pathlib import Path

import pytest

from tests.support.standin import Standins

TINY_PASS = ["--device", "cpu", "--token-budget", "256", "--num-sequences", "15", "--warm-up-s", "0"]


def figures_of(standins: Standins, folder: Path, name: str, *options: str, libraries: tuple[str, ...]) -> tuple:
    """What a benchmark prints, and the figures that it writes."""
    path = folder / "figures.json"
    command = [sys.executable, "-m", f"benchmarks.{name}", *options, "--json", str(path)]
    printed = standins.run(command, libraries=libraries, timeout_s=240)
    return printed, json.loads(path.read_text())["figures"]


@pytest.mark.slow
def test_run_overhead(standins: Standins, tmp_path: Path) -> None:
    options = ["--models", "8M", "--pairs", "3", "--segment-s", "0.1"]
    printed, figures = figures_of(standins, tmp_path, "run_overhead", *TINY_PASS, *options, libraries=())
    found = figures["8M"]
    assert len(found["bare"]) == len(found["profiled"]) == found["ratio"]["pairs"] == 3
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
    verdicts = {line.split()[0] for line in printed.splitlines() if line.startswith(("PASS", "FAIL", "NOT MEASURED"))}
    assert "FAIL" in verdicts  # the stand-in's tensor activity does not follow the load
    assert len(figures["claims"]) == 7
