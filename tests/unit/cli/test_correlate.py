# SPDX-License-Identifier: MIT
"""``correlate`` from files to text, JSON and exit codes."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import pytest
from benchmarks.correlate_memory import measure, write_export

from tests.support.nsys_files import OTHER_THREAD, START_END, NsysFile, write_capture_of
from tests.support.run_records import MS, batch, run_of, stage
from virnuc_profiler.cli.main import main
from virnuc_profiler.telemetry.records import DeviceCapture

OFFSET = 987_654_321
UTC_OF_RUN = 1_740_830_400_000 * MS  # run_of's started_at


@pytest.fixture(autouse=True)
def wide_terminal_and_no_hurry(monkeypatch):
    """One line for each row, whatever terminal the tests run in, and no word on slow work, however busy the machine."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("virnuc_profiler.cli.terminal._FIRST_S", 3600.0)


@pytest.fixture
def run():
    """Twenty batches; device times of forward begin 5 µs before its kernel does."""
    records = [
        batch(n, 20 * n, 20 * n + 15, (
            stage("fetch", 20 * n, 20 * n + 1),
            stage("collate", 20 * n, 20 * n + 0.5),
            stage("forward", 20 * n + 1, 20 * n + 2, (20 * n + 3, 20 * n + 13)),
        ))
        for n in range(20)
    ]  # fmt: skip
    return run_of(records, 420, device=DeviceCapture("NVIDIA H200", timed=True))


@pytest.fixture
def files(run, tmp_path):
    """A saved run and its capture."""
    run_file, export = tmp_path / "run_a.json", tmp_path / "capture.sqlite"
    run.save(run_file)
    write_capture_of(run, export, offset_ns=OFFSET, utc_epoch_ns=UTC_OF_RUN - OFFSET)
    return run_file, export


def correlate(capsys, *argv):
    code = main(["correlate", *map(str, argv)])
    output = capsys.readouterr()
    return code, output.out, output.err


def misuse(capsys, *argv):
    """The one sentence of a command that cannot be done as it was asked for."""
    code, out, err = correlate(capsys, *argv)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1, err
    assert err.startswith("virnuc-profiler")
    return err


def test_a_run_and_its_capture(capsys, files):
    code, out, err = correlate(capsys, *files)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "Run made-by-hand in Nsight Systems 2025.3.1.1"
    figures, differences = (line.split(" | ") for line in out.splitlines() if line.startswith("forward | "))
    assert [cell.strip() for cell in figures] == [
        "forward", "20/20", "9.995", "9.995", "9.995", "0.000", "2.003", "10.000", "+0.005", "100.0%",
    ]  # fmt: skip
    assert [cell.strip() for cell in differences] == ["forward", "20", "+5.0 µs", "+5.0 µs", "0", "-3.0 µs", "+2.0 µs"]
    (row,) = (line for line in out.splitlines() if line.startswith("fetch"))
    assert row.count("n/a") == 8
    assert "Batches: 20 in the run, 20 in the capture, 20 matched" in out
    assert "GPU busy in the steady part, 0.340 s: 49.98% by the capture; in device stages, at most: 50.00%" in out
    assert "collate: has no ranges in the capture" in out
    assert "987,656,321 ns apart" in out
    assert "void kernel<int>(int)" in out


