# SPDX-License-Identifier: MIT
from dataclasses import replace

import pytest

from tests.support.pipelines import GPU, LENGTHS, back_to_back, one_by_one, with_gpu
from tests.support.run_records import MS, batch, packing, run_of, stage
from virnuc_profiler.analysis.diagnosis.bottlenecks import LABELS
from virnuc_profiler.analysis.diagnosis.diagnose import diagnose_run
from virnuc_profiler.analysis.diagnosis.observation import observe
from virnuc_profiler.analysis.model_cost import DeviceCeiling, ModelShape, arithmetic_metadata, forward_flops
from virnuc_profiler.analysis.summary.run_summary import run_summary
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.records import DeviceCapture, GpmReading, GpuReading, ProcessReading, SamplerTierRecord

SHAPE_8M, SHAPE_650M = ModelShape(6, 320), ModelShape(33, 1280)


def gpm(sm=0.9, tensor=0.5, dram=0.3, seconds=2):
    return {"gpm": tuple(GpmReading((n + 1) * 250 * MS, 250 * MS, sm, tensor, dram) for n in range(4 * seconds))}


def clocks(reasons, mhz, seconds=2):
    fast = tuple(GpuReading(n * 100 * MS, throttle_reasons=reasons, sm_clock_mhz=mhz) for n in range(10 * seconds))
    return {"fast": fast, "tiers": (SamplerTierRecord("fast", 100.0, 9, 0, 0, False, ""),)}


def evidence(found):
    return dict(found.evidence)


def test_a_device_that_is_never_idle_is_healthy():
    found = diagnose_run(with_gpu(back_to_back(), **gpm()))
    assert (found.bottleneck, found.healthy) == ("device_arithmetic", True)
    assert found.sentence.startswith("Healthy: the device is busy 100.0% of the time")
    assert found.busy_share == 1.0
    assert found.gaps == ()
    assert found.further == ()


def test_device_times_outside_of_the_run_are_none():
    """Without evidence that the device was busy, the run does not count as healthy."""
    stages = [stage("fetch", 0, 4), stage("forward", 4, 10, device=(50, 60))]
    found = diagnose_run(run_of([batch(0, 0, 10, stages)], 10, device=GPU))
    assert (found.healthy, found.busy_share) == (False, None)
    assert "Healthy" not in found.sentence


def test_device_times_without_length_say_nothing_either():
    found = diagnose_run(run_of([batch(0, 0, 10, [stage("forward", 4, 10, device=(7, 7))])], 10, device=GPU))
    assert found.sentence == "No diagnosis: the recorded work took no time."


def test_a_run_too_short_to_leave_its_start_out_says_so():
    short = [stage("fetch", 0, 4), stage("forward", 4, 10)]
    found = diagnose_run(run_of([batch(0, 0, 10, short)], 10))
    assert found.sentence.endswith(
        "(Start-up is included, because 1 batch is too few to exclude it: use more sequences.)"
    )
    assert "Start-up" not in diagnose_run(back_to_back()).sentence


@pytest.mark.parametrize(
    ("activity", "bottleneck"),
    [
        ({"tensor": 0.5, "dram": 0.7}, "device_arithmetic"),
        ({"tensor": 0.29, "dram": 0.6}, "memory_bandwidth"),
        ({"tensor": 0.29, "dram": 0.59}, "device_arithmetic"),
        ({"tensor": None, "dram": 0.7}, "memory_bandwidth"),
        ({"tensor": None, "dram": None}, "device"),
    ],
)
def test_what_sets_the_pace_of_a_healthy_run(activity, bottleneck):
    found = diagnose_run(with_gpu(back_to_back(), **gpm(**activity)))
    assert (found.bottleneck, found.healthy) == (bottleneck, True)


def test_activity_of_too_small_a_part_of_the_window_is_not_used():
    assert (
        diagnose_run(with_gpu(back_to_back(), gpm=(GpmReading(400 * MS, 280 * MS, 0.9, 0.5, 0.3),))).bottleneck
        == "device"
    )
    assert (
        diagnose_run(with_gpu(back_to_back(), gpm=(GpmReading(400 * MS, 300 * MS, 0.9, 0.5, 0.3),))).bottleneck
        != "device"
    )


