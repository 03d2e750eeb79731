# SPDX-License-Identifier: MIT
"""The report on a run in memory is that of its file."""

from tests.support.compared_runs import noisy_run
from virnuc_profiler import render_run
from virnuc_profiler.cli.main import main


def test_it_is_what_the_command_prints_on_the_saved_run(tmp_path, capsys):
    run = noisy_run()
    assert main(["report", str(run.save(tmp_path / "run.json"))]) == 0
    assert capsys.readouterr().out == render_run(run)
    assert "Failed" not in render_run(run)


def test_a_failed_run_says_why():
    failure = {"reason": "OOM", "message": "CUDA out of memory"}
    assert "Failed: OOM: CUDA out of memory\n" in render_run(noisy_run(status="failed", failure=failure))
    assert "Failed" not in render_run(noisy_run(failure="what another writer meant"))
