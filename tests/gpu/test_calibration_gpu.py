# SPDX-License-Identifier: MIT
"""Calibration on a real GPU, shortened."""

import pytest

from virnuc_profiler.capture.calibration import PRECISIONS, TorchMeter, calibrate, resolve_calibration_target
from virnuc_profiler.capture.calibration_store import PATH_VARIABLE, load_ceiling, save_calibration

pytestmark = pytest.mark.gpu


def test_ceilings_are_measured_saved_and_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path / "calibration.json"))
    target = resolve_calibration_target()
    found = calibrate(target, TorchMeter(), driver_version="1", torch_version="2", seconds=0.4)
    print(found)
    save_calibration(found)
    for precision in PRECISIONS:
        ceiling = load_ceiling(uuid=target.uuid, precision=precision)
        assert ceiling == found.ceilings[precision]
        assert 1e12 < ceiling.flops_per_second < 1e16
        assert 200 < ceiling.sm_clock_mhz < 4000
    assert found.ceilings["bf16"].flops_per_second > 2 * found.ceilings["fp32"].flops_per_second
    assert 1e10 < found.copy_bytes_per_second < 1e14
