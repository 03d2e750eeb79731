# SPDX-License-Identifier: MIT
from dataclasses import replace

import pytest

from tests.support.pipelines import GPU, LENGTHS, back_to_back, one_by_one, with_gpu
from tests.support.run_records import MS, batch, packing, run_of, stage
from virnuc_profiler.analysis.diagnosis import diagnose
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
    assert found.sentence.startswith(
        "Healthy: after warm-up, the device is in its stages for at most 100.0% of the time (with"
    )
    assert "busy" not in found.sentence
    assert found.stage_share == 1.0
    assert found.gaps == ()
    assert found.further == ()


@pytest.mark.parametrize(
    ("replayed", "sampled", "hidden"), [(40, False, False), (10, False, True), (0, False, True), (0, True, False)]
)
def test_a_healthy_verdict_says_whether_waits_inside_stages_were_measured(replayed, sampled, hidden):
    run = back_to_back()
    batches = [
        replace(one, stages=tuple(replace(some, timestamped=some.name == "forward") for some in one.stages))
        if number < replayed
        else one
        for number, one in enumerate(run.batches)
    ]
    run = replace(run, batches=BatchTable.from_records(batches))
    found = diagnose_run(with_gpu(run, **gpm(sm=0.4)) if sampled else run)
    assert found.healthy
    assert ("Waits for launches inside a stage were not measured." in found.sentence) == hidden
    assert ("by its own timestamps" in found.sentence) == (replayed > 0)
    assert ("with an SM activity of 0.40" in found.sentence) == sampled
    assert found.timestamped_share == (pytest.approx((replayed - 4) / 36, abs=0.01) if replayed else None)
    if replayed:
        assert "in stages that the device timed itself" in evidence(found)


def test_replays_that_end_with_the_host_did_not_wait_for_launches():
    """Their own timestamps say so: only stages between events can hide waits."""
    run = launch_bound()
    batches = [
        replace(one, stages=tuple(replace(some, timestamped=some.name == "forward") for some in one.stages))
        for one in run.batches
    ]
    found = diagnose_run(replace(run, batches=BatchTable.from_records(batches)))
    assert diagnose_run(run).lost_time["launching"] > 0.9
    assert found.lost_time["launching"] < 0.02


def test_device_times_outside_of_the_run_are_none():
    """Without evidence that the device was busy, the run does not count as healthy."""
    stages = [stage("fetch", 0, 4), stage("forward", 4, 10, device=(50, 60))]
    found = diagnose_run(run_of([batch(0, 0, 10, stages)], 10, device=GPU))
    assert (found.healthy, found.stage_share) == (False, None)
    assert "Healthy" not in found.sentence


def test_device_times_without_length_say_nothing_either():
    idle = [batch(n, 0, 10, [stage("forward", 4, 10, device=(7, 7))]) for n in range(9)]
    assert diagnose_run(run_of(idle, 10, device=GPU)).sentence == "No diagnosis: the recorded work took no time."


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
    assert "is bound by data loading: the run spends 50.0% of that time" in found.sentence
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
    assert found.stage_share > 0.98


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