def test_the_json_has_what_the_table_has_and_every_batch(capsys, files, tmp_path):
    target = tmp_path / "out.json"
    assert correlate(capsys, *files, "--json", target)[0] == 0
    document = json.loads(target.read_text())
    assert (document["kind"], document["schema_version"]) == ("virnuc_profiler correlation", "1.1")
    assert document["batches"] == {"in_run": 20, "in_capture": 20, "matched": 20}
    assert document["clock"] == {"offset_ns": OFFSET + 2000, "deviation_p99_ns": 0, "deviation_max_ns": 0}
    assert document["busy"] == {
        "window_ns": 340_000_000, "intervals": pytest.approx(0.5), "operations": pytest.approx(169.915 / 340),
    }  # fmt: skip
    fetch, collate, forward = document["stages"]
    assert forward["agreement"] == {
        "batches": 20, "share_within": 1.0, "median_difference_ns": 5000, "worst_difference_ns": 5000, "worst_batch": 0,
        "median_start_difference_ns": -3000, "median_end_difference_ns": 2000,
    }  # fmt: skip
    assert forward["counts"]["matched"] == 20
    assert [entry["batch"] for entry in forward["batches"]] == list(range(20))
    assert forward["batches"][0]["gpu"]["span_ns"] == 9_995_000
    assert forward["gpu"]["kernels"] == [
        {"kind": "kernel", "name": "void kernel<int>(int)", "operations": 20, "total_ns": 199_900_000}
    ]
    assert (fetch["agreement"], fetch["batches"][0]["gpu"], collate["batches"]) == (None, None, [])


def test_some_of_the_stages_are_not_held_against_how_busy_the_device_was(capsys, files):
    assert "GPU busy in the steady part" not in correlate(capsys, *files, "--range", "forward")[1]


def test_a_line_for_every_batch(capsys, files):
    out = correlate(capsys, *files, "--batches", "--range", "forward", "--top", 0)[1]
    assert len([line for line in out.splitlines() if line.startswith("forward | ")]) == 22
    assert "Top kernels" not in out
    assert "fetch" not in out
    assert "collate" not in out


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("option", [("--top", 3), ("--batches",), ("--range", "forward", "--top=3")])
def test_options_may_stand_anywhere(capsys, files, place, option):
    argv = [*files[:place], *option, *files[place:]]
    assert correlate(capsys, *argv) == correlate(capsys, *option, *files)
    assert correlate(capsys, *argv)[0] == 0


def test_names_that_begin_with_a_dash_stand_behind_two(capsys, files, monkeypatch):
    run_file, export = files
    export.rename(export.with_name("-odd.sqlite"))
    monkeypatch.chdir(export.parent)
    assert correlate(capsys, "--top", 3, "--", run_file.name, "-odd.sqlite")[0] == 0


def test_more_files_than_two_are_refused(capsys, files):
    assert "unrecognized arguments: more.sqlite" in misuse(capsys, *files, "--top", 3, "more.sqlite")
    assert "required: NSYS.sqlite" in misuse(capsys, "--top", 3)


@pytest.mark.parametrize("name", ["run_a.json", "telemetry_a.json", "."])
def test_a_run_is_found_by_its_telemetry_or_folder_too(capsys, files, tmp_path, name):
    (tmp_path / "telemetry_a.json").write_text("{}")
    assert correlate(capsys, tmp_path / name, files[1])[0] == 0


def test_earlier_runs_in_the_capture_do_no_harm(capsys, run, files, tmp_path):
    export = tmp_path / "more.sqlite"
    write_capture_of(run, export, offset_ns=OFFSET, utc_epoch_ns=UTC_OF_RUN - OFFSET, repeats=(-7_000 * MS,))
    out = correlate(capsys, files[0], export)[1]
    assert "20 matched" in out
    assert "forward: 20 of the capture not in the run, 20 repeated in the capture" in out


def test_a_domain_that_was_named_before_the_capture_began(capsys, run, files, tmp_path):
    export = tmp_path / "nameless.sqlite"
    write_capture_of(run, export, offset_ns=OFFSET, utc_epoch_ns=None, domain=None)
    assert correlate(capsys, files[0], export)[0] == 0


