# SPDX-License-Identifier: MIT
from types import SimpleNamespace

from virnuc_profiler import _core
from virnuc_profiler.capture import overhead


class Sampler:
    """A sampler whose threads' CPU time is known or not."""

    cpu_ns: tuple[int | None, ...] = ()

    def __init__(self, uuid):
        pass

    def start(self):
        pass

    stop = start

    def tiers(self):
        return [SimpleNamespace(cpu_ns=ns) for ns in self.cpu_ns]


def test_sampling_whose_cpu_time_cannot_be_read_does_not_cost_nothing(monkeypatch):
    monkeypatch.setattr(_core, "GpuSampler", Sampler)
    monkeypatch.setattr(overhead, "_SAMPLING_S", 0.01)
    target = SimpleNamespace(uuid="GPU-1", reason="")
    Sampler.cpu_ns = (None, None)
    assert overhead._sampling_cpu(target) == (None, "the CPU time of the sampling threads could not be read")
    Sampler.cpu_ns = (None, 5_000)
    share, reason = overhead._sampling_cpu(target)
    assert (share > 0, reason) == (True, "")
