# SPDX-License-Identifier: MIT
"""Files that are made to fill the memory, to hang or to crash their reader: one sentence, and within a memory limit."""

import json
import os

import pytest

from tests.support.command import Finished, run
from tests.support.sweeps import conditions, success
from virnuc_profiler.sweep.plan.steps import plan
from virnuc_profiler.sweep.results.result_files import make_document
from virnuc_profiler.targets.knobs.configuration import BASELINE

MEMORY_BYTES = 1 << 30
GIGABYTE = 1 << 30
MINIMAL = '"per_batch_metrics": []'

LIMITED = (
    "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2); "
    "from virnuc_profiler.cli.main import main; sys.exit(main(sys.argv[2:]))"
)
"""The command in an address space of a GiB, which holds Python and NumPy many times over."""


def run_limited(*arguments) -> Finished:
    return run(MEMORY_BYTES, *arguments, program=("-c", LIMITED), env={"OPENBLAS_NUM_THREADS": "1"})


def refused(finished: Finished) -> str:
    assert finished.code == 2, finished.err
    assert finished.out == ""
    assert finished.error.isprintable()
    assert len(finished.error) < 1000
    return finished.error


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 100_000, "too many to read safely"),
        ('{"summary": ' + "[" * 100_000, "too many to read safely"),
        ('{"summary": ' + "[" * 20_000 + "]" * 20_000 + "}", "nested more than 32"),
        ('{"summary": {"x": 1e400}, ' + MINIMAL + "}", "beyond the range of floating point"),
        ('{"summary": {"x": ' + "9" * 1_000_000 + "}, " + MINIMAL + "}", "digits"),
        ('{"summary": {"total_tokens": 1, "total_tokens": 2}, ' + MINIMAL + "}", "'total_tokens' twice"),
        ("[" + "{}," * 5_000_000 + "0]", "too many to read safely"),
        ('{"kind": "virnuc_profiler run"}', "it has no 'batches'"),
        ('{"kind": "virnuc_profiler run", "schema_version": "1.0", "stages": 1}', "is not a complete saved run"),
        ('{"kind": ["\\u001b[2J"]}', "is not a telemetry file"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_report_refuses_it(tmp_path, text, why):
    path = tmp_path / "telemetry_x.json"
    path.write_text(text)
    assert why in refused(run_limited("report", path))


def test_a_gigabyte_of_telemetry_is_refused(tmp_path):
    path = tmp_path / "run_x.json"
    with path.open("wb") as file:
        file.write(b'{"kind": "virnuc_profiler run", "metadata": "')
        file.truncate(GIGABYTE)
    assert "more than the limit" in refused(run_limited("report", path))
    assert "more than the limit" in refused(run_limited("report", tmp_path.rename(tmp_path.with_name("f")) / path.name))


def test_a_gigabyte_of_nothing_is_no_capture(tmp_path):
    path = tmp_path / "x.sqlite"
    with path.open("wb") as file:
        file.write(b"SQLite format 3\0")
        file.truncate(GIGABYTE)
    assert "is damaged" in refused(run_limited("correlate", path))


def test_pipes_and_devices_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        assert "it is not a file" in refused(run_limited("report", path))
        assert "it is not a file" in refused(run_limited("correlate", path))


@pytest.mark.parametrize(
    "changes",
    [
        {"results": [{"status": "success", "config": {}}]},
        {"best": 5},
        {"best": {}},
        {"baseline": ["x"]},
        {"min_packing": "much", "constraint_met": False},
        {"planned": 10**300, "complete": False, "min_packing": {}},
    ],
)
def test_a_step_of_another_form_is_no_internal_error(tmp_path, changes):
    path = tmp_path / "x.json"
    done = success(BASELINE)
    path.write_text(
        json.dumps({**make_document(plan()["packing"], conditions(), [done], done, planned=1).to_json(), **changes})
    )
    finished = run("report", path)
    assert finished.code in (0, 2)
    assert "internal error" not in finished.err
