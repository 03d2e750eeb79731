# SPDX-License-Identifier: MIT
"""Summary and diagnosis of loops with batches in flight, compared with the known truth of the simulated device."""

import pytest

from tests.support.in_flight import run_in_flight
from tests.support.pipelines import GPU, with_gpu
from tests.support.run_records import MS, batch, packing, run_of, stage
from virnuc_profiler import diagnose_run
from virnuc_profiler.analysis.diagnosis.observation import observe
from virnuc_profiler.analysis.model_cost import DeviceCeiling, ModelShape, forward_flops
from virnuc_profiler.analysis.summary.batch_metrics import metrics_of_run
from virnuc_profiler.analysis.summary.run_summary import run_summary
from virnuc_profiler.telemetry.records import GpmReading, GpuReading

DEVICE_RATE = 100_000.0
"""Throughput of the device in tokens/s: 1,000 tokens in 10 ms."""

AT_ONCE = [5.0] * 20
LATE = [300.0] * 3 + [400.0] * 27
"""The loader has three batches ready, and the next ones 100 ms later."""


def steady_rate(run):
    return run_summary(run)["steady_tokens_per_sec"]


@pytest.mark.parametrize(
    ("ready_ms", "rate"),
    [
        (AT_ONCE, DEVICE_RATE),
        ([20.0 * n for n in range(30)], 50_000.0),
        ([7.0 * n for n in range(40)], DEVICE_RATE),
        (LATE, 27 * 1000 / 0.34),
    ],
)
def test_the_steady_rate_is_that_of_the_device_or_of_the_loader(ready_ms, rate):
    run = run_in_flight(ready_ms)
    assert steady_rate(run) == pytest.approx(rate, rel=0.002)
    assert observe(run).stage_share == pytest.approx(min(1.0, rate / DEVICE_RATE), abs=0.03)


def test_a_wait_at_the_start_of_a_long_run_is_not_in_its_steady_rate():
    assert steady_rate(run_in_flight([*LATE, *[400.0] * 70])) == pytest.approx(DEVICE_RATE, rel=0.002)


@pytest.mark.parametrize("dropped", [{2}, {0, 1, 2}, {19}, {5, 6, 19}, set(range(10, 20))])
@pytest.mark.parametrize("ready_ms", [AT_ONCE, [30.0, 60.0, 90.0] + [200.0] * 17])
def test_batches_without_device_times_do_not_raise_the_rate_above_the_devices(ready_ms, dropped):
    rate = steady_rate(run_in_flight(ready_ms, dropped=dropped))
    assert 0.4 * DEVICE_RATE < rate <= 1.001 * DEVICE_RATE


def test_too_few_measured_completions_give_no_steady_rate():
    assert steady_rate(run_in_flight(AT_ONCE[:8], dropped={2, 3, 4})) is None


def test_start_up_ends_when_the_device_has_finished_the_first_batch():
    """The loader takes 1 s per batch, and the host takes the first results after launching the third batch."""
    summary = run_summary(run_in_flight([1000.0 * (n + 1) for n in range(12)]))
    assert summary["start_up_seconds"] == pytest.approx(1.011, abs=0.001)


@pytest.mark.parametrize("ready_ms", [AT_ONCE, LATE, [1000.0 * (n + 1) for n in range(12)]])
def test_no_batch_is_faster_than_the_device(ready_ms):
    rates = [metrics["tokens_per_sec"] for _, metrics in metrics_of_run(run_in_flight(ready_ms))]
    assert max(rates) <= 1.03 * DEVICE_RATE  # a copy to the host may overlap the next forward


def test_a_wait_right_after_warm_up_is_a_loss_like_others():
    found = diagnose_run(run_in_flight(LATE))
    assert (found.bottleneck, found.healthy) == ("data_loading", False)
    assert found.lost_time["data_loading"] == pytest.approx(70 / 340, abs=0.01)
    assert found.stage_share == pytest.approx(270 / 340, abs=0.01)


@pytest.mark.parametrize("count", [6, 10, 30])
def test_a_half_idle_loop_is_recognized_however_short(count):
    batches = [
        batch(n, 20 * n, 20 * n + 20, [stage("forward", 20 * n, 20 * n + 1, (20 * n, 20 * n + 10))], packing([1000]))
        for n in range(count)
    ]
    flops = forward_flops(1000, 1000**2, ModelShape(6, 320))
    found = diagnose_run(
        run_of(batches, 20 * count, device=GPU), shape=ModelShape(6, 320), ceiling=DeviceCeiling(flops / 0.02)
    )
    assert found.stage_share == 0.5
    assert found.mfu == pytest.approx(1.0)


def test_work_of_batches_without_device_times_is_left_out_of_the_rate():
    whole, part = run_in_flight(AT_ONCE), run_in_flight(AT_ONCE, dropped=set(range(12, 20)))
    rates = [observe(run, ModelShape(33, 1280)).flops_per_second for run in (whole, part)]
    assert rates[1] == pytest.approx(rates[0], rel=0.002)
    middle = run_in_flight([5.0] * 40, dropped=set(range(15, 25)))
    assert observe(middle).stage_share == pytest.approx(1.0, abs=0.05)  # 0.72 if the whole time counted


@pytest.mark.parametrize("count", [12, 60])
def test_copies_that_the_forward_covers_cost_nothing(count):
    found = diagnose_run(with_gpu(run_in_flight([5.0] * count, copy_ms=3.0)))
    assert found.lost_time.get("copying", 0.0) == pytest.approx(0.0, abs=0.001)
    assert found.healthy


def test_a_gap_between_two_stages_of_a_launch_bound_batch_is_counted_once():
    batches = [
        batch(n, 10 * n, 10 * n + 10, [
            stage("h2d", 10 * n, 10 * n + 0.05, (10 * n, 10 * n + 0.1)),
            stage("collate", 10 * n + 0.05, 10 * n + 5),
            stage("forward", 10 * n + 5, 10 * n + 10, (10 * n + 5, 10 * n + 10)),
        ])
        for n in range(20)
    ]  # fmt: skip
    lost_time = diagnose_run(run_of(batches, 200, device=GPU)).lost_time
    assert lost_time["collation"] == pytest.approx(0.49)
    assert lost_time["launching"] == pytest.approx(0.51)
    assert sum(lost_time.values()) <= 1.0 + 1e-9


def test_readings_after_the_run_are_ignored():
    run = run_in_flight([1000.0 * (n + 1) for n in range(3)])
    ends_ms = run.host_end_ns // MS
    run = with_gpu(
        run,
        fast=tuple(GpuReading(ms * MS, power_mw=700_000 if ms <= ends_ms else 900_000) for ms in range(10, 6000, 10)),
        gpm=tuple(
            GpmReading(ms * MS, 10 * MS, 0.9 if ms <= ends_ms else 0.1, None, None) for ms in range(10, 6000, 10)
        ),
    )
    summary = run_summary(run)
    assert summary["peak_power_watts"] == 700.0
    assert summary["mean_sm_activity"] == pytest.approx(0.9, abs=0.02)
