# SPDX-License-Identifier: MIT
"""The file of metrics: written whole, again and again, and never at the cost of the command."""

import os
import threading
from pathlib import Path

import pytest

from tests.support.command import wait_until
from tests.unit.cli.live.test_view_rows import READING
from virnuc_profiler.cli.live import metrics_file as subject
from virnuc_profiler.cli.live.metrics_file import gpu_metrics, metrics_file
from virnuc_profiler.reports.export.open_metrics import gauge


def state(running):
    return [gauge("virnuc_x_running", "Whether it runs", int(running), {})]


@pytest.mark.parametrize(("name", "end"), [("x.prom", " 1\n"), ("x.txt", "# EOF\n")])
def test_the_file_says_whether_the_command_still_runs(tmp_path, name, end):
    path = tmp_path / name
    with metrics_file(path, state):
        wait_until(path.exists)
        assert "virnuc_x_running{} 1\n" in path.read_text()
        assert path.read_text().endswith(end)
    assert "virnuc_x_running{} 0\n" in path.read_text()
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def test_without_a_file_nothing_runs():
    threads = threading.active_count()
    with metrics_file(None, state):
        assert threading.active_count() == threads


def test_a_reader_never_sees_a_part(tmp_path, monkeypatch):
    monkeypatch.setattr(subject, "EVERY_S", 0.001)
    path = tmp_path / "x.txt"

    def many(running):
        return [gauge(f"virnuc_x{number}", "X", number, {}) for number in range(500)]

    with metrics_file(path, many):
        wait_until(path.exists)
        sizes = {len(path.read_text()) for _ in range(300)}
    assert len(sizes) == 1


@pytest.mark.parametrize("place", ["missing/x.prom", "file/x.prom", "folder.prom", "/dev/full", "/proc/x.prom"])
def test_what_cannot_be_written_is_warned_of_once(tmp_path, caplog, monkeypatch, place):
    monkeypatch.setattr(subject, "EVERY_S", 0.01)
    (tmp_path / "file").touch()
    (tmp_path / "folder.prom").mkdir()
    calls = []
    with metrics_file(tmp_path / place, lambda running: calls.append(running) or state(running)):
        wait_until(lambda: len(calls) > 5)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].endswith("the command goes on without them")
    assert Path("/dev/full").is_char_device()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_warned_of_once(tmp_path, caplog):
    tmp_path.chmod(0o500)
    with metrics_file(tmp_path / "x.prom", state):
        pass
    assert len(caplog.messages) == 1


def test_a_disk_that_has_room_again_gets_the_metrics(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(subject, "EVERY_S", 0.01)
    path = tmp_path / "later" / "x.prom"
    with metrics_file(path, state):
        wait_until(lambda: caplog.messages)
        path.parent.mkdir()
        wait_until(path.exists)
    assert len(caplog.messages) == 1


def test_metrics_that_fail_end_nothing(tmp_path, caplog):
    with metrics_file(tmp_path / "x.prom", lambda running: 1 / 0):
        wait_until(lambda: caplog.messages)
    assert "ZeroDivisionError" in caplog.text


def test_the_gpu_in_base_units():
    values = {metric.name: metric.samples[0][1] for metric in gpu_metrics(READING, {})}
    assert values == {
        "virnuc_gpu_utilization_ratio": 0.97,
        "virnuc_gpu_power_watts": 684.0,
        "virnuc_gpu_memory_used_bytes": 5_980_000_000,
        "virnuc_gpu_sm_clock_hertz": 1_485_000_000,
        "virnuc_gpu_temperature_celsius": 64,
    }
    assert list(gpu_metrics(None, {})) == []


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
