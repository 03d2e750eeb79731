# SPDX-License-Identifier: MIT
"""``sweep --precision fp32,bf16`` on the CPU, through the real command line."""

import json
import os
import re
import signal

import pytest

from tests.support.command import Command, run, wait_until
from virnuc_profiler.sweep.results.journal import JOURNAL_FILE, read_journal
from virnuc_profiler.sweep.results.result_files import read_step
from virnuc_profiler.telemetry.reader import read_telemetry

pytestmark = pytest.mark.slow  # starts whole programs

TWO = (
    "--num-sequences", "8", "--cooldown", "0", "--trial-seconds", "0", "--weights", "random", "--device", "cpu",
    "--token-budget", "2048", "--buffer-size", "50", "--steps", "baseline,packing", "--precision", "fp32,bf16",
)  # fmt: skip
BOTH = [("fp32", False), ("bf16", True)]


def measured(folder):
    document = read_step(folder / "packing_sweep.json")
    assert document.complete
    for result in document.results:
        assert result.succeeded
        assert result.model["precision"] == result.configuration.precision
        telemetry = read_telemetry(folder / result.telemetry_path)
        assert telemetry["run_metadata"]["precision"] == result.configuration.precision
        assert telemetry["run_metadata"]["config"]["precision"] == result.configuration.precision
    return [(result.configuration.precision, result.model_reloaded) for result in document.results]


@pytest.mark.parametrize("isolation", ["process", "none"])
def test_a_list_of_precisions_is_swept(tmp_path, isolation):
    finished = run("sweep", *TWO, "--isolation", isolation, "--output-dir", tmp_path)
    assert finished.code == 0, finished.err
    assert measured(tmp_path) == BOTH
    assert "Precision: fp32, bf16 in turn; the model is loaded again for each" in finished.out
    assert re.search(r"^Prec +\| Budget +\| Buffer", finished.out, re.MULTILINE)
    assert (tmp_path / "telemetry" / "packing" / "telemetry_tune_4w_4pf_2048tb_50bs_bf16.json").is_file()
    assert json.loads((tmp_path / "baseline.json").read_text())["results"][0]["config"]["precision"] == "fp32"


def test_it_is_resumed_after_a_kill_with_the_precision_that_is_left(tmp_path):
    command = Command("sweep", *TWO, "--output-dir", tmp_path)
    journal = tmp_path / JOURNAL_FILE
    wait_until(lambda: journal.exists() and journal.read_bytes().count(b'"kind":"trial"') == 2)
    os.killpg(command.process.pid, signal.SIGKILL)
    command.finish()
    assert command.left_behind() == []
    kept = read_journal(tmp_path)[-1].trials
    assert [trial.configuration.precision for trial in kept] == ["fp32", "fp32"]
    refused = run("sweep", "--resume", tmp_path, "--precision", "fp32")
    assert refused.code == 2
    assert "--precision is fp32 but was fp32,bf16" in refused.error
    resumed = run("sweep", "--resume", tmp_path, "--precision", "fp32,bf16")
    assert resumed.code == 0, resumed.err
    assert "Resumed: 2 finished, 1 to run" in resumed.out
    assert "Model: esm2_t6_8M_UR50D, bf16" in resumed.out
    assert measured(tmp_path) == [("fp32", False), ("bf16", False)]  # the new process loaded it first
    assert read_journal(tmp_path)[-1].trials[:2] == kept


def test_one_precision_is_a_condition_as_before(tmp_path):
    finished = run("sweep", *TWO[:-2], "--precision", "bf16", "--output-dir", tmp_path)
    assert finished.code == 0, finished.err
    document = json.loads((tmp_path / "packing_sweep.json").read_text())
    assert document["model"]["precision"] == "bf16"
    assert "precision" not in document["grid"]
    assert not {"model", "model_reloaded"} & set(document["results"][0])
    assert "precision" not in document["results"][0]["config"]
    assert (tmp_path / "telemetry" / "packing" / "telemetry_tune_4w_4pf_2048tb_50bs.json").is_file()


@pytest.mark.parametrize("isolation", ["process", "none"])
@pytest.mark.parametrize("precision", ["fp16", "fp8"])
def test_a_precision_that_the_device_lacks_is_refused_before_anything_runs(tmp_path, precision, isolation):
    folder = tmp_path / "out"
    command = (*TWO[:-1], f"fp32,{precision}", "--isolation", isolation, "--output-dir", folder)
    finished = run("sweep", *command)
    assert finished.code == 2
    assert f"precision '{precision}'" in finished.error
    assert not folder.exists()


def test_a_dry_run_counts_each_precision(tmp_path):
    finished = run("sweep", "--dry-run", *TWO, "--output-dir", tmp_path / "out")
    assert finished.code == 0, finished.err
    assert "packing: 2 configurations" in finished.out
    assert finished.out.count("precision=bf16") == 1


def test_profile_takes_one_precision(tmp_path):
    finished = run("profile", "--precision", "fp32,bf16", "--device", "cpu", "--output-dir", tmp_path)
    assert finished.code == 2
    assert "only sweep takes lists" in finished.error
