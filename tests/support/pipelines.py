# SPDX-License-Identifier: MIT
"""Handmade runs of a packed-inference loop on an exact clock; the arguments decide what waits for what."""

from dataclasses import replace

from tests.support.run_records import batch, packing, run_of, samples, stage
from virnuc_profiler.telemetry.records import DeviceCapture

GPU = DeviceCapture("Stand-in GPU", "GPU-1", timed=True, alignment_uncertainty_ns=5_000)
LENGTHS = [256] * 16
LAUNCH_MS = 6.0
COPY_MS = 0.02


def back_to_back(device_times_ms=(16.0,) * 40, pause_ms=0.0, **more):
    """Return a run whose host runs ahead of the device.

    With a pause, the data of each batch arrive that long after the device has become idle, and the host waits for them.
    """
    batches, now = [], 0.0
    for number, device_ms in enumerate(device_times_ms):
        start = now + pause_ms
        launched = start if pause_ms else start - 8.0
        fetching = now - 9.0 if pause_ms else launched - 0.1
        computed = start + device_ms
        stages = [
            stage("fetch", fetching, launched),
            stage("h2d", launched, launched + 0.03, device=(start, start + COPY_MS)),
            stage("forward", launched + 0.03, launched + LAUNCH_MS, device=(start + COPY_MS, computed)),
            stage("d2h", launched + LAUNCH_MS, launched + LAUNCH_MS + 0.03, device=(computed, computed + COPY_MS)),
        ]
        now = computed + COPY_MS
        batches.append(batch(number, fetching, now + 0.05, stages, packing(LENGTHS, 4096)))
    return run_of(batches, now + 1.0, start_ms=-20.0, **{"device": GPU, **more})


def one_by_one(
    count=40,
    device_ms=16.0,
    launch_ms=LAUNCH_MS,
    fetch_ms=0.05,
    collate_ms=0.0,
    emit_ms=0.05,
    wake_ms=0.03,
    hold=None,
    copy_ms=COPY_MS,
    **more,
):
    """Return a run whose host waits for each batch before it fetches the next.

    Args:
        hold: Stage in which the host waits for the device; None for outside of all stages.
    """
    batches, now = [], 0.0
    for number in range(count):
        began = now
        fetched = began + fetch_ms + collate_ms
        launched = fetched + launch_ms
        computed = fetched + max(device_ms, launch_ms)
        done = computed + copy_ms
        left = done + 0.005 if hold == "d2h" else launched + 0.02
        stages = [
            stage("fetch", began, fetched),
            *([stage("collate", began + fetch_ms, fetched)] if collate_ms else []),
            stage("h2d", fetched, fetched + 0.03, device=(fetched, fetched + 0.03)),
            stage("forward", fetched + 0.03, launched, device=(fetched + 0.03, computed)),
            stage("d2h", launched, left, device=(computed, done)),
        ]
        awake = max(left, done + wake_ms)
        stages.append(stage("emit", awake, awake + emit_ms))
        now = awake + emit_ms
        batches.append(batch(number, began, now, stages, packing(LENGTHS, 4096)))
    return run_of(batches, now, **{"device": GPU, **more})


def with_gpu(run, **tiers):
    """Return the run with readings of its GPU."""
    return replace(run, gpu=samples(**tiers))
