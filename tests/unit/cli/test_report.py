# SPDX-License-Identifier: MIT
"""``report`` on a folder: each run in it, with its stages where the saved run is there."""

import pytest

from tests.support.run_records import batch, run_of, stage
from virnuc_profiler import write_telemetry
from virnuc_profiler.cli.main import main


@pytest.fixture
def folder(tmp_path):
    """The folder of a ``profile`` command: a saved run and its telemetry."""
    run = run_of([batch(0, 0, 9, [stage("forward", 1, 8)])], 10)
    run.save(tmp_path / "run_tune.json")
    write_telemetry(run, tmp_path / "telemetry_tune.json")
    return tmp_path


def test_the_folder_of_a_run_has_its_stages(folder, capsys):
    assert main(["report", str(folder)]) == 0
    assert "Stages (ms)" in capsys.readouterr().out


def test_telemetry_alone_still_has_a_report(folder, capsys):
    (folder / "run_tune.json").unlink()
    assert main(["report", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "Performance Report" in out
    assert "Stages (ms)" not in out