def ends_after_the_host(lag_ms, error_ns):
    """Return a run without gaps whose device ends that long after the host, by clocks that agree to within an error.

    Up to 0.8 ms, which are 5 % of the batch, it would have ended with the host and waited for launches.
    """
    run = back_to_back()
    batches = run.batches.with_device_times_later(int((lag_ms - 17.99) * MS))
    device = replace(GPU, alignment_uncertainty_ns=error_ns // 2, alignment_residual_ns=error_ns - error_ns // 2)
    return replace(run, batches=batches, device=device)


@pytest.mark.parametrize(
    ("lag_ms", "error_ns", "bottleneck"),
    [
        (0.84, 0, "device"),
        (0.78, 0, "launching"),
        (0.84, 60_000, "device"),  # within the error it may be 0.78
        (0.78, 60_000, "device"),  # within the error it may be 0.84
        (0.5, 60_000, "launching"),
        (0.78, 10**9, "device"),
    ],
)
def test_a_verdict_holds_wherever_the_clocks_may_be_within_their_error(lag_ms, error_ns, bottleneck):
    found = diagnose_run(ends_after_the_host(lag_ms, error_ns))
    assert found.bottleneck == bottleneck
    assert found.healthy == (bottleneck == "device")
    uncertain = [line for line in evidence(found) if "may explain" in line]
    assert len(uncertain) == ("beyond the error of the clocks" in found.sentence) == (found.healthy and error_ns > 0)
    for line in uncertain:
        assert line.startswith("launching, which the clocks' error of ")


@pytest.mark.parametrize("lag_ms", [0.84, 0.78, 0.5])
def test_the_middle_of_a_long_run_shows_the_error_of_the_clocks_too(monkeypatch, lag_ms):
    run = ends_after_the_host(lag_ms, 60_000)
    whole = diagnose_run(run)
    monkeypatch.setattr(diagnose, "MAX_MOVED_BATCHES", len(run.batches) - 10)
    assert diagnose_run(run).bottleneck == whole.bottleneck
    assert diagnose_run(run).sentence == whole.sentence


def test_a_loss_that_no_clock_can_explain_is_named_despite_their_error():
    run = back_to_back(pause_ms=2.0)
    device = replace(GPU, alignment_uncertainty_ns=150_000)
    assert diagnose_run(replace(run, device=device)).bottleneck == "data_loading"


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


@pytest.mark.parametrize(
    ("processes", "words"),
    [
        ((), "Whether other processes use this device was not observed."),
        ((ProcessReading(300 * MS, 0),), "NVML saw no other process on this device."),
        ((ProcessReading(300 * MS, 2, 0),), "NVML saw 2 other processes on this device, but no SM time of others."),
    ],
)
@pytest.mark.parametrize(
    ("times_ms", "trend"), [((16.0,) * 20 + (40.0,) * 20, " (they became slower in the"), ((16.0, 40.0) * 20, ", ")]
)
def test_like_batches_that_take_different_times_are_no_evidence_of_other_users(times_ms, trend, processes, words):
    run = back_to_back(times_ms)
    found = diagnose_run(with_gpu(run, processes=processes) if processes else run)
    assert found.bottleneck == "unsteady_device"
    assert not found.healthy
    assert "shared_device" not in found.lost_time
    assert f"the slow ones (p90) take 2.5 times as long as the fast ones (p10){trend}" in found.sentence
    assert words in found.sentence
    assert "SM clocks were not sampled" in found.sentence


def test_activity_of_a_part_of_the_window_is_given_with_its_share():
    run = back_to_back((1600.0,) * 40)
    part = gpm(dram=None, seconds=48)
    assert evidence(diagnose_run(with_gpu(run, **part)))["SM activity"] == "0.90 (of 72.2% of that time)"
    assert evidence(diagnose_run(with_gpu(run, **gpm(seconds=70))))["SM activity"] == "0.90"
    assert "SM activity" not in evidence(diagnose_run(with_gpu(run, **gpm(seconds=20))))


def test_a_single_reading_says_nothing_of_a_long_run():
    """A run of 112 s, of which NVML saw one moment: neither other processes nor clocks are ruled out."""
    moment_ns = 30_000 * MS
    run = back_to_back((1600.0, 4000.0) * 20)
    once = with_gpu(run, processes=(ProcessReading(moment_ns, 0),), fast=(GpuReading(moment_ns, sm_clock_mhz=1980),))
    found = diagnose_run(once)
    assert found.bottleneck == "unsteady_device"
    assert "Whether other processes use this device was not observed." in found.sentence
    assert "SM clocks were not sampled, or too rarely to tell." in found.sentence
    assert "other processes on the device, by NVML" not in evidence(found)
    seen = with_gpu(run, processes=(ProcessReading(moment_ns, 3),))
    assert "NVML saw 3 other processes on this device" in diagnose_run(seen).sentence


def test_other_processes_explain_uneven_times_as_far_as_nvml_saw_them():
    run = back_to_back((16.0, 40.0) * 20)
    processes = tuple(ProcessReading(n * 50 * MS, 1, 40) for n in range(30))
    found = diagnose_run(with_gpu(run, processes=processes))
    assert found.bottleneck == "shared_device"
    assert "(SM time of other processes (1), by NVML: 40%)" in found.sentence
    assert found.lost_time["shared_device"] == pytest.approx(0.4)
    assert found.lost_time["unsteady_device"] == pytest.approx(1 - 16 / 28 - 0.4, abs=0.01)


def test_short_and_long_packs_of_an_unknown_model_are_not_called_anything():
    """Half of the packs hold 16 short sequences, half a long one, whose attention costs 2.8 times as much a token."""
    run = back_to_back((16.0, 40.0) * 20)
    batches = [
        replace(one, packing=packing([4096] if number % 2 else LENGTHS, 4096))
        for number, one in enumerate(run.batches)
    ]  # fmt: skip
    assert diagnose_run(replace(run, batches=BatchTable.from_records(batches))).healthy


def queued(late_ms):
    """Return a run in which the device begins each batch late, although it was queued long before."""
    run, batches = back_to_back(), []
    for number, one in enumerate(run.batches):
        later_ns = int(number * late_ms * MS)
        stages = [
            replace(some, device_start_ns=some.device_start_ns + later_ns, device_end_ns=some.device_end_ns + later_ns)
            if some.device_ns is not None
            else some
            for some in one.stages
        ]
        batches.append(replace(one, host_end_ns=one.host_end_ns + later_ns, stages=tuple(stages)))
    end_ns = run.host_end_ns + int(40 * late_ms * MS)
    return replace(run, batches=BatchTable.from_records(batches), host_end_ns=end_ns)


def test_queued_work_that_does_not_begin_is_named_as_that():
    found = diagnose_run(queued(8.0))
    assert found.bottleneck == "queued"
    assert "shared_device" not in found.lost_time
    assert "or the stream waits for an event" in found.sentence
    processes = tuple(ProcessReading(n * 50 * MS, 1, 20) for n in range(30))
    seen = diagnose_run(with_gpu(queued(8.0), processes=processes))
    assert seen.bottleneck == "shared_device"
    assert "queued" not in seen.lost_time


@pytest.mark.parametrize(
    ("share", "words"), [(0.20, "the largest loss is data loading"), (0.30, "the run is bound by data loading")]
)
def test_a_run_is_bound_by_what_takes_a_large_share(share, words):
    found = diagnose_run(back_to_back(pause_ms=16.02 * share / (1 - share)))
    assert words in found.sentence
    assert found.bottleneck == "data_loading"


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
    assert found.stage_share is None


def test_a_gpu_whose_times_were_not_taken_is_not_judged():
    lost = DeviceCapture("GPU", "GPU-1", timed=True, reason="cuEventRecord failed")
    found = diagnose_run(host_only(4, lost))
    assert found.bottleneck == "not_measured"
    assert "not measured" in found.sentence
    assert "cuEventRecord failed" in evidence(found)["device"]
    assert diagnose_run(host_only(30, lost)).bottleneck == "data_loading"


def test_nothing_recorded():
    assert diagnose_run(run_of([], 10, device=GPU)).bottleneck == "not_measured"


def test_the_window_of_a_short_run_is_the_whole_run():
    run = back_to_back((16.0,) * 4)
    found = diagnose_run(run)
    assert not found.steady
    assert "the whole run, too short to exclude its warm-up" in evidence(found)["window"]
    assert found.window_ns == run.host_end_ns - run.host_start_ns


def test_a_short_run_on_the_cpu_gets_no_advice_about_its_loader():
    """86 % of the time passes in the forward pass, and 13 % while the loader starts."""
    stages = [
        [stage("fetch", 0, 130), stage("forward", 131, 560)],
        [stage("fetch", 560, 560), stage("forward", 561, 990)],
    ]
    found = diagnose_run(run_of([batch(0, 0, 560, stages[0]), batch(1, 560, 990, stages[1])], 1000))
    assert found.bottleneck == "not_measured"
    assert "num_workers" not in found.sentence.replace("Fewer workers (num_workers)", "")
    assert "Most of its time passed in the model's stages (85.8%)." in found.sentence
    assert evidence(found)["host: in the model's stages"] == "85.8%"
    assert evidence(found)["host: waiting for data"] == "13.0%"


def test_stages_of_ones_own_are_the_model_on_the_cpu():
    batches = [batch(n, 10 * n, 10 * n + 10, [stage("encoder", 10 * n, 10 * n + 10)]) for n in range(20)]
    run = run_of([], 200)
    found = diagnose_run(replace(run, batches=BatchTable.from_records(batches)))
    assert found.bottleneck == "host_arithmetic"
    assert "100.0% of the time passes in the model's stages" in found.sentence


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
