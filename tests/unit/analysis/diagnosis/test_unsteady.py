# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from tests.support.run_records import MS, packing
from virnuc_profiler.analysis.diagnosis.launches import Launches
from virnuc_profiler.analysis.diagnosis.unsteady import unsteady_device
from virnuc_profiler.analysis.model_cost import ModelShape, forward_flops
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.records import BatchRecord

SHAPE = ModelShape(6, 320)
SHORT, LONG = [256] * 16, [4096]  # as many tokens, but the attention of the long one takes 16 times the FLOPs


def launches(times_ms, **more):
    count = len(times_ms)
    names = ("forward", "d2h")
    blocking = names.index(more["blocking_stage"]) if "blocking_stage" in more else -1
    zeros, device_ns = np.zeros(count, np.int64), np.array([int(ms * MS) for ms in times_ms], np.int64)
    bound = np.full(count, more.get("launch_bound", False))
    times = (zeros, zeros + 1, zeros, device_ns, device_ns)
    return Launches(names, np.arange(count), *times, np.full(count, blocking), bound, zeros)


def unsteady(times_ms, lengths=None, clocks=(1980, 1980), shape=None, budget=4096, **more):
    packings = [packing(some, budget) for some in lengths or [SHORT] * len(times_ms)]
    batches = BatchTable.from_records([BatchRecord(n, 0, 1, (), pack) for n, pack in enumerate(packings)])
    return unsteady_device(launches(times_ms, **more), batches, shape, clocks)


def test_like_batches_that_take_very_different_times():
    found = unsteady([16] * 10 + [40] * 10)
    assert found.slow_to_fast == 2.5
    assert found.lost_share == pytest.approx(1 - 320 / 560)
    assert found.clocks_sampled
    assert not unsteady([16] * 10 + [40] * 10, clocks=[None]).clocks_sampled


@pytest.mark.parametrize(
    ("times_ms", "trend"), [([16] * 10 + [40] * 10, 2.5), ([40] * 10 + [16] * 10, 0.4), ([16, 40] * 10, 1.0)]
)
def test_a_trend_is_told_from_batches_that_alternate(times_ms, trend):
    assert unsteady(times_ms).trend == pytest.approx(trend)


@pytest.mark.parametrize(
    "case",
    [
        {"times_ms": [16] * 10 + [23] * 10},  # possible with different lengths alone
        {"times_ms": [16] * 5 + [40] * 4},  # too few batches
        {"times_ms": [16] * 10 + [40] * 10, "lengths": [[4096]] * 10 + [[9000]] * 10},  # not similar
        {"times_ms": [16] * 10 + [40] * 10, "clocks": [1980] * 5 + [900] * 5},  # explained by the clocks
        {"times_ms": [16] * 10 + [40] * 10, "launch_bound": True},
        {"times_ms": [16] * 10 + [40] * 10, "blocking_stage": "d2h"},
        {"times_ms": []},
    ],
)
def test_steady_devices_and_batches_that_cannot_be_compared(case):
    assert unsteady(**case) is None


def by_flops(lengths, shape):
    return forward_flops(sum(lengths), sum(length**2 for length in lengths), shape) / 1e9


@pytest.mark.parametrize("shape", [SHAPE, None])
def test_short_and_long_packs_take_different_times_on_a_steady_device(shape):
    """Per token, the long packs of a device with constant FLOP/s take twice the time of the short ones."""
    lengths = [SHORT, LONG] * 15
    times_ms = [by_flops(some, SHAPE) for some in lengths]
    assert max(times_ms) > 1.9 * min(times_ms)
    assert unsteady(times_ms, lengths, shape=shape) is None


def test_with_the_shape_of_the_model_short_and_long_packs_are_compared():
    lengths = [SHORT, LONG] * 15
    times_ms = [by_flops(some, SHAPE) * (1 if n < 15 else 3) for n, some in enumerate(lengths)]
    assert unsteady(times_ms, lengths, shape=SHAPE).slow_to_fast == pytest.approx(3)


def test_padding_is_work_too():
    """Batches with the same tokens, half of which are padded to twice the width: no sign of anything else."""
    even, padded = [256] * 16, [480] * 2 + [224] * 14
    times_ms = [16.0, 30.0] * 15
    assert unsteady(times_ms, [even, padded] * 15, budget=None) is None
    assert unsteady(times_ms, [even, padded] * 15, budget=4096) is not None
