# SPDX-License-Identifier: MIT
import json
import logging
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.support.pipelines import back_to_back
from virnuc_profiler import TelemetryLogger
from virnuc_profiler.analysis.model_cost import ModelShape
from virnuc_profiler.capture import calibration as calibrating
from virnuc_profiler.capture.calibration import PRECISIONS, RateSample, calibrate, ceiling_from_samples
from virnuc_profiler.capture.calibration_store import PATH_VARIABLE, calibration_path, load_ceiling, save_calibration
from virnuc_profiler.capture.target import Target
from virnuc_profiler.cli.doctor import render_calibration
from virnuc_profiler.cli.main import main
from virnuc_profiler.sweep.trial.run_files import record_run
from virnuc_profiler.telemetry.reader import read_telemetry
from virnuc_profiler.telemetry.run_result import RunResult

CARD = Target("NVIDIA H200", 0, "GPU-1")


class Meter:
    """A GPU that lowers its clocks after a while."""

    def matmul_rates(self, precision, seconds):
        top = {"bf16": 750e12, "fp16": 760e12, "tf32": 400e12, "fp32": 50e12}[precision]
        rates = [top, 0.99 * top, 0.92 * top, 0.9 * top, 0.91 * top]
        return [RateSample(rate, clock) for rate, clock in zip(rates, [1980, 1900, 1290, 1320, 1305], strict=True)]

    def copy_rates(self, seconds):
        return [2.1e12, 2.0e12]


class MeterWithoutClock(Meter):
    """A meter that cannot read the clock."""

    def matmul_rates(self, precision, seconds):
        return [RateSample(sample.rate) for sample in super().matmul_rates(precision, seconds)]


def calibration(card=CARD, driver="580", torch="2.11+cu130"):
    return calibrate(card, Meter(), driver_version=driver, torch_version=torch, seconds=1)


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    path = tmp_path / "cache" / "calibration.json"
    monkeypatch.setenv(PATH_VARIABLE, str(path))
    return path


def test_the_sustained_rate_is_the_median_of_the_later_half():
    rates = [9.0, 8.0, 7.0, 5.0, 6.0]
    assert ceiling_from_samples("bf16", [RateSample(rate) for rate in rates]) == calibrating.Ceiling("bf16", 6.0, 9.0)
    assert ceiling_from_samples("bf16", [RateSample(9.0)]).flops_per_second == 9.0


@pytest.mark.parametrize(
    ("clocks", "kept"),
    [
        ([1980, 1980, 1300, 1350, 1310], 1310),
        ([1980, 1980, 1300, None, 1310], 1305),
        ([1980, 1980, None, None, None], None),  # the first ones are not those of the sustained rate
        ([1980], 1980),
    ],
)
def test_the_clock_is_the_median_of_the_later_half(clocks, kept):
    assert ceiling_from_samples("bf16", [RateSample(1.0, clock) for clock in clocks]).sm_clock_mhz == kept


def test_every_precision_is_measured_saved_and_loaded():
    found = calibration()
    assert tuple(found.ceilings) == PRECISIONS
    save_calibration(found)
    for precision in PRECISIONS:
        assert load_ceiling(uuid="GPU-1", precision=precision) == found.ceilings[precision]
    assert load_ceiling(uuid="GPU-1", precision="bf16").sm_clock_mhz == 1305
    assert load_ceiling(uuid="GPU-1", precision="bf16", driver_version="580", torch_version="2.11+cu130") is not None
    assert load_ceiling(uuid="GPU-2", precision="bf16") is None
    assert load_ceiling(uuid="GPU-1", precision="fp8") is None
    assert load_ceiling(uuid=None, precision="bf16") is None
    assert load_ceiling(uuid="GPU-1", precision=None) is None
    assert load_ceiling(uuid="GPU-1", precision="bf16", driver_version="590") is None


def test_a_new_calibration_replaces_one_with_the_same_gpu_and_software(store):
    save_calibration(calibration())
    save_calibration(calibration(driver="590"))
    save_calibration(calibration())
    assert len(json.loads(store.read_text())["calibrations"]) == 2


def edit(store, change):
    """Change the bf16 ceiling in the file."""
    document = json.loads(store.read_text())
    change(document["calibrations"][0]["ceilings"]["bf16"])
    store.write_text(json.dumps(document))


def test_a_file_without_clocks_is_read(store):
    save_calibration(calibration())
    edit(store, lambda kept: kept.pop("sm_clock_mhz"))
    assert load_ceiling(uuid="GPU-1", precision="bf16") == calibrating.Ceiling("bf16", pytest.approx(682.5e12), 750e12)