@pytest.mark.parametrize(("pause_ms", "bottleneck"), [(0.3, "device"), (0.4, "data_loading"), (30, "data_loading")])
def test_up_to_two_percent_may_be_lost_to_one_cause(pause_ms, bottleneck):
    """The pause is 1.8 % and 2.4 % of itself plus 16.02 ms."""
    found = diagnose_run(back_to_back(pause_ms=pause_ms))
    assert found.bottleneck == bottleneck
    assert found.healthy == (bottleneck == "device")


def test_data_loading_says_how_much_and_the_way_out():
    found = diagnose_run(back_to_back(pause_ms=16.02))
    assert "50.0% of its time" in found.sentence
    assert "num_workers" in found.sentence
    (line,) = found.gaps
    assert (line.cause, line.gaps) == ("data_loading", 36)
    assert line.total_ns == pytest.approx(36 * 16.02 * MS)


def test_collation():
    found = diagnose_run(one_by_one(collate_ms=20.0))
    assert found.bottleneck == "collation"


@pytest.mark.parametrize(("device_ms", "bottleneck"), [(16.0, "synchronizing"), (60.0, "device")])
def test_a_wait_in_every_batch_is_named_from_half_a_percent_on(device_ms, bottleneck):
    """Some 0.13 ms per batch, and 0.03 ms of an exposed copy: 1 % of 16 ms, 0.3 % of 60 ms."""
    found = diagnose_run(one_by_one(device_ms=device_ms))
    assert found.bottleneck == bottleneck
    assert evidence(found)["batches after which the host waited with an empty queue"] == "100.0%"
    assert found.busy_share > 0.98


def test_a_wait_inside_a_copy_is_copying():
    found = diagnose_run(one_by_one(hold="d2h", copy_ms=5.0))
    assert found.bottleneck == "copying"
    assert "inside the stage 'd2h'" in found.sentence
    assert "pin the memory" in found.sentence
    assert found.lost_time["copying"] == pytest.approx(5.2 / 21.2, abs=0.01)


def launch_bound(**more):
    return one_by_one(device_ms=6.0, launch_ms=6.0, wake_ms=0.0, **more)


def test_launching_without_gpm_is_an_upper_bound():
    found = diagnose_run(launch_bound())
    assert found.bottleneck == "launching"
    assert "up to 9" in found.sentence
    assert "token_budget" in found.sentence
    assert evidence(found)["batches in which the device ended with the host"] == "100.0%"


@pytest.mark.parametrize(("sm", "bottleneck"), [(0.2, "launching"), (0.6, "launching"), (0.75, "synchronizing")])
def test_sm_activity_tells_launching_from_waiting_inside_a_stage(sm, bottleneck):
    found = diagnose_run(with_gpu(launch_bound(), **gpm(sm=sm)))
    assert found.bottleneck == bottleneck
    assert found.lost_time[bottleneck] == pytest.approx(1 - sm, abs=0.05)


def test_a_large_loss_outweighs_a_small_one_which_is_still_named():
    found = diagnose_run(with_gpu(launch_bound(fetch_ms=20.0), **gpm(sm=0.1)))
    assert found.bottleneck == "data_loading"
    assert any("launching" in line for line in found.further)


def test_another_process():
    run = back_to_back()
    processes = tuple(ProcessReading(n * 100 * MS, 1, 40) for n in range(7))
    found = diagnose_run(with_gpu(run, **gpm(), processes=processes))
    assert found.bottleneck == "shared_device"
    assert evidence(found)["SM time of other processes (1), by NVML"] == "40%"


def test_like_batches_that_slow_down():
    assert diagnose_run(back_to_back((16.0,) * 20 + (40.0,) * 20)).bottleneck == "shared_device"


@pytest.mark.parametrize(("tensor", "shape", "bottleneck"), [
    (0.5, SHAPE_650M, "device_arithmetic"),
    (0.9, SHAPE_650M, "shared_device"),
    (0.9, None, "device_arithmetic"),  # unknown model
    (0.9, SHAPE_8M, "device_arithmetic"),  # too small to tell
])  # fmt: skip
def test_tensor_cores_busier_than_the_model_explains(tensor, shape, bottleneck):
    ceiling = forward_flops(4096, 16 * 256**2, SHAPE_650M) / 16.02e-3 / 0.45
    found = diagnose_run(with_gpu(back_to_back(), **gpm(tensor=tensor)), shape=shape, ceiling=DeviceCeiling(ceiling))
    assert found.bottleneck == bottleneck
    if shape == SHAPE_650M:
        assert found.mfu == pytest.approx(0.45, rel=0.01)


