# SPDX-License-Identifier: MIT
import dataclasses

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from tests.support.run_records import MS, batch, packing, run_of, samples, stage
from virnuc_profiler.analysis.confidence.rate_interval import SETTLED, TOO_SHORT
from virnuc_profiler.analysis.diagnosis.observation import observe
from virnuc_profiler.analysis.model_cost import DeviceCeiling, ModelShape, forward_flops
from virnuc_profiler.analysis.summary.run_summary import run_summary
from virnuc_profiler.analysis.timing.completion import completions_of
from virnuc_profiler.analysis.timing.steady_state import pass_ends, steady_state
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.records import DeviceCapture, EnergyReading, GpmReading, GpuReading, ProfilingCost
from virnuc_profiler.telemetry.schema import telemetry_schema

SHAPE = ModelShape(6, 320)


def test_start_up_waits_and_packing():
    batches = [
        batch(0, 100, 400, [stage("fetch", 100, 200)], packing([10, 30], 64)),
        batch(1, 300, 500, [stage("fetch", 300, 310)], packing([70], 64)),
    ]
    summary = run_summary(run_of(batches, 1000, start_ms=50))
    assert summary["elapsed_seconds"] == 0.95
    assert summary["start_up_seconds"] == 0.35
    assert summary["wait_time_ms_p50"] == 55.0
    assert summary["wait_time_ms_p95"] == pytest.approx(95.5)
    assert summary["oversize_batches"] == 1
    assert summary["padding_tokens"] == 20


def test_without_device_everything_of_it_is_none_and_sampled_keys_are_absent():
    summary = run_summary(run_of([batch(0, 0, 10)], 10))
    assert summary["device_stages_fraction"] is None
    assert summary["device_timestamped_fraction"] is None
    assert summary["dropped_device_timings"] is None
    assert "avg_gpu_util" not in summary
    assert "energy_joules" not in summary
    assert "achieved_tflops" not in summary


def test_an_empty_run():
    summary = run_summary(run_of([], 10))
    assert summary["start_up_seconds"] is None
    assert summary["steady_tokens_per_sec"] is None
    assert summary["warm_up_batches"] == 0


def test_the_share_in_device_stages_is_the_union_within_the_run():
    batches = [
        batch(0, 0, 50, [stage("h2d", 0, 1, device=(-10, 10)), stage("forward", 1, 2, device=(5, 30))]),
        batch(1, 10, 90, [stage("forward", 11, 12, device=(20, 40)), stage("pool", 12, 13, device=(60, 70))]),
    ]
    run = run_of(batches, 100, device=DeviceCapture("GPU", "GPU-1", timed=True, dropped_batches=2))
    summary = run_summary(run)
    assert summary["device_stages_fraction"] == 0.5
    assert summary["device_timestamped_fraction"] is None
    assert summary["dropped_device_timings"] == 2


def test_the_share_in_stages_that_the_device_timed_is_given_beside_the_upper_bound():
    """Copies by events that wait for their launch look busy for 30 of 100 ms; replays are so for 40."""
    replay = dataclasses.replace(stage("forward", 1, 2, device=(30, 70)), timestamped=True)
    summary = run_summary(run_of([batch(0, 0, 90, [stage("h2d", 0, 1, device=(0, 30)), replay])], 100))
    assert summary["device_stages_fraction"] == 0.7
    assert summary["device_timestamped_fraction"] == 0.4


def test_the_phases_of_the_start_up_add_up_to_it():
    stages = [stage("fetch", 150, 900), stage("collate", 700, 900), stage("forward", 950, 1600)]
    later = [batch(n, 1600 + n, 1601 + n) for n in range(1, 4)]
    summary = run_summary(run_of([batch(0, 150, 1600, stages), *later], 2000, start_ms=100))
    assert summary["start_up_seconds"] == 1.5
    phases = {"other_host_work": 0.1, "data_loading": 0.55, "collation": 0.2, "first_batch": 0.65}
    assert summary["start_up_phase_seconds"] == pytest.approx(phases)
    assert run_summary(run_of([], 10))["start_up_phase_seconds"] is None


def completed(*at_ms):
    """Batches of 2 sequences and 100 tokens that complete at some times."""
    return BatchTable.from_records([batch(n, -1, at, [], packing([40, 60])) for n, at in enumerate(at_ms)])


def test_steady_state_leaves_the_first_three_out():
    """Slow first batches, then one every 10 ms: 4 batches of 100 tokens in 40 ms."""
    steady = steady_state(completed(1000, 1500, 1600, 1610, 1620, 1630, 1640))
    assert steady.warm_up_batches == 3
    assert steady.tokens_per_sec == 10_000.0
    assert steady.sequences_per_sec == 200.0