def test_ranges_of_any_program(capsys, tmp_path):
    export = tmp_path / "other.sqlite"
    with NsysFile(export) as file:
        file.domain(1, "theirs")
        file.range("step", 0, 100, domain=1)
        file.range("load", 0, 50)
        file.range("crossing", 0, 50, kind=START_END, endGlobalTid=OTHER_THREAD)
        file.range("open", 0, None)
        file.launch(10, 200, 1_200_200)
        file.launch(60, 1_200_200, 2_200_200, device=1)
    code, out, _ = correlate(capsys, export)
    assert code == 0
    names = [line.split(" | ")[1].strip() for line in out.splitlines()[2:7]]
    assert names == ["Operator", "load", "step", "(in no range)", "(all GPU time)"]
    ungrouped = correlate(capsys, export, "--no-group")[1]
    assert [line.split(" | ")[1].strip() for line in ungrouped.splitlines()[2:5]] == ["Range", "step", "load"]
    assert "Left out: 1 range that ends on another thread" in out
    assert "Left out: 1 range that had not ended" in out
    assert "2 devices" in out
    assert "load" not in correlate(capsys, export, "--domain", "theirs")[1]
    assert "step" not in correlate(capsys, export, "--domain", "default")[1]
    both = correlate(capsys, export, "--range", "load", "--range", "step", "--json", tmp_path / "out.json")[1]
    assert "Top kernels of load" in both
    document = json.loads((tmp_path / "out.json").read_text())
    assert {entry["name"]: entry["total_ns"] for entry in document["ranges"]} == {"step": 2_200_000, "load": 1_200_000}
    assert [entry["device"] for entry in document["devices"]] == [0, 1]
    assert document["projections"][0]["gpu"]["operations"] == 2
    step = (
        {"device": 0, "self_ns": 0, "total_ns": 1_200_000},
        {"device": 1, "self_ns": 1_000_000, "total_ns": 1_000_000},
    )
    by_name = {entry["name"]: entry for entry in document["operators"]}
    assert by_name["step"]["devices"] == list(step)
    assert (by_name["load"]["self_ns"], by_name["load"]["total_ns"]) == (1_200_000, 1_200_000)
    assert document["self_times"] == {
        "devices": [0, 1],
        "ranges_ns": [1_200_000, 1_000_000],
        "other_ranges_ns": [0, 0],
        "no_range_ns": [0, 0],
        "all_ns": [1_200_000, 1_000_000],
    }


def test_operators_of_pytorch_are_one_line_each(capsys, tmp_path):
    export = tmp_path / "torch.sqlite"
    with NsysFile(export) as file:
        for number in range(300):
            start = 1000 * number
            file.range(f"aten::to, op_id = {2 * number}", start, start + 100)
            file.range(f"aten::copy_, seq = 4, op_id = {2 * number + 1}", start + 10, start + 50)
            file.launch(start + 20, start + 200, start + 900, device=number % 2)
            file.launch(start + 60, start + 900, start + 1000, device=number % 2)
        file.work("KERNEL", 10**6, 10**6 + 80_000, 9999)
    out = correlate(capsys, export)[1]
    table = [[cell.strip() for cell in line.split("|")] for line in out.splitlines()[2:7]]
    assert table == [
        ["Operator", "Ranges", "Operations", "GPU self", "Self share", "GPU total"],
        ["aten::copy_", "300", "300", "0.210", "65.6%", "0.210"],
        ["aten::to", "300", "600", "0.030", "9.38%", "0.240"],
        ["(in no range)", "", "", "0.080", "25.0%", ""],
        ["(all GPU time)", "", "", "0.320", "100.0%", ""],
    ]
    devices = [[cell.strip() for cell in line.split(" | ")] for line in out.splitlines()[-5:]]
    assert devices == [
        ["GPU self by device", "Device 0", "Device 1"],
        ["aten::copy_", "52.5%", "87.5%"],
        ["aten::to", "7.50%", "12.5%"],
        ["(in no range)", "40.0%", "0.0%"],
        ["(all GPU time, ms)", "0.200", "0.120"],
    ]
    short = correlate(capsys, export, "--top", 1, "--sort", "total")[1]
    assert short.splitlines()[3].startswith("aten::to")
    assert "Not shown: 1 operator with 65.6% of all GPU time" in " ".join(short.split())
    assert "aten::copy_, seq = 4, op_id = 7" in correlate(capsys, export, "--no-group", "--top", 600)[1]
    one = correlate(capsys, export, "--range", "aten::to, op_id = 0")[1]
    assert [cell.strip() for cell in one.splitlines()[3].split(" | ")][:3] == ["aten::to", "1", "2"]
    assert "(other ranges) " in one


