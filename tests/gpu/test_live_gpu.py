# SPDX-License-Identifier: MIT
"""What live views and metrics show of a real GPU."""

import re
import time

import pytest
import torch

from tests.support.command import run, wait_until
from tests.support.fasta_files import random_records, write_fasta
from virnuc_profiler import BatchProfiler
from virnuc_profiler.capture.sampling.live_reading import latest_reading

pytestmark = pytest.mark.gpu


def test_the_newest_reading_of_a_run_is_of_its_device():
    assert latest_reading() is None
    matrix = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
    with BatchProfiler(device="cuda"):
        end = time.monotonic() + 2
        while time.monotonic() < end:
            matrix @ matrix
        wait_until(lambda: latest_reading() is not None)
        reading = latest_reading()
        torch.cuda.synchronize()
    assert latest_reading() is None
    assert reading.utilization_percent > 50
    assert reading.power_mw > 50_000
    assert reading.used_memory_bytes > matrix.nbytes
    assert reading.sm_clock_mhz > 200


def test_a_call_costs_little_after_many_readings():
    with BatchProfiler(device="cuda"):
        wait_until(lambda: latest_reading() is not None)
        times = []
        for _ in range(50):
            began = time.perf_counter()
            latest_reading()
            times.append(time.perf_counter() - began)
    print(f"median of a reading: {1e6 * sorted(times)[25]:.0f} us")


@pytest.mark.slow
def test_a_sweep_in_another_process_tells_its_readings(tmp_path):
    metrics = tmp_path / "sweep.prom"
    finished = run(
        "sweep", "--model", "8M", "--weights", "random", "--num-sequences", 20_000, "--steps", "baseline",
        "--no-confirm", "--output-dir", tmp_path / "out", "--metrics", metrics, timeout=240,
    )  # fmt: skip
    assert finished.code == 0, finished.err
    assert re.search(r'^virnuc_sweep_trials_total{.+outcome="success"} [1-9]', metrics.read_text(), re.MULTILINE)


@pytest.mark.slow
def test_an_embed_job_tells_packing_and_rates(tmp_path):
    fasta = write_fasta(tmp_path / "some.faa", random_records(30_000, longest=400))
    metrics = tmp_path / "embed.prom"
    finished = run(
        "embed", "--fasta", fasta, "--model", "8M", "--weights", "random", "--output-dir", tmp_path / "out",
        "--metrics", metrics, timeout=240,
    )  # fmt: skip
    assert finished.code == 0, finished.err
    text = metrics.read_text()
    assert re.search(r"^virnuc_embed_sequences_total{.+} 30000$", text, re.MULTILINE)
    packing = re.search(r"^virnuc_embed_packing_ratio{.+} (0\.\d+)$", text, re.MULTILINE)
    assert float(packing[1]) > 0.8
