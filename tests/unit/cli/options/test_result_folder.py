# SPDX-License-Identifier: MIT
"""The folder of results: its name, and the files that reports must not replace."""

import json

import pytest

from tests.support.sweeps import fake_sweep
from virnuc_profiler.cli.main import main
from virnuc_profiler.cli.options.result_folder import claim_folder, keep_earlier, refuse_result
from virnuc_profiler.errors import OutputError, UsageError
from virnuc_profiler.sweep.results.journal import JOURNAL_FILE
from virnuc_profiler.telemetry.logger import TelemetryLogger


def test_commands_that_start_in_the_same_second_get_folders_of_their_own(tmp_path):
    folder = tmp_path / "tuning_results" / "profile_20260101_120000"
    claimed = [claim_folder(folder, named=False) for _ in range(3)]
    assert [path.name[len(folder.name) :] for path in claimed] == ["", "_2", "_3"]
    assert all(path.is_dir() for path in claimed)


def test_a_folder_that_the_user_named_is_used_as_it_is(tmp_path):
    assert claim_folder(tmp_path, named=True) == tmp_path


@pytest.mark.parametrize("named", [True, False])
def test_a_folder_that_cannot_be_made_is_an_error(tmp_path, named):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="choose another --output-dir"):
        claim_folder(tmp_path / "file" / "out", named=named)


def test_earlier_files_are_kept_under_numbered_names(tmp_path, capsys):
    path = tmp_path / "run_a.json"
    for text in ("first", "second"):
        path.write_text(text)
        keep_earlier([path, tmp_path / "absent.json"])
    assert [(tmp_path / f"run_a.earlier-{n}.json").read_text() for n in (1, 2)] == ["first", "second"]
    assert capsys.readouterr().out.splitlines()[-1] == f"Kept: {path} of an earlier run is now run_a.earlier-2.json"


@pytest.mark.parametrize("name", ["baseline.json", "best_config.json", JOURNAL_FILE, "telemetry_a.json", "run_a.json"])
def test_a_report_does_not_replace_a_result(tmp_path, name):
    refuse_result(tmp_path / name, "--output")  # nothing is there yet
    (tmp_path / name).touch()
    refuse_result(tmp_path / "report.txt", "--output")
    with pytest.raises(UsageError, match=r"--output .* has the name of a measurement's result; choose another file"):
        refuse_result(tmp_path / name, "--output")


def test_the_report_on_a_folder_does_not_replace_its_files(tmp_path, capsys):
    fake_sweep(tmp_path).run(["baseline"])
    before = (tmp_path / "baseline.json").read_text()
    assert main(["report", str(tmp_path), "--output", str(tmp_path / "baseline.json")]) == 2
    assert "--output" in capsys.readouterr().err
    assert (tmp_path / "baseline.json").read_text() == before
    assert json.loads(before)["step"] == "baseline"


def test_a_file_in_the_place_of_the_folder_is_called_one(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file: it is a file; choose another --output-dir"):
        claim_folder(tmp_path / "file", named=True)
    with pytest.raises(OutputError, match="file/out: a part of its path is a file; choose another --output-dir"):
        claim_folder(tmp_path / "file" / "out", named=True)
    with pytest.raises(OutputError, match="file: it is a file"):
        fake_sweep(tmp_path / "file").run_step("baseline")
    with pytest.raises(OutputError, match="file: it is a file; choose another one"):
        TelemetryLogger(tmp_path / "file")