@pytest.mark.parametrize("odd", ["x", -1, 0, [1], {}])
def test_an_invalid_clock_is_dropped_and_its_ceiling_kept(store, odd):
    save_calibration(calibration())
    before = load_ceiling(uuid="GPU-1", precision="bf16")
    edit(store, lambda kept: kept.update(sm_clock_mhz=odd))
    assert load_ceiling(uuid="GPU-1", precision="bf16") == replace(before, sm_clock_mhz=None)


def test_the_file_is_in_the_cache_folder_of_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv(PATH_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert calibration_path() == tmp_path / "virnuc_profiler" / "calibration.json"


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"kind": "something else"}',
        '{"kind": "virnuc_profiler calibration", "calibrations": 3}',
        '{"kind": "virnuc_profiler calibration", "calibrations": [3, {"uuid": "GPU-1", "ceilings": {"bf16": {}}}]}',
    ],
)
def test_a_damaged_file_is_ignored_and_replaced(store, content, caplog):
    store.parent.mkdir()
    store.write_text(content)
    with caplog.at_level(logging.WARNING):
        assert load_ceiling(uuid="GPU-1", precision="bf16") is None
    save_calibration(calibration())
    assert load_ceiling(uuid="GPU-1", precision="bf16") is not None


def test_a_run_uses_the_ceiling_of_its_own_device(tmp_path):
    save_calibration(calibration())
    run = back_to_back(metadata={"precision": "bf16", "hardware": {"driver_version": "580"}})
    path = record_run(TelemetryLogger(tmp_path, "calibrated"), run, ModelShape(33, 1280))
    summary = read_telemetry(path)["summary"]
    assert summary["mfu"] == pytest.approx(summary["achieved_tflops"] * 1e12 / (0.91 * 750e12))
    kept = RunResult.load(tmp_path / "run_calibrated.json").metadata["model_arithmetic"]
    assert kept == {
        "num_layers": 33,
        "hidden_size": 1280,
        "ceiling_flops_per_second": pytest.approx(0.91 * 750e12),
        "ceiling_sm_clock_mhz": 1305,
    }
    other = back_to_back(metadata={"precision": "bf16", "hardware": {"driver_version": "590"}})
    assert (
        "mfu"
        not in read_telemetry(record_run(TelemetryLogger(tmp_path, "other"), other, ModelShape(33, 1280)))["summary"]
    )


def test_doctor_calibrates_and_names_the_file(monkeypatch, capsys, store):
    monkeypatch.setattr(calibrating, "resolve_calibration_target", lambda: CARD)
    monkeypatch.setattr(calibrating, "TorchMeter", Meter)
    assert main(["doctor", "--calibrate"]) == 0
    text = capsys.readouterr().out
    assert "bf16     682.5 TFLOP/s sustained at 1,305 MHz, 750.0 at first" in text
    assert str(store) in text
    assert load_ceiling(uuid="GPU-1", precision="bf16").flops_per_second == pytest.approx(682.5e12)
    assert main(["doctor", "--calibrate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["copy_bytes_per_second"] == 2.0e12


def test_doctor_prints_no_unknown_clock(store):
    text = render_calibration(calibrate(CARD, MeterWithoutClock(), driver_version="580", torch_version="2"), store)
    assert "bf16     682.5 TFLOP/s sustained, 750.0 at first" in text
    assert "MHz" not in text


def test_doctor_says_in_one_sentence_that_there_is_no_gpu(monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["doctor", "--calibrate"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "PyTorch sees none: run" in captured.err


def test_a_file_that_is_no_calibration_is_kept_under_another_name(store, caplog):
    store.parent.mkdir()
    store.write_text("notes of mine")
    save_calibration(calibration())
    kept = store.with_name(f"{store.stem}.unreadable-1{store.suffix}")
    assert kept.read_text() == "notes of mine"
    assert f"{store} is kept as {kept.name}" in caplog.text


SAVE = """
import sys
from virnuc_profiler.capture.calibration import Calibration
from virnuc_profiler.capture.calibration_store import save_calibration
for number in range(20):
    save_calibration(Calibration("a card", sys.argv[1], f"{number}", "2.11", "2026-01-01", {}, 1e12))
"""


def test_processes_that_calibrate_at_once_lose_nothing(store):
    processes = [subprocess.Popen([sys.executable, "-c", SAVE, name]) for name in "ab"]
    assert [process.wait() for process in processes] == [0, 0]
    found = {(entry["uuid"], entry["driver_version"]) for entry in json.loads(store.read_text())["calibrations"]}
    assert found == {(name, str(number)) for name in "ab" for number in range(20)}