def at_clock(mhz, tensor):
    """A run that reached 52 % of the ceiling below, at some SM clock."""
    return with_gpu(back_to_back(), **gpm(tensor=tensor), **clocks(0x0, mhz))


CEILING = forward_flops(4096, 16 * 256**2, SHAPE_650M) / 16.02e-3 / 0.52


@pytest.mark.parametrize(
    ("ceiling_mhz", "tensor", "bottleneck"),
    [
        (1306, 0.7, "shared_device"),  # 0.52 / (1620 / 1306) / 0.7 = 0.60 explained
        (None, 0.7, "device_arithmetic"),  # 0.74 by time, which is enough without clocks
        (1306, 0.45, "device_arithmetic"),  # 0.93
    ],
)
def test_a_shared_device_is_told_by_cycle(ceiling_mhz, tensor, bottleneck):
    run = at_clock(1620, tensor)
    ceiling = DeviceCeiling(CEILING, ceiling_mhz)
    found = diagnose_run(run, shape=SHAPE_650M, ceiling=ceiling)
    assert found.bottleneck == bottleneck
    assert found.mfu == pytest.approx(0.52, rel=0.01)  # by time, regardless of clocks
    saved = replace(run, metadata=arithmetic_metadata(SHAPE_650M, ceiling))
    assert diagnose_run(saved) == found
    for summary in (run_summary(run, shape=SHAPE_650M, ceiling=ceiling), run_summary(saved)):
        assert (summary["bound_by"], summary["diagnosis"]) == (bottleneck, found.sentence)


@pytest.mark.parametrize(
    ("mhz", "bottleneck"), [(1620, "shared_device"), (1200, "device_arithmetic"), (None, "device_arithmetic")]
)
def test_the_clock_is_that_of_the_window(mhz, bottleneck):
    run = at_clock(mhz, 0.7)
    low, high = observe(run).window
    fast = [r if low < r.at_ns <= high else replace(r, sm_clock_mhz=9999) for r in run.gpu.fast]
    run = replace(run, gpu=replace(run.gpu, fast=tuple(fast)))
    assert diagnose_run(run, shape=SHAPE_650M, ceiling=DeviceCeiling(CEILING, 1306)).bottleneck == bottleneck


@pytest.mark.parametrize(
    ("reasons", "mhz", "bottleneck"),
    [(0x4, 1485, "device"), (0x4, 990, "throttling"), (0x40, 1485, "throttling"), (0x0, 990, "device")],
)
def test_throttling_and_a_normal_power_cap(reasons, mhz, bottleneck):
    run = with_gpu(back_to_back(), **clocks(reasons, mhz))
    found = diagnose_run(replace(run, gpu=replace(run.gpu, max_sm_clock_mhz=1980)))
    assert found.bottleneck == bottleneck
    assert evidence(found)["SM clock, median"] == f"{mhz:,} of 1,980 MHz"
    if (reasons, mhz) == (0x4, 1485):
        assert "(normal at full load)" in evidence(found)["clocks lowered by sw_power_cap"]


def host_only(fetch_ms, device=None):
    batches = [
        batch(n, n * 100, n * 100 + 100, [
            stage("fetch", n * 100, n * 100 + fetch_ms),
            stage("forward", n * 100 + fetch_ms, n * 100 + 100),
        ], packing(LENGTHS, 4096))
        for n in range(20)
    ]  # fmt: skip
    return run_of(batches, 2000, device=device)


@pytest.mark.parametrize(("fetch_ms", "bottleneck"), [(4, "host_arithmetic"), (6, "data_loading")])
def test_on_the_cpu_host_times_say_what_they_can(fetch_ms, bottleneck):
    found = diagnose_run(host_only(fetch_ms))
    assert found.bottleneck == bottleneck
    assert not found.healthy
    assert evidence(found)["device"] == "not measured (no GPU)"
    assert found.busy_share is None