def test_steady_state_leaves_a_tenth_of_a_long_run_out_of_its_window():
    steady = steady_state(completed(*range(0, 1000, 10)))
    assert steady.window == (90 * MS, 990 * MS)
    assert steady.tokens_per_sec == pytest.approx(10_000.0)


def test_a_long_run_leaves_all_of_its_transient_out_of_the_rate():
    """A fifth of the batches take 30 ms instead of 10; the window of a diagnosis keeps half of them."""
    steady = steady_state(completed(*range(0, 600, 30), *range(600, 1400, 10)))
    assert 20 <= steady.warm_up_batches <= 40
    assert steady.interval.state == SETTLED
    assert steady.tokens_per_sec == steady.interval.rate == pytest.approx(10_000.0)
    assert steady.sequences_per_sec == pytest.approx(200.0)
    assert steady.window[0] == 270 * MS


def test_a_short_run_says_so_and_has_the_rate_of_its_window():
    steady = steady_state(completed(*range(0, 150, 10)))
    assert (steady.interval.state, steady.interval.low, steady.interval.high) == (TOO_SHORT, None, None)
    assert steady.interval.window == steady.window
    assert steady.tokens_per_sec == steady.interval.rate == 10_000.0
    assert steady_state(completed(0, 10)).interval.state == TOO_SHORT


def test_a_run_whose_pace_changes_at_its_end_has_not_settled():
    noise = np.random.default_rng(0).normal(0, 0.1, 200)
    steady = steady_state(completed(*np.cumsum(np.where(np.arange(200) < 150, 10, 13) + noise).round(3)))
    assert steady.interval.state != SETTLED
    assert (steady.interval.low, steady.interval.window) == (None, steady.window)
    assert steady.tokens_per_sec == steady.interval.rate


def test_passes_end_where_the_sequences_of_the_workload_are_done():
    assert pass_ends(np.array([3, 1, 2, 2, 4]), 4).tolist() == [1, 3, 4]
    assert pass_ends(np.array([3, 1, 2]), 4).tolist() == [1]
    assert pass_ends(np.array([3, 2, 3]), 4).tolist() == []  # a batch of two passes is not of this package
    assert pass_ends(np.array([], np.int64), 4).tolist() == pass_ends(np.array([4]), None).tolist() == []


def test_what_differs_within_each_pass_is_no_noise():
    """Twenty passes of four packs that take 10, 20, 30 and 40 ms for the same work; the first pass is slower."""
    times = np.cumsum([40, 50, 60, 70, *[10, 20, 30, 40] * 19])
    steady = steady_state(completed(*times.tolist()), sequences_per_pass=8)
    assert steady.interval.state == SETTLED
    assert steady.tokens_per_sec == pytest.approx(400 / 0.1)
    assert steady.interval.relative_half_width < 1e-6
    assert steady_state(completed(*times.tolist())).interval.relative_half_width > 0.01


def test_a_batch_is_complete_when_the_device_is_done_with_it_not_when_the_host_takes_its_results():
    """The device takes 10 ms per batch; the host waits for data and receives the first four batches at 100 ms."""
    batches = [
        batch(n, 0, max(100, 10 * n + 15), [stage("forward", 1, 2, device=(10 * n, 10 * n + 10))], packing([100]))
        for n in range(13)
    ]
    run = run_of(batches, 140, device=DeviceCapture("GPU", timed=True))
    assert run_summary(run)["steady_tokens_per_sec"] == 10_000.0
    assert observe(run).window == (30 * MS, 130 * MS)


def test_where_no_device_time_was_measured_a_batch_is_complete_when_the_host_is_through_with_it():
    batches = [batch(n, 0, 10 * n + 15, [stage("forward", 1, 2)], packing([100])) for n in range(13)]
    dropped = [dataclasses.replace(one, device_times_dropped=True) for one in batches]
    for some in (batches, dropped):
        assert completions_of(run_of(some, 140).batches).at_ns.tolist() == [(10 * n + 15) * MS for n in range(13)]


def long_sequences_first(rate):
    """Three packs of 1 sequence of 100 tokens, then ten packs of 10 sequences of 10, each as long as `rate` says."""
    packs = [packing([100])] * 3 + [packing([10] * 10)] * 10
    ends = np.cumsum([rate(pack) for pack in packs]).tolist()
    return [batch(n, -1, end, [], pack) for n, (end, pack) in enumerate(zip(ends, packs, strict=True))]


