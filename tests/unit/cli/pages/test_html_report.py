# SPDX-License-Identifier: MIT
"""``report --html`` and ``compare --html``: a useful page of whatever there is, and no other file lost."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.support.embed_job import run_job, write_fasta
from tests.support.run_records import run_of
from tests.support.sweeps import FakeTrials, StopAfter, failure, run_in_journal, small_plan
from virnuc_profiler.cli.main import main
from virnuc_profiler.sweep.results.journal import Journal

DATA = Path(__file__).parents[3] / "data"


def report(*arguments):
    return main(["report", *map(str, arguments)])


def text_of(path):
    """The words of a page, without scripts and styles."""
    html = re.sub(r"<(script|style).*?</\1>", " ", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).replace("&#39;", "'")


@pytest.fixture
def page(tmp_path):
    return tmp_path / "page.html"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("v1.0/sweep/finished", ["Recommended", "Predicted time", "Measurements", "Versions"]),
        ("v1.0/sweep/unfinished", ["No recommendation yet", "Continue", "--resume", "Not done"]),
        ("v1.0/sweep/finished/dataloader_sweep.json", ["Measurements", "There is no journal beside these files"]),
        ("v1.0/sweep/finished/best_config.json", ["Predicted time", "Validation"]),
        ("v1.0/telemetry_profiled.json", ["tokens/s", "Throughput", "Figures"]),
        ("v1.0/run_profiled.json", ["Run"]),
        ("h200/grid_sweep", ["Tied: keep the baseline", "3.59 to 3.78 for 6,000,000 sequences", "2.54 kWh"]),
        ("h200/grid_sweep/journal.jsonl", ["Tied: keep the baseline"]),
    ],
)
def test_files_of_all_versions_have_a_page(source, words, page, capsys):
    assert report(DATA / source, "--html", page) == 0
    text = text_of(page)
    for word in words:
        assert word in text
    assert capsys.readouterr().out.startswith("Report: ")
    assert page.stat().st_size < 5e6


def test_an_interrupted_sweep_says_how_to_go_on(tmp_path, page):
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        run_in_journal(folder, StopAfter(4), begin=small_plan())
    assert report(folder, "--html", page) == 0
    text = text_of(page)
    assert "No recommendation yet: the sweep has not ended" in text
    assert f"virnuc-profiler sweep --resume {folder}" in text
    assert "Trials in the order of time" in text


def test_a_sweep_in_which_everything_failed_says_why(tmp_path, page):
    folder = tmp_path / "out"
    folder.mkdir()
    run_in_journal(
        folder, FakeTrials(lambda config: failure(config, "cuda_error", message="no kernel")), begin=small_plan()
    )
    assert report(folder, "--html", page) == 0
    text = text_of(page)
    assert "No configuration succeeded" in text
    assert "cuda_error" in text
    assert "no kernel" in text


def test_a_sweep_that_has_measured_nothing_has_a_page(tmp_path, page):
    folder = tmp_path / "out"
    folder.mkdir()
    with Journal(folder) as journal:
        journal.begin(small_plan())
    assert report(folder, "--html", page) == 0
    assert "Nothing was measured so far" in text_of(page)


def test_an_empty_run_has_a_page(tmp_path, page):
    run_of([], 5).save(tmp_path / "run_empty.json")
    assert report(tmp_path / "run_empty.json", "--html", page) == 0
    assert page.exists()
    telemetry = {"schema_version": "1.3", "run_metadata": {}, "summary": {}, "per_batch_metrics": []}
    (tmp_path / "telemetry_empty.json").write_text(json.dumps(telemetry))
    assert report(tmp_path / "telemetry_empty.json", "--html", page) == 0
    assert "Nothing was measured: the file holds no batches" in text_of(page)


def test_an_embed_job_says_how_much_is_done(tmp_path, page):
    fasta = tmp_path / "s.fasta"
    write_fasta(fasta, 60)
    run_job(fasta, tmp_path / "job", shards=3, profile=True)
    assert report(tmp_path / "job", "--html", page) == 0
    text = text_of(page)
    assert "All shards are finished: 60 vectors in 3 shards" in text
    assert "Finished shards" in text


def test_only_reports_are_replaced(tmp_path, page, capsys):
    source = DATA / "v1.0/telemetry_profiled.json"
    assert report(source, "--html", page) == 0
    assert report(source, "--html", page) == 0
    page.write_text("my own notes")
    assert report(source, "--html", page) == 2
    assert "is no report of virnuc_profiler" in capsys.readouterr().err
    assert page.read_text() == "my own notes"
    assert report(source, "--html", tmp_path) == 2
    (tmp_path / "empty.html").touch()
    assert report(source, "--html", tmp_path / "empty.html") == 0


def test_what_is_reported_on_is_not_replaced(tmp_path, capsys):
    source = tmp_path / "t.json"
    source.write_bytes((DATA / "v1.0/telemetry_profiled.json").read_bytes())
    assert report(source, "--html", source) == 2
    assert "is the file that is reported on" in capsys.readouterr().err


def test_output_writes_the_text_too(tmp_path, page, capsys):
    assert report(DATA / "v1.0/telemetry_profiled.json", "--html", page, "--output", tmp_path / "t.txt") == 0
    assert "Performance Report" in (tmp_path / "t.txt").read_text()
    assert "Performance Report" in capsys.readouterr().out


def test_a_folder_of_several_runs_says_which_to_name(tmp_path, page, capsys):
    for name in ("a", "b"):
        run_of([], 5).save(tmp_path / f"run_{name}.json")
    assert report(tmp_path, "--html", page) == 2
    assert "holds 2 runs, and a page is about one" in capsys.readouterr().err
    assert not page.exists()


def test_without_bokeh_one_sentence_says_what_to_install(page, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "bokeh", None)
    assert report(DATA / "v1.0/telemetry_profiled.json", "--html", page) != 0
    assert "pip install 'virnuc_profiler[html]'" in capsys.readouterr().err


def test_a_comparison_is_printed_and_written(page, capsys):
    sides = [str(DATA / "h200" / name) for name in ("grid_sweep", "adaptive_sweep")]
    assert main(["compare", *sides, "--anyway", "--json", "--html", str(page)]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["kind"] == "virnuc_profiler comparison"
    assert "Report: " in printed.err
    assert "adaptive_sweep against grid_sweep" in text_of(page)


def test_sides_of_the_same_name_are_told_apart(tmp_path, page, capsys):
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_bytes((DATA / "v1.0/run_profiled.json").read_bytes())
    sides = [str(tmp_path / name / "run.json") for name in ("before", "after")]
    assert main(["compare", *sides, "--anyway", "--html", str(page)]) == 0
    assert "after/run.json against before/run.json" in text_of(page)
