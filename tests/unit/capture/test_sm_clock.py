# SPDX-License-Identifier: MIT
import sys
import types

import pytest
import torch

from virnuc_profiler.capture import calibration
from virnuc_profiler.capture.calibration import TorchMeter
from virnuc_profiler.capture.sm_clock import sm_clock_reader
from virnuc_profiler.capture.target import Target


def lost(*arguments):
    raise RuntimeError("GPU is lost")


class FakeNvml(types.ModuleType):
    """Two GPUs, the second with a MIG slice. The calls named in `broken` fail."""

    NVML_CLOCK_SM = 1

    def __init__(self, broken=(), clock_mhz=1305):
        super().__init__("pynvml")
        self.open = 0
        uuids = {"GPU-0": "card 0", "GPU-1": "card 1", "MIG-1": "slice of card 1"}
        answers = {
            "nvmlInit": lambda: self.count(1),
            "nvmlShutdown": lambda: self.count(-1),
            "nvmlDeviceGetHandleByUUID": uuids.__getitem__,
            "nvmlDeviceGetDeviceHandleFromMigDeviceHandle": {"slice of card 1": "card 1"}.__getitem__,
            "nvmlDeviceGetClockInfo": lambda card, kind: {("card 0", 1): 1980, ("card 1", 1): clock_mhz}[card, kind],
        }
        self.__dict__.update(answers, **dict.fromkeys(broken, lost))

    def count(self, change):
        self.open += change


def reading(monkeypatch, nvml, uuid):
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    with sm_clock_reader(uuid) as sm_clock_mhz:
        return sm_clock_mhz()


@pytest.mark.parametrize(("uuid", "clock_mhz"), [("GPU-0", 1980), ("GPU-1", 1305), ("MIG-1", 1305)])
def test_the_clock_is_that_of_the_device_or_of_a_slices_gpu(monkeypatch, uuid, clock_mhz):
    nvml = FakeNvml()
    assert reading(monkeypatch, nvml, uuid) == clock_mhz
    assert nvml.open == 0


@pytest.mark.parametrize(
    "call",
    [
        "nvmlInit",
        "nvmlDeviceGetHandleByUUID",
        "nvmlDeviceGetDeviceHandleFromMigDeviceHandle",
        "nvmlDeviceGetClockInfo",
    ],
)
def test_an_nvml_error_gives_no_clock(monkeypatch, call):
    nvml = FakeNvml(broken=[call])
    assert reading(monkeypatch, nvml, "MIG-1") is None
    assert nvml.open == 0


def test_a_missing_nvml_or_a_failing_shutdown_gives_no_clock(monkeypatch):
    assert reading(monkeypatch, None, "GPU-0") is None
    assert reading(monkeypatch, FakeNvml(broken=["nvmlShutdown"]), "GPU-0") == 1980


def test_an_unknown_clock_or_device_gives_none(monkeypatch):
    assert reading(monkeypatch, FakeNvml(clock_mhz=0), "GPU-1") is None
    assert reading(monkeypatch, FakeNvml(), "GPU-7") is None
    assert reading(monkeypatch, FakeNvml(), None) is None


def test_an_error_inside_the_context_passes_and_closes_nvml(monkeypatch):
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    with pytest.raises(RuntimeError, match="out of memory"), sm_clock_reader("GPU-0"):
        raise RuntimeError("out of memory")
    assert nvml.open == 0


@pytest.fixture
def done(monkeypatch):
    """The order of event calls; any two events are 40 ms apart."""
    order = []

    class Event:
        def __init__(self, enable_timing):
            pass

        def record(self):
            order.append("record")

        def synchronize(self):
            order.append("wait")

        def elapsed_time(self, end):
            return 40.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    return order


def test_matmuls_are_measured_with_the_clock_of_pytorchs_gpu(monkeypatch, done):
    randn = torch.randn
    monkeypatch.setattr(torch, "randn", lambda *size, device: randn(*size))
    monkeypatch.setattr(calibration, "SIZE", 8)
    monkeypatch.setattr(calibration, "resolve_calibration_target", lambda: Target("NVIDIA H200", 0, "GPU-1"))
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    assert [sample.sm_clock_mhz for sample in TorchMeter().matmul_rates("fp32", 0.08)] == [1305, 1305]


def test_the_clock_is_read_while_the_work_runs(done):
    def read():
        done.append("clock")
        return 1305

    samples = TorchMeter()._samples(lambda: done.append("work"), 100, 0.08, read)
    first = ["work", "record", "work", "record", "clock", "wait"]
    assert done == first + ["record", "work", "work", "record", "clock", "wait"] * 2
    assert samples == [(pytest.approx(100 * 2 / 0.04), 1305)] * 2