def test_steady_sequences_are_those_of_the_whole_workload_and_not_of_the_packs_after_warm_up():
    """10 ms for each pack: 103 sequences in 130 ms, but 100 of them in the last 100 ms."""
    steady = steady_state(BatchTable.from_records(long_sequences_first(lambda pack: 10)))
    assert steady.tokens_per_sec == 10_000.0
    assert steady.sequences_per_sec == pytest.approx(103 / 0.13)


def test_steady_rates_compare_packs_by_flops_where_the_model_is_known():
    """A device of 10 GFLOP/s, on which long sequences take longer per token."""
    shape = ModelShape(2, 8)

    def milliseconds(pack):
        return forward_flops(pack.tokens, pack.sum_squared_lengths, shape) / 1e7

    batches = long_sequences_first(milliseconds)
    summary = run_summary(run_of(batches, batches[-1].host_end_ns / MS), shape=shape)
    seconds = sum(milliseconds(one.packing) for one in batches) / 1e3
    assert summary["steady_tokens_per_sec"] == pytest.approx(1300 / seconds, rel=1e-5)
    assert summary["steady_sequences_per_sec"] == pytest.approx(103 / seconds, rel=1e-5)


def test_the_steady_projection_starts_up_once():
    """One second, then 10 ms for each pack of 10 sequences; the whole run takes twice as long as its packs."""
    batches = [batch(n, -1, 1000 + 10 * n, [], packing([10] * 10)) for n in range(101)]
    summary = run_summary(run_of(batches, 2000))
    assert summary["projected_6M_hours_steady"] == pytest.approx((1 + 6000) / 3600)
    assert run_summary(run_of(batches[:4], 2000))["projected_6M_hours_steady"] is None


def test_steady_state_goes_by_completion_not_by_order():
    assert steady_state(completed(1640, 1000, 1630, 1500, 1620, 1600, 1610)).tokens_per_sec == 10_000.0


def test_short_runs_have_no_steady_state():
    assert steady_state(completed(0, 10, 20, 30, 40)).tokens_per_sec is None
    assert steady_state(completed(0, 10)).warm_up_batches == 2


def test_steady_state_needs_every_count():
    missing = BatchTable.from_records([*completed(0, 10, 20, 30, 40), batch(5, -1, 50)])
    steady = steady_state(missing)
    assert steady.window == (20 * MS, 50 * MS)
    assert steady.tokens_per_sec is None
    assert steady.sequences_per_sec is None


def sampled_run():
    """A run of 10 s with 10 sequences of 200 tokens, at 300 W according to the energy counter."""
    gpu = samples(
        fast=(
            *(GpuReading(n * 1000 * MS, 100, power_mw=290_000) for n in (1, 2, 3)),
            *(GpuReading(n * 1000 * MS, 50, power_mw=310_000) for n in (4, 5)),
            GpuReading(9000 * MS, 0, power_mw=None),
        ),
        gpm=(
            GpmReading(1000 * MS, 1_000_000_000, 0.5, 0.2, None),
            GpmReading(5000 * MS, 4_000_000_000, 0.9, None, None),
        ),
        energy=(EnergyReading(-500 * MS, 1_000_000), EnergyReading(9500 * MS, 4_000_000)),
    )
    batches = [batch(n, n * 1000, n * 1000 + 1000, [], packing([200], 256)) for n in range(10)]
    return run_of(batches, 10_000, gpu=gpu, device=DeviceCapture("GPU", timed=True))


def test_golden_energy_and_activity():
    summary = run_summary(sampled_run())
    assert summary["energy_joules"] == pytest.approx(2850.0)  # from 0 to 9.5 s
    assert summary["energy_seconds"] == 9.5
    assert summary["mean_power_watts"] == pytest.approx(300.0)
    assert summary["peak_power_watts"] == 310.0
    assert summary["joules_per_sequence"] == pytest.approx(300.0)  # 3000 J over 10
    assert summary["joules_per_1000_tokens"] == pytest.approx(1500.0)
    assert summary["mean_sm_activity"] == pytest.approx((0.5 + 4 * 0.9) / 5)
    assert summary["mean_tensor_activity"] is None  # sampled for a tenth of the run only
    assert summary["mean_dram_activity"] is None


def test_mean_utilization_is_over_time_and_a_gap_counts_for_nothing():
    assert run_summary(sampled_run())["avg_gpu_util"] == pytest.approx(
        (3 * 100 + 2 * 50) / 6
    )  # each stands for a second


