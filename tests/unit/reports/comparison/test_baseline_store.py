# SPDX-License-Identifier: MIT
"""Named baselines in a folder: nothing is overwritten unasked, and what is no baseline is named."""

import json
from dataclasses import replace

import pytest

from tests.support.compared_runs import noisy_run
from virnuc_profiler.analysis.comparison.measured_run import Side
from virnuc_profiler.errors import OutputError, TelemetryFormatError, UsageError
from virnuc_profiler.reports.comparison.baseline_store import (
    baseline_names,
    baselines_folder,
    load_baseline,
    remove_baseline,
    save_baseline,
)
from virnuc_profiler.reports.comparison.run_source import run_of


@pytest.fixture
def side():
    return Side(name="main", runs=(run_of(noisy_run(batches=30), "run_a.json"),))


def save(folder, name, side, **options):
    return save_baseline(folder, name, side, "0.1.0", **options)


def test_a_baseline_holds_all_that_a_comparison_needs(tmp_path, side):
    folder = tmp_path / "in" / "repository"
    path = save(folder, "v1.0-rc_1", side)
    assert path == folder / "v1.0-rc_1.json"
    assert path.stat().st_size < 5000
    found = load_baseline(folder, "v1.0-rc_1")
    assert found.side == replace(side, name="baseline v1.0-rc_1")
    assert found.version == "0.1.0"
    assert baseline_names(folder) == ["v1.0-rc_1"]
    assert [each.name for each in folder.iterdir()] == ["v1.0-rc_1.json"]  # no temporary file is left


def test_a_baseline_is_replaced_only_on_request(tmp_path, side):
    path = save(tmp_path, "main", side)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="--replace"):
        save(tmp_path, "main", replace(side, runs=side.runs * 2))
    assert path.read_bytes() == before
    save(tmp_path, "main", replace(side, runs=side.runs * 2), replaces=True)
    assert len(load_baseline(tmp_path, "main").side.runs) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["main.json"]


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "a b", "-x", "ä", "a" * 101, "a\n"])
def test_names_that_would_leave_the_folder_or_confuse_a_shell_are_refused(tmp_path, side, name):
    for action in (lambda: save(tmp_path, name, side), lambda: load_baseline(tmp_path, name)):
        with pytest.raises(UsageError, match="cannot name a baseline"):
            action()
    assert list(tmp_path.iterdir()) == []


def test_a_baseline_is_removed(tmp_path, side):
    path = save(tmp_path, "main", side)
    assert remove_baseline(tmp_path, "main") == path
    assert baseline_names(tmp_path) == []
    with pytest.raises(UsageError, match="no baseline main"):
        remove_baseline(tmp_path, "main")


def test_a_missing_baseline_names_those_that_are_there(tmp_path, side):
    save(tmp_path, "main", side)
    with pytest.raises(UsageError, match=r"no baseline other .*there: main"):
        load_baseline(tmp_path, "other")
    assert baseline_names(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "something else"},
        {"schema_version": "2.0"},
        {"runs": [{"source": "a"}]},
        {"runs": "none"},
        {"saved": 3},
    ],
)
def test_a_file_that_is_no_baseline_is_named(tmp_path, side, change):
    path = save(tmp_path, "main", side)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(TelemetryFormatError, match=r"main\.json"):
        load_baseline(tmp_path, "main")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"steady_interval": {"rate": "fast"}}, "steady_interval"),
        ({"values": {"tokens_per_sec": -1.0}}, r"values\.tokens_per_sec"),
        ({"values": {"tokens_per_sec": True}}, r"values\.tokens_per_sec"),
        ({"configuration": {"num_workers": [1]}}, r"configuration\.num_workers"),
        ({"facts": []}, "facts"),
    ],
)
def test_a_damaged_run_is_named(tmp_path, side, change, named):
    path = save(tmp_path, "main", side)
    document = json.loads(path.read_text())
    document["runs"][0].update(change)
    path.write_text(json.dumps(document))
    with pytest.raises(TelemetryFormatError, match=named):
        load_baseline(tmp_path, "main")


@pytest.mark.parametrize("change", [{"low": -1.0}, {"rate": "fast"}, {"state": 3}, {"blocks": None}])
def test_a_damaged_interval_is_named(tmp_path, side, change):
    path = save(tmp_path, "main", side)
    document = json.loads(path.read_text())
    document["runs"][0]["steady_interval"].update(change)
    path.write_text(json.dumps(document))
    with pytest.raises(TelemetryFormatError, match="steady_interval"):
        load_baseline(tmp_path, "main")


def test_a_folder_that_cannot_be_made(tmp_path, side):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a part of its path is a file"):
        save(tmp_path / "file", "main", side)


def test_the_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("VIRNUC_PROFILER_BASELINES", str(tmp_path))
    assert baselines_folder() == tmp_path
    monkeypatch.delenv("VIRNUC_PROFILER_BASELINES")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert baselines_folder() == tmp_path / "data" / "virnuc_profiler" / "baselines"
