# SPDX-License-Identifier: MIT
"""``export`` from files to a trace and tables."""

import csv
import gzip
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.run_records import batch, packing, run_of
from virnuc_profiler.cli.main import main
from virnuc_profiler.reports.telemetry_file import write_telemetry
from virnuc_profiler.telemetry.run_result import RunResult

DATA = Path(__file__).parents[3] / "data"
H200 = DATA / "h200" / "run_650m.json"


def command(capsys, *argv):
    code = main(["export", *map(str, argv)])
    output = capsys.readouterr()
    return code, output.out, output.err


def misuse(capsys, *argv):
    code, out, err = command(capsys, *argv)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1, err
    return err


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_everything_at_once(capsys, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    trace = tmp_path / "new" / "run.pftrace.gz"
    code, out, err = command(capsys, H200, "--trace", trace, "--csv", tmp_path / "csv", "--parquet", tmp_path / "pq")
    assert (code, err) == (0, "")
    assert "1 run, 60 batches" in out
    assert gzip.decompress(trace.read_bytes())[:1] == b"\x0a"
    run = RunResult.load(H200)
    readings = sum(len(getattr(run.gpu, tier)) for tier in ("fast", "gpm", "energy", "processes"))
    for name, count in (("batches", 60), ("stages", len(run.batches.stages)), ("samples", readings)):
        rows, table = rows_of(tmp_path / "csv" / f"{name}.csv"), parquet.read_table(tmp_path / "pq" / f"{name}.parquet")
        assert (len(rows), table.num_rows) == (count, count)
        assert list(rows[0]) == table.column_names
        for cell, value in zip(rows[-1].values(), table.slice(count - 1).to_pylist()[0].values(), strict=True):
            assert cell == ("" if value is None else str(value).lower() if isinstance(value, bool) else str(value))
    assert table.schema.metadata[b"run id"] == b"run_h200"


def test_ranks_share_a_table_and_a_trace(capsys, tmp_path):
    for rank in range(2):
        shutil.copy(H200, tmp_path / f"run_x_rank{rank}of2.json")
    (tmp_path / "run_x_rank0of2.earlier-1.json").write_text("not read")
    code, out, _ = command(capsys, tmp_path, "--trace", tmp_path / "all.pftrace", "--csv", tmp_path / "csv")
    assert code == 0
    assert "2 runs, 120 batches; all runs are of one machine, and share its monotonic clock" in out
    assert [row["rank"] for row in rows_of(tmp_path / "csv" / "batches.csv")] == ["0"] * 60 + ["1"] * 60


def test_a_telemetry_file_stands_for_the_run_beside_it(capsys, tmp_path):
    run = run_of([batch(0, 0, 1, (), packing([3], 8))], 1)
    telemetry = write_telemetry(run, tmp_path / "telemetry_x.json")
    assert "has no saved run run_x.json beside it" in misuse(capsys, telemetry, "--csv", tmp_path / "csv")
    run.save(tmp_path / "run_x.json")
    assert command(capsys, telemetry, "--csv", tmp_path / "csv")[0] == 0


def test_a_part_of_a_run_is_a_run(capsys, tmp_path):
    assert command(capsys, H200, "--csv", tmp_path, "--batches", "10:13")[0] == 0
    assert [row["batch"] for row in rows_of(tmp_path / "batches.csv")] == ["10", "11", "12"]
    assert {row["batch"] for row in rows_of(tmp_path / "stages.csv")} == {"10", "11", "12"}
    assert command(capsys, H200, "--csv", tmp_path, "--batches", "100:")[0] == 0
    assert rows_of(tmp_path / "batches.csv") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([H200], "nothing to write: give --trace"),
        ([H200, "--trace", "out.json"], r"must be named *.pftrace"),
        ([H200, "--trace", "gone.pftrace"], None),
        (["absent.json", "--csv", "out"], "cannot read absent.json"),
        ([DATA / "v1.1", "--csv", "out"], "2 runs that are not the ranks of one job; name some of them: run_profiled"),
        (["empty", "--csv", "out"], "empty has no saved run"),
        ([H200, "--csv", "file"], "--csv file is a file; it must be a folder"),
        (["file", "--csv", "out"], "file is not valid JSON"),
        (["other.json", "--csv", "out"], "other.json is not a saved run"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "other.json").write_text(json.dumps({"kind": "other"}))
    if message is None:
        assert command(capsys, *arguments)[0] == 0
    else:
        assert message in misuse(capsys, *arguments)
        assert not (tmp_path / "out").exists()


def test_a_range_that_is_none_is_refused(capsys, tmp_path):
    code, _, err = command(capsys, H200, "--csv", tmp_path, "--batches", "5")
    assert code == 2
    assert "'5' is not a range of batches such as 1000:2000" in err


def test_a_missing_pyarrow_is_named_before_files_are_read(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    code, _, err = command(capsys, "absent.json", "--parquet", tmp_path)
    assert code == 1
    assert "Parquet files need pyarrow" in err
    assert "virnuc_profiler[export]" in err


def test_the_ranks_of_a_folder_are_in_the_order_of_their_numbers(tmp_path):
    for rank in range(11):
        run = replace(run_of([batch(rank, 0, 10)], 10), run_id=f"id{rank}")
        run.save(tmp_path / f"run_x_rank{rank}of11.json")
    assert main(["export", str(tmp_path), "--csv", str(tmp_path / "csv")]) == 0
    rows = rows_of(tmp_path / "csv" / "batches.csv")
    assert [(row["rank"], row["run_id"]) for row in rows] == [(str(rank), f"id{rank}") for rank in range(11)]