def test_ranges_may_be_asked_for_by_a_pattern(capsys, tmp_path):
    with NsysFile(tmp_path / "x.sqlite") as file:
        for number in range(3):
            file.range(f"copy, op_id = {number}", 100 * number, 100 * number + 50)
            file.launch(100 * number + 1, 100 * number + 10, 100 * number + 20)
        file.range("mul, op_id = 9", 900, 950)
    for pattern in ("copy, *", "copy", "c?p*"):
        code, out, _ = correlate(capsys, tmp_path / "x.sqlite", "--range", pattern, "--top", 9, "--no-group")
        assert code == 0
        assert out.count("copy, op_id") >= 3
        assert "mul" not in out
    err = misuse(capsys, tmp_path / "x.sqlite", "--range", "cop")
    assert "there are: copy (3)" in err
    assert "mul" not in err


def test_an_export_in_the_place_of_a_run_is_named(capsys, files):
    run_file, export = files
    assert "is an SQLite file, not JSON: an export of nsys comes after the RUN" in misuse(capsys, export, run_file)


def test_names_from_a_file_cannot_command_the_terminal(capsys, tmp_path):
    export = tmp_path / "evil.sqlite"
    with NsysFile(export, version="\x1b[31m") as file:
        file.range("\x1b[2J", 0, 100)
        file.launch(10, 200, 300, demangledName=file.string("\x1b]0;owned\x07"))
    out = correlate(capsys, export, "--domain", "default")[1]
    assert "\x1b" not in out
    assert "\\x1b[2J" in out


def test_nor_can_the_name_of_a_run(capsys, run, files):
    replace(run, run_id="\x1b[2J").save(files[0])
    assert correlate(capsys, *files)[1].startswith("Run \\x1b[2J in Nsight Systems")


def test_a_capture_without_ranges_gives_its_devices(capsys, tmp_path):
    export = tmp_path / "plain.sqlite"
    with NsysFile(export) as file:
        file.launch(10, 200, 1_200_200)
    code, out, _ = correlate(capsys, export)
    assert code == 0
    assert "the capture has no NVTX ranges" in out
    assert "1.200" in out
    assert "no NVTX ranges; capture with nsys profile" in misuse(capsys, export, "--range", "x")


def test_an_empty_capture(capsys, tmp_path):
    export = tmp_path / "empty.sqlite"
    with NsysFile(export):
        pass
    code, out, _ = correlate(capsys, export)
    assert code == 0
    assert "no GPU operations" in out


def test_unknown_domains_and_names_list_what_there_is(capsys, files):
    assert "no ranges in the domain X; there are: virnuc_profiler (40)" in misuse(capsys, files[1], "--domain", "X")
    assert "no range X; there are: fetch (20), forward (20)" in misuse(capsys, files[1], "--range", "X")
    assert "no range pool" in misuse(capsys, *files, "--range", "pool")


def test_a_capture_of_something_else(capsys, files, tmp_path):
    export = tmp_path / "other.sqlite"
    with NsysFile(export) as file:
        file.range("step", 0, 100)
    assert "no ranges in the domain virnuc_profiler; there are: default (1)" in misuse(capsys, files[0], export)


def test_a_run_and_a_capture_of_another_run(capsys, run, files, tmp_path):
    other = tmp_path / "other.sqlite"
    write_capture_of(run, other, offset_ns=OFFSET, utc_epoch_ns=UTC_OF_RUN - OFFSET + 86_400_000 * MS)
    sentence = misuse(capsys, files[0], other)
    assert "are not of the same run" in sentence
    assert "86,400 s apart" in sentence


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot read"), (b"text", "nsys export --type sqlite"), (b"SQLite format 3\0" + b"x" * 99, "damaged")],
)
def test_exports_that_are_none(capsys, files, tmp_path, content, words):
    export = tmp_path / "bad.sqlite"
    if content is not None:
        export.write_bytes(content)
    for argv in ([export], [files[0], export]):
        sentence = misuse(capsys, *argv)
        assert words in sentence
        assert "bad.sqlite" in sentence


