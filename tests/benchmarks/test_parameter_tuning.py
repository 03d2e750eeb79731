# SPDX-License-Identifier: MIT
"""The five steps of the sweep on a GPU, as tests. They assert that results are whole and true, nothing about speed.

Environment variables make it smaller or larger:

* ``VIRNUC_TUNING_MODEL``: the model, by default ``3B``.
* ``VIRNUC_TUNING_SEQUENCES``: sequences of each configuration, by default 2000; the validation runs 2.5 times as many.
* ``VIRNUC_TUNING_WEIGHTS``: by default ``random``, which is enough for timings.
* ``VIRNUC_TUNING_RESULTS``: the folder of the results; by default a temporary one.
* ``VIRNUCPRO_PRODUCTION_FASTA``: sequences of your own, of which a random sample is run.
"""

import math
import os
from pathlib import Path

import pytest

from virnuc_profiler.reports.sweep_tables import render_step
from virnuc_profiler.targets.knobs.configuration import BASELINE

pytestmark = [pytest.mark.slow, pytest.mark.gpu, pytest.mark.timeout(3600)]

RATES = ("elapsed_sec", "sequences_per_sec", "tokens_per_sec", "peak_memory_gb")


@pytest.fixture(scope="class")
def results_dir(tmp_path_factory):
    named = os.environ.get("VIRNUC_TUNING_RESULTS")
    return Path(named) if named else tmp_path_factory.mktemp("tuning_results")


@pytest.fixture(scope="class")
def sweep(results_dir):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip(f"needs a CUDA device, and PyTorch {torch.__version__} sees none")
    from virnuc_profiler.inference.esm2.config import resolve_model_name
    from virnuc_profiler.sweep.session import Sweep
    from virnuc_profiler.sweep.trial.measured_model import MeasuredModel, Request

    fasta = os.environ.get("VIRNUCPRO_PRODUCTION_FASTA")
    request = Request(
        output_dir=results_dir,
        device=torch.device("cuda", torch.cuda.current_device()),
        model=resolve_model_name(os.environ.get("VIRNUC_TUNING_MODEL", "3B")),
        fasta=Path(fasta) if fasta else None,
        num_sequences=int(os.environ.get("VIRNUC_TUNING_SEQUENCES", "2000")),
        weights=os.environ.get("VIRNUC_TUNING_WEIGHTS", "random"),
    )
    model = MeasuredModel(request)
    workload = request.workload()
    model.warm_up(workload)
    return Sweep(results_dir, model.run_trial, workload, request.validation_workload(), model.conditions())


class TestParameterTuning:
    """Shares one folder of results and one loaded model."""

    def test_baseline_validation(self, sweep):
        document = run(sweep, "baseline")
        (result,) = document.results
        assert result.configuration == BASELINE
        assert (sweep.output_dir / "baseline.json").is_file()

    def test_dataloader_parameter_sweep(self, sweep):
        document = run(sweep, "dataloader")
        pairs = [(r.configuration.num_workers, r.configuration.prefetch_factor) for r in document.results]
        assert pairs == [(workers, prefetch) for workers in (2, 4, 8) for prefetch in (2, 4, 8)]

    def test_packing_parameter_sweep(self, sweep):
        document = run(sweep, "packing")
        pairs = [(r.configuration.token_budget, r.configuration.buffer_size) for r in document.results]
        assert pairs == [(budget, buffer) for budget in (2048, 4096, 8192) for buffer in (500, 1000, 2000)]
        require_constraint(document)

    def test_interaction_sweep(self, sweep):
        document = run(sweep, "interaction")
        pairs = [(r.configuration.num_workers, r.configuration.token_budget) for r in document.results]
        assert pairs == [(workers, budget) for workers in (4, 8) for budget in (2048, 4096, 8192)]
        require_constraint(document)

    def test_optimal_config_validation(self, sweep):
        document = run(sweep, "validation")
        (result,) = document.results
        assert result.configuration == document.choice.configuration
        assert (sweep.output_dir / "best_config.json").is_file()
        hours = 6e6 / sweep.validation_workload.num_sequences * result.elapsed_sec / 3600
        assert document.projection.hours == pytest.approx(hours)


def run(sweep, name):
    """Runs a step, prints its table, and checks every result against its telemetry file and the workload."""
    from virnuc_profiler.telemetry.reader import read_telemetry

    document = sweep.run_step(name)
    print(f"\n{render_step(document)}")
    assert document.complete
    assert (sweep.output_dir / sweep.steps[name].file_name).is_file()
    workload = sweep.validation_workload if name == "validation" else sweep.workload
    for result in document.results:
        if result.predicted:
            assert result.predicted_peak_memory_gb > result.available_memory_gb
            continue
        assert result.cleanup["workers_left"] == []
        if result.status != "success":
            assert result.reason == "OOM", result.message
            continue
        assert all(math.isfinite(getattr(result, key)) and getattr(result, key) > 0 for key in RATES)
        assert 0 < result.packing_efficiency <= 1
        assert result.gpu_util is None or 0 <= result.gpu_util <= 100
        assert result.tokens_per_sec == pytest.approx(workload.tokens / result.elapsed_sec)
        telemetry = read_telemetry(sweep.output_dir / result.telemetry_path)
        batches = telemetry["per_batch_metrics"]
        assert sum(batch["num_sequences"] for batch in batches) == workload.num_sequences
        assert sum(batch["num_tokens"] for batch in batches) == workload.tokens
    costs = [result.standing.cost for result in document.results if result.status == "success"]
    assert costs, "every configuration failed"
    if document.constraint_met is None:
        assert document.best.standing.cost == min(costs)
    return document


def require_constraint(document):
    """Of those with enough packing efficiency, the one with the shortest predicted time is the best."""
    succeeded = [result for result in document.results if result.status == "success"]
    packed = [result for result in succeeded if result.packing_efficiency >= document.min_packing]
    assert document.constraint_met is bool(packed)
    fastest = min(packed or succeeded, key=lambda result: result.standing.cost)
    assert document.best.configuration == fastest.configuration
