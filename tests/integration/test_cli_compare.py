# SPDX-License-Identifier: MIT
"""``compare`` and ``baseline`` as whole programs, on runs and sweeps that this machine has just measured."""

import json

import pytest

from tests.support.command import SMALL, run

pytestmark = pytest.mark.slow

PROFILE = (
    "profile", "--device", "cpu", "--weights", "random", "--num-sequences", "6", "--num-workers", "0",
    "--cooldown", "0",
)  # fmt: skip


def test_two_measured_runs_and_a_baseline(tmp_path):
    for name in ("one", "two"):
        assert run(*PROFILE, "--output-dir", tmp_path / name).code == 0
    found = run("compare", tmp_path / "one", tmp_path / "two")
    assert (found.code, found.err) == (0, "")
    assert found.out.startswith("CANNOT TELL: ")  # two batches each
    assert "One run on each side" in found.out
    folder = tmp_path / "baselines"
    assert run("baseline", "save", "main", tmp_path / "one", "--baselines", folder).code == 0
    options = ("compare", "--against", "main", tmp_path / "two", "--baselines", folder)
    found = run(*options, "--json", "--fail-on", "cannot-tell")
    assert found.code == 3
    document = json.loads(found.out)
    packing = next(one for one in document["metrics"] if one["metric"] == "packing_efficiency")
    assert packing["verdict"] == "SAME"
    assert not any(one["refuses"] for one in document["differences"])


def test_a_sweep_and_a_run_of_one_of_its_configurations(tmp_path):
    assert run("sweep", *SMALL, "--steps", "baseline,dataloader", "--output-dir", tmp_path / "sweep").code == 0
    found = run("compare", tmp_path / "sweep", tmp_path / "sweep", "--markdown")
    assert found.code == 0
    assert "is on both sides" in found.out
    assert "<details><summary>" in found.out
    configuration = ("--num-workers", "0", "--prefetch-factor", "2", "--num-sequences", "8")
    assert run(*PROFILE, *configuration, "--output-dir", tmp_path / "run").code == 0
    found = run("compare", tmp_path / "sweep", tmp_path / "run", "--json")
    assert found.code == 0
    assert json.loads(found.out)["reference"]["runs"] == 1