def test_runs_that_are_none(capsys, files, tmp_path):
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "telemetry_b.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "run_b.json").write_text("{}")
    for name, words in {
        "absent.json": "does not exist",
        "other.json": "is not a saved run",
        "empty": "holds 0 saved runs",
        ".": "holds 2 saved runs",
    }.items():
        assert words in misuse(capsys, tmp_path / name, files[1])
    (tmp_path / "run_b.json").unlink()
    assert "no saved run run_b.json beside it" in misuse(capsys, tmp_path / "telemetry_b.json", files[1])


def test_options_that_make_no_sense(capsys, files):
    assert "--batches needs a RUN" in misuse(capsys, files[1], "--batches")
    for target in files:
        before = target.read_bytes()
        assert "is a file that is read" in misuse(capsys, *files, "--json", target)
        assert target.read_bytes() == before
        for option in ("--html", "--trace"):
            assert "is a file that is read" in misuse(capsys, *files, option, target)
    assert "must be named *.pftrace" in misuse(capsys, files[1], "--trace", files[1].with_name("trace.json"))
    same = files[1].with_name("x")
    assert "--html" in misuse(capsys, files[1], "--json", same, "--html", same)
    assert not same.exists()
    same.write_text("mine")
    assert "is no report of virnuc_profiler" in misuse(capsys, files[1], "--html", same)
    assert "NSYS.sqlite" in misuse(capsys)
    assert "at least 0" in misuse(capsys, files[1], "--top", "-1")


def test_it_answers_without_torch(files):

    code = "import sys; from virnuc_profiler.cli.main import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, "correlate", *map(str, files)], check=False).returncode == 0