def test_a_gpu_whose_times_were_not_taken_is_not_judged():
    lost = DeviceCapture("GPU", "GPU-1", timed=True, reason="cuEventRecord failed")
    found = diagnose_run(host_only(4, lost))
    assert found.bottleneck == "not_measured"
    assert "not measured" in found.sentence
    assert "cuEventRecord failed" in evidence(found)["device"]
    assert diagnose_run(host_only(30, lost)).bottleneck == "data_loading"


def test_nothing_recorded():
    assert diagnose_run(run_of([], 10, device=GPU)).bottleneck == "not_measured"


def test_a_short_run_is_judged_as_a_whole_and_says_so():
    found = diagnose_run(back_to_back((16.0,) * 4))
    assert not found.steady
    assert "too short to exclude warm-up" in evidence(found)["window"]


def test_a_saved_run_knows_its_model():
    run = replace(back_to_back(), metadata=arithmetic_metadata(SHAPE_650M, DeviceCeiling(1e15)))
    assert diagnose_run(run).mfu == pytest.approx(0.343, abs=0.01)
    assert diagnose_run(back_to_back()).mfu is None
    assert diagnose_run(replace(run, metadata={"model_arithmetic": "nonsense"})).mfu is None


def test_every_verdict_has_words():
    for found in (diagnose_run(back_to_back()), diagnose_run(host_only(4)), diagnose_run(launch_bound())):
        assert found.bottleneck in LABELS


def test_a_copy_beside_another_batch_costs_nothing():
    """A copy on a separate stream ends as soon as the host has launched it, while the device computes."""
    run = back_to_back()
    batches = []
    for one in run.batches:
        early = {"device_start_ns": one.stages[1].host_start_ns, "device_end_ns": one.stages[1].host_end_ns}
        stages = [replace(kept, **early) if kept.name == "h2d" else kept for kept in one.stages]
        batches.append(replace(one, stages=stages))
    found = diagnose_run(replace(run, batches=BatchTable.from_records(batches)))
    assert found.healthy
    assert found.lost_time.get("launching", 0.0) == pytest.approx(0.0, abs=1e-9)
    assert found.lost_time.get("copying", 0.0) < 0.002  # the end of each copy out, with an empty queue behind it


@pytest.mark.parametrize("odd", ["x", -1, 0, True, 10**400, [1], {}, 1e300])
@pytest.mark.parametrize("key", ["num_layers", "hidden_size", "ceiling_flops_per_second"])
def test_metadata_that_no_number_can_be_had_from_are_as_good_as_none(key, odd):
    kept = {"num_layers": 6, "hidden_size": 320, "ceiling_flops_per_second": 1e15}
    stages = [stage("forward", 1, 2, (1, 9))]
    batches = [batch(i, 10 * i, 10 * i + 9, stages, packing([8, 9], 32)) for i in range(3)]
    run = run_of(batches, 40, metadata={"model_arithmetic": {**kept, key: odd}})
    assert diagnose_run(run).mfu is None


@pytest.mark.parametrize("odd", ["x", -1, 0, True, 10**400, [1], {}, 1e300, float("nan"), float("inf"), None])
def test_a_clock_in_metadata_that_is_none_leaves_the_comparison_by_time(odd):
    run = at_clock(1620, 0.9)
    kept = {"num_layers": 33, "hidden_size": 1280, "ceiling_flops_per_second": CEILING}
    by_time = diagnose_run(replace(run, metadata={"model_arithmetic": kept}))
    assert by_time.bottleneck == "shared_device"
    assert diagnose_run(replace(run, metadata={"model_arithmetic": {**kept, "ceiling_sm_clock_mhz": odd}})) == by_time


@pytest.mark.parametrize("mhz", [1e-300, 1e29, 1])
def test_a_clock_that_no_device_has_does_no_harm(mhz):
    kept = {"num_layers": 33, "hidden_size": 1280, "ceiling_flops_per_second": CEILING, "ceiling_sm_clock_mhz": mhz}
    found = diagnose_run(replace(at_clock(1620, 0.7), metadata={"model_arithmetic": kept}))
    assert all(0 <= share <= 1 for share in found.lost_time.values())
