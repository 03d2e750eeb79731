# SPDX-License-Identifier: MIT
"""Correlation from Python gives what the command prints and writes."""

import json

import pytest

from tests.support.compared_runs import noisy_run
from tests.support.nsys_files import write_capture_of
from virnuc_profiler import correlate_run, render_correlated_run
from virnuc_profiler.cli.main import main
from virnuc_profiler.errors import UsageError


@pytest.fixture
def captured(tmp_path):
    """A run, its file, and its capture."""
    run = noisy_run(batches=20)
    write_capture_of(run, tmp_path / "capture.sqlite", offset_ns=12_345, utc_epoch_ns=None)
    return run, run.save(tmp_path / "run_a.json"), tmp_path / "capture.sqlite"


def test_a_run_in_memory_and_its_file_give_what_the_command_prints(captured, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    run, saved, export = captured
    said = []
    correlated = correlate_run(run, str(export), progress=said.append)
    assert said
    assert correlated.correlation.batches_matched == 20
    assert {stage.name for stage in correlated.correlation.stages} == {"fetch", "forward"}
    assert main(["correlate", str(saved), str(export), "--json", str(tmp_path / "command.json")]) == 0
    assert capsys.readouterr().out == render_correlated_run(correlated, 90)
    written = correlated.save(tmp_path / "python.json")
    assert json.loads(written.read_text()) == json.loads((tmp_path / "command.json").read_text())
    assert render_correlated_run(correlate_run(saved, export)) == render_correlated_run(correlated)


def test_the_capture_of_another_run_is_refused(captured):
    _, _, export = captured
    with pytest.raises(UsageError, match="are not of the same run"):
        correlate_run(noisy_run(batches=20, slowdown=3.0), export)


def test_stages_can_be_chosen(captured):
    run, _, export = captured
    (stage,) = correlate_run(run, export, ranges=["forw*"]).correlation.stages
    assert stage.name == "forward"
    with pytest.raises(UsageError, match=r"capture\.sqlite has no range nothing"):
        correlate_run(run, export, ranges=["nothing"])