def test_gpu_work_that_no_range_explains_is_stated(capsys, tmp_path):
    export = tmp_path / "other.sqlite"
    with NsysFile(export) as file:
        file.range("step", 0, 1000)
        file.range("idle", 2000, 3000)
        for number in range(10):
            file.launch(10 + 5 * number, 10_000 * MS * number, 10_000 * MS * number + MS // 10)
            file.work(
                "KERNEL", 5000 * MS + 10_000 * MS * number, 5000 * MS + 10_000 * MS * number + 7_900_000, 900 + number
            )
        file.launch(5000, 1, 100_001)
        file.call(500, 502, 950, thread=OTHER_THREAD)
        file.work("KERNEL", 1000 * MS, 1001 * MS, 950)
    code, out, err = correlate(capsys, export, "--json", tmp_path / "out.json")
    assert (code, err) == (0, "")
    rows = {
        cells[0].strip(): [cell.strip() for cell in cells[1:]]
        for line in out.splitlines()
        if (cells := line.split("|"))
    }
    assert rows["launched in these ranges"] == ["10", "1.000", "1.23%", "1.000"]
    assert rows["outside all of them"] == ["1", "0.100", "0.123%", "0.100"]
    assert rows["by other threads meanwhile"] == ["1", "1.000", "1.23%", "1.000"]
    assert rows["without a launching call"] == ["10", "79.000", "97.4%", "79.000"]
    assert rows["all"] == ["22", "81.100", "100.0%", "81.000"]
    assert "Warning: 98.8% of the GPU time was not launched in these ranges" in out
    assert "Warning: 1 of 2 names have no GPU work: idle" in out
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["gpu_work"]["without_launch"] == {"operations": 10, "total_ns": 79_000_000, "busy_ns": 79_000_000}
    assert (
        document["gpu_work"]["other_threads"]["operations"] == document["gpu_work"]["outside_ranges"]["operations"] == 1
    )
    assert len(document["warnings"]) == 2


def test_work_that_ranges_explain_brings_no_warning(capsys, files, tmp_path):
    for argv in ([files[1], "--range", "forward"], files):
        out = correlate(capsys, *argv, "--json", tmp_path / "out.json")[1]
        assert "launched in these ranges   |         20 | 199.900 | 100.0% |  199.900" in out
        assert "Warning" not in out
        assert json.loads((tmp_path / "out.json").read_text())["warnings"] == []


def test_a_stage_that_the_run_timed_on_the_device_and_whose_ranges_launch_nothing(capsys, files):
    with closing(sqlite3.connect(files[1])) as database, database:
        database.execute("DELETE FROM CUPTI_ACTIVITY_KIND_RUNTIME WHERE correlationId <= 5")
    out = correlate(capsys, *files)[1]
    assert "Warning: forward: 5 of 20 matched ranges have no GPU work, but the run timed them on the device" in out
    assert "Warning: 25.0% of the GPU time was not launched in these ranges" in out
    assert "without a launching call   |          5 |  49.975 |  25.0%" in out


def test_a_graph_counts_once_for_its_device(capsys, tmp_path):
    export = tmp_path / "graph.sqlite"
    with NsysFile(export) as file:
        graph = file.launch(0, 10, 1_000_010, kind="GRAPH_TRACE")
        file.work("KERNEL", 10, 400_010, graph)
        file.work("KERNEL", 400_010, 1_000_010, graph)
    out = correlate(capsys, export)[1]
    assert "0      |          2 |   1.000 |   1.000 |    1.000 | 1.000" in out
    assert "CUDA graph" not in out


@pytest.mark.parametrize("width", [60, 80])
def test_every_line_fits_the_terminal(capsys, files, tmp_path, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    exports = tmp_path / "one.sqlite", tmp_path / "several.sqlite"
    for export in exports:
        with NsysFile(export) as file:
            file.domain(1, "a domain with a long name " * 3)
            file.range("at::native::" + "elementwise_kernel, " * 9 + "op_id = 317175", 0, 100, domain=1)
            kernel = file.string("void at::native::kernel<float, " + "int, " * 40)
            file.launch(10, 200, 12_345_678_901_200, demangledName=kernel)
            file.work("KERNEL", 300, 12_345_678_901_200, 77, device=1)
            if export == exports[1]:
                file.range("step" * 50, 0, 1000)
                for device in range(2, 9):
                    file.launch(120, 200, 345_678_901_200, device=device)
    options = ([], ["--no-group"], ["--range", "*"], ["--sort", "total", "--top", "1"])
    for argv in (*([path, *more] for path in exports for more in options), [files[1]], [*files, "--batches"]):
        out = correlate(capsys, *argv)[1]
        assert max(map(len, out.splitlines())) <= width, out
    assert "= 317175" in correlate(capsys, exports[0], "--no-group")[1]


def test_long_work_says_what_it_is_doing(capsys, files, monkeypatch):
    monkeypatch.setattr("virnuc_profiler.cli.terminal._FIRST_S", 0.0)
    code, _, err = correlate(capsys, files[1])
    assert code == 0
    assert "reading NVTX_EVENTS, 41 rows so far ..." in err


@pytest.mark.slow
def test_memory_is_a_small_multiple_of_a_file_with_a_name_for_each_range(tmp_path):
    peaks, sizes = [], []
    for ranges in (10, 60_000):
        export, target = tmp_path / f"{ranges}.sqlite", tmp_path / f"{ranges}.json"
        write_export(export, ranges, 10, registered=False)
        peaks.append(measure(str(export), "--json", str(target))[2])
        sizes.append(export.stat().st_size)
    assert peaks[1] - peaks[0] < 10 * (sizes[1] - sizes[0])  # 5 times, while a copy as objects takes 60
    document = json.loads(target.read_text())
    assert (len(document["ranges"]), len(document["projections"])) == (60_000, 60_000)
    assert document["gpu_work"]["in_ranges"]["operations"] == 6_000