@pytest.mark.parametrize(
    "energy",
    [
        (),
        (EnergyReading(0, 5),),
        (EnergyReading(0, 5_000), EnergyReading(9000 * MS, 4_000)),  # the driver was reloaded
        (EnergyReading(20_000 * MS, 5), EnergyReading(30_000 * MS, 6)),  # after the run
    ],
)
def test_no_usable_energy_counter(energy):
    run = run_of([batch(0, 0, 10_000, [], packing([5]))], 10_000, gpu=samples(energy=energy))
    summary = run_summary(run)
    assert summary["energy_joules"] is None
    assert summary["joules_per_sequence"] is None


@pytest.mark.parametrize(("covered_ms", "joules", "per_sequence"), [(5000, 1000.0, 2000.0), (4900, None, None)])
def test_a_counter_that_covers_less_than_half_of_the_run_gives_no_energy(covered_ms, joules, per_sequence):
    energy = (EnergyReading(0, 0), EnergyReading(covered_ms * MS, 1_000_000))
    summary = run_summary(run_of([batch(0, 0, 10_000, [], packing([5]))], 10_000, gpu=samples(energy=energy)))
    assert (summary["energy_joules"], summary["joules_per_sequence"]) == (joules, per_sequence)
    assert summary["energy_seconds"] == covered_ms / 1000


@pytest.mark.parametrize(
    ("num_layers", "hidden_size", "linear_gflop_per_token"),
    [
        (6, 320, 0.0147),
        (12, 480, 0.0664),
        (30, 640, 0.295),
        (33, 1280, 1.298),
        (36, 2560, 5.662),
        (48, 5120, 30.20),
    ],
)
def test_linear_flops_of_the_six_models(num_layers, hidden_size, linear_gflop_per_token):
    assert forward_flops(1, 0, ModelShape(num_layers, hidden_size)) / 1e9 == pytest.approx(
        linear_gflop_per_token, rel=0.005
    )


def test_flops_by_hand():
    assert forward_flops(30, 500, ModelShape(2, 10)) == 2 * (24 * 100 * 30 + 4 * 10 * 500)


def test_mfu_only_with_a_ceiling():
    run = run_of([batch(0, 0, 1000, [], packing([100, 100]))], 1000)
    flops = forward_flops(200, 20_000, SHAPE)
    without = run_summary(run, shape=SHAPE)
    assert without["achieved_tflops"] == pytest.approx(flops / 1e12)
    assert "mfu" not in without
    assert run_summary(run, shape=SHAPE, ceiling=DeviceCeiling(2.0 * flops))["mfu"] == 0.5


def test_a_batch_that_does_not_say_what_it_held_leaves_no_work_and_no_energy_per_sequence():
    batches = [batch(0, 0, 500, [], packing([100])), batch(1, 500, 1000)]
    energy = (EnergyReading(0, 0), EnergyReading(1000 * MS, 1_000_000))
    summary = run_summary(run_of(batches, 1000, gpu=samples(energy=energy)), shape=SHAPE)
    assert "achieved_tflops" not in summary
    assert summary["energy_joules"] == 1000.0
    assert summary["joules_per_sequence"] is summary["joules_per_1000_tokens"] is None


@pytest.mark.parametrize("arguments", [(-1, 0, 6, 320), (1, -1, 6, 320), (1, 1, 0, 320), (1, 1, 6, 0)])
def test_flops_of_nonsense(arguments):
    tokens, squares, *shape = arguments
    with pytest.raises(ValueError, match="must"):
        forward_flops(tokens, squares, ModelShape(*shape))


def test_all_keys_are_in_the_schema():
    summary = run_summary(sampled_run(), shape=SHAPE, ceiling=DeviceCeiling(1e12))
    assert summary.keys() <= telemetry_schema()["$defs"]["summary"]["properties"].keys()
    Draft202012Validator(telemetry_schema()).validate({"summary": summary, "per_batch_metrics": []})


def test_a_cost_of_profiling_above_the_whole_run_is_not_known():
    """Runs saved before held-up calls were left out: 50 calls for which one of 4 ms speaks."""
    run = run_of([batch(0, 0, 100, [], packing([200], 256))], 100)
    believed = run_summary(dataclasses.replace(run, cost=ProfilingCost(50, 2, 4_000)))
    assert believed["profiling_call_ns"] == 2_000
    assert believed["profiling_host_fraction"] == pytest.approx(0.001)
    absurd = run_summary(dataclasses.replace(run, cost=ProfilingCost(50, 1, 4_000_000)))
    assert absurd["profiling_calls"] == 50
    costs = ("profiling_call_ns", "profiling_host_seconds", "profiling_host_fraction")
    assert [absurd[name] for name in costs] == [None, None, None]
