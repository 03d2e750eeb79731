# SPDX-License-Identifier: MIT
"""Every command with paths that hold all that a name may hold, and with names inside files that command terminals."""

import dataclasses
import json
import os

import pytest

from tests.support.command import Finished, run
from tests.support.nsys_files import NsysFile, write_capture_of
from tests.support.run_records import batch, packing, run_of, stage
from tests.support.runs import table_of
from virnuc_profiler.telemetry.records import DeviceCapture
from virnuc_profiler.telemetry.run_result import RunResult

NAMES = [
    "two  spaces",
    'it\'s "quoted"',
    "line\nbreak",
    "$(touch gone); `touch gone` & *",
    "é\u202e名\u200b",
    "esc\x1b[2J\x07",
    os.fsdecode(b"not utf-8 \xff"),
    "-x --debug",
]
HOSTILE = "a\x1b[2J\u202e\x9b\u2028b"
ONE_OF_EACH = "".join(NAMES)
TINY = ("--num-sequences", "3", "--cooldown", "0", "--weights", "random", "--device", "cpu", "--model", "8M")


def require_clean(finished: Finished) -> None:
    for line in (finished.out + finished.err).split("\n"):
        assert line.isprintable(), repr(line)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with such a name, which is also where the command is run."""
    path = tmp_path / ONE_OF_EACH
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def fasta(folder):
    path = folder / f"{ONE_OF_EACH}.faa"
    path.write_text(f">{HOSTILE} {HOSTILE}\nMKVLAAGG\n>b\nMKV\n>c\nMMMM\n")
    return path


@pytest.fixture
def recorded(folder):
    stages = [stage("h2d", 1, 2, (1, 2)), stage(HOSTILE, 2, 3, (2, 8))]
    device = DeviceCapture(HOSTILE, "GPU-x", True, reason=HOSTILE)
    names = ("h2d", HOSTILE)
    table = table_of([batch(0, 0, 9, stages, packing([8, 9], 32))], names)
    result = run_of([], 10, device=device, metadata={HOSTILE: HOSTILE})
    result = dataclasses.replace(result, run_id=HOSTILE, stage_names=names, batches=table)
    return result, result.save(folder / f"run_{ONE_OF_EACH}.json")


def test_sweep_says_what_it_would_do(folder, fasta):
    finished = run("sweep", "--dry-run", "--fasta", fasta, "--output-dir", folder / "out", *TINY)
    assert (finished.code, finished.err) == (0, "")
    assert "Results would be in" in finished.out
    require_clean(finished)
    assert list(folder.iterdir()) == [fasta]  # nothing in a name was obeyed


def test_profile_writes_what_report_reads(folder, fasta):
    finished = run("profile", "--fasta", fasta, "--output-dir", folder / ONE_OF_EACH, *TINY)
    assert finished.code == 0, finished.err
    require_clean(finished)
    (saved,) = (folder / ONE_OF_EACH).glob("run_*.json")
    assert len(RunResult.load(saved).batches) == 1
    report = run("report", folder / ONE_OF_EACH, "--output", folder / "text\n.txt")
    assert (report.code, report.err) == (0, "")
    assert (folder / "text\n.txt").read_text() == report.out
    require_clean(report)


def test_report_of_a_saved_run(recorded):
    finished = run("report", recorded[1])
    assert (finished.code, finished.err) == (0, "")
    assert "\\x1b[2J\\u202e\\x9b\\u2028b" in finished.out
    require_clean(finished)


def test_export_of_a_saved_run(folder, recorded):
    trace, tables = folder / f"{ONE_OF_EACH}.pftrace", folder / "tables\n"
    finished = run("export", recorded[1], "--trace", trace, "--csv", tables)
    assert (finished.code, finished.err) == (0, "")
    require_clean(finished)
    assert trace.stat().st_size > 100
    for file in tables.iterdir():
        assert file.read_bytes().decode().replace("\r\n", "").isprintable()


def test_correlate_beside_a_run_and_alone(folder, recorded):
    capture = folder / f"{ONE_OF_EACH}.sqlite"
    write_capture_of(recorded[0], capture, offset_ns=0, utc_epoch_ns=None)
    finished = run("correlate", recorded[1], capture, "--json", folder / f"{ONE_OF_EACH}.json", "--batches")
    assert (finished.code, finished.err) == (0, "")
    require_clean(finished)
    assert json.loads((folder / f"{ONE_OF_EACH}.json").read_text())
    alone = run("correlate", capture, "--range", HOSTILE, "--domain", "virnuc_profiler")
    assert (alone.code, alone.err) == (0, "")
    require_clean(alone)


def test_names_of_a_capture(folder):
    with NsysFile(folder / "x.sqlite", version=HOSTILE) as file:
        file.domain(1, HOSTILE)
        file.range(HOSTILE, 0, 10, domain=1)
        file.range("other", 0, 10)
        file.launch(1, 2, 5, demangledName=file.string(HOSTILE))
    for options in ((), ("--domain", HOSTILE), ("--range", HOSTILE), ("--domain", HOSTILE, "--range", "absent")):
        finished = run("correlate", "x.sqlite", *options)
        assert finished.code == (2 if HOSTILE not in options or "absent" in options else 0) or not options
        require_clean(finished)


@pytest.mark.parametrize("name", [*NAMES, ONE_OF_EACH])
def test_an_error_names_a_missing_file_and_is_one_line(folder, name):
    finished = run("report", folder / name)
    assert finished.code == 2
    assert "does not exist" in finished.error
    require_clean(finished)


def test_tracebacks_and_log_lines_are_escaped_too(folder, fasta):
    fasta.write_text(f">{HOSTILE}\n>b\nMK\n")
    finished = run("profile", "--debug", "--fasta", fasta, "--output-dir", folder / "out", *TINY)
    assert finished.code == 2
    assert "WorkloadError" in finished.err
    assert "has no residues" in finished.err
    require_clean(finished)


@pytest.mark.parametrize(
    "arguments", [(HOSTILE,), ("report",), ("sweep", "--steps", HOSTILE), ("report", HOSTILE, "y")]
)
def test_what_is_mistyped_is_quoted_escaped(arguments):
    finished = run(*arguments)
    assert finished.code == 2
    require_clean(finished)
