# SPDX-License-Identifier: MIT
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.support.runs import batch_records, table_of
from virnuc_profiler.telemetry.records import (
    STAGES,
    DeviceCapture,
    EnergyReading,
    GpmReading,
    GpuReading,
    GpuSamples,
    SamplerTierRecord,
)
from virnuc_profiler.telemetry.run_result import RunResult

_samples = st.builds(
    GpuSamples,
    uuid=st.just("GPU-1"),
    fast=st.lists(st.builds(GpuReading, at_ns=st.integers(0, 2**62)), max_size=3).map(tuple),
    gpm=st.just((GpmReading(1, 2, 0.5, None, 0.25),)),
    energy=st.just((EnergyReading(5, 7),)),
    tiers=st.just((SamplerTierRecord("fast", 100.0, 3, 1, 0, False, ""),)),
)


@given(st.lists(batch_records(), max_size=5))
def test_a_table_gives_back_its_records(batches):
    table = table_of(batches)
    assert list(table) == batches
    assert [table[i] for i in range(len(table))] == batches
    assert list(table[1:]) == batches[1:]
    tokens = [batch.packing.tokens for batch in batches if batch.packing]
    assert table.total("tokens") == (sum(tokens) if tokens or not batches else None)


@given(st.lists(batch_records(), max_size=5), st.none() | _samples)
def test_a_saved_run_is_the_same_when_loaded(batches, samples):
    run = RunResult(
        run_id="r",
        started_at="2026-01-01T00:00:00+00:00",
        host_start_ns=3,
        host_end_ns=2_000_000_003,
        stage_names=STAGES,
        batches=table_of(batches),
        device=DeviceCapture("NVIDIA H200", uuid="GPU-1", timed=True, alignment_uncertainty_ns=900),
        gpu=samples,
        metadata={"who": "me"},
    )
    with tempfile.TemporaryDirectory() as folder:
        loaded = RunResult.load(run.save(Path(folder) / "run.json"))
    assert list(loaded.batches) == batches
    assert (loaded.device, loaded.gpu, loaded.metadata) == (run.device, run.gpu, run.metadata)
    assert (loaded.elapsed_s, loaded.total_tokens) == (2.0, run.total_tokens)
