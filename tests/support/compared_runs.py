# SPDX-License-Identifier: MIT
"""Saved runs of a known speed and noise, for tests of comparisons."""

import numpy as np

from tests.support.run_records import MS, batch, packing, run_of, stage
from virnuc_profiler.telemetry.records import DeviceCapture, GpuReading, GpuSamples

WORKLOAD = {"fingerprint": "sha256:" + "ab" * 32, "num_sequences": 4000, "tokens": 800_000, "skipped_records": None}
LENGTHS = [200] * 20
BATCH_MS = 10.0


def metadata_of(**changes):
    """Metadata of a run on an H200; a dotted change, such as ``versions__torch``, changes one key of a section."""
    metadata = {
        "status": "success",
        "failure": None,
        "config": {"num_workers": 4, "prefetch_factor": 4, "token_budget": 4096, "buffer_size": 2000},
        "model_name": "esm2_t6_8M_UR50D",
        "weights": "random seed 0",
        "precision": "fp16",
        "attention_backend": "triton",
        "kernels": "triton",
        "workload": WORKLOAD,
        "peak_memory_gb": 1.5,
        "hardware": {"cpu_model": "a processor", "hostname": "here", "driver_version": "580.1", "gpus": []},
        "versions": {"virnuc_profiler": "0.1.0", "torch": "2.11.0"},
    }
    for name, value in changes.items():
        section, _, key = name.partition("__")
        metadata[section] = {**metadata[section], key: value} if key else value
    return metadata


def noisy_run(
    *, seed=0, batches=200, slowdown=1.0, noise=0.01, run_noise=0.0, device="NVIDIA H200", clock=1980, **meta
):
    """Make a run whose batches take 10 ms on average, times a slowdown, after a start-up of 100 ms.

    Args:
        seed: Seed of the noise.
        batches: Number of batches.
        slowdown: Factor on the time of each batch.
        noise: Relative noise of the time of each batch.
        run_noise: Relative noise that all batches of the run share.
        device: Name of the device; ``cpu`` for none.
        clock: SM clock of the readings in MHz; None for no readings.
        meta: Changes of the metadata.
    """
    random = np.random.default_rng(seed)
    shared = slowdown * np.exp(run_noise * random.standard_normal())
    times = BATCH_MS * shared * np.exp(noise * random.standard_normal(batches))
    ends = 100 + np.cumsum(times)
    begins = np.concatenate([[0], ends[:-1]])
    on_device = device != "cpu"
    records = []
    for number, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        device_times = (begin + 0.1, end) if on_device else None
        stages = (stage("fetch", begin, begin + 0.1), stage("forward", begin + 0.1, end, device_times))
        records.append(batch(number, begin, end, stages, packing(LENGTHS, budget=4096)))
    gpu = None
    if on_device and clock is not None:
        readings = tuple(
            GpuReading(int(at * MS), utilization_percent=90, sm_clock_mhz=clock, throttle_reasons=0)
            for at in np.arange(0, ends[-1], 100)
        )
        gpu = GpuSamples("GPU-made-by-hand", fast=readings)
    return run_of(
        records, ends[-1], gpu=gpu, device=DeviceCapture(device, timed=on_device), metadata=metadata_of(**meta)
    )


def save_runs(folder, count=1, **options):
    """Save runs that differ in their noise only, and return their paths."""
    seed = options.pop("seed", 0)
    paths = [folder / f"run_{number}.json" for number in range(count)]
    for number, path in enumerate(paths):
        noisy_run(seed=seed + number, **options).save(path)
    return paths
