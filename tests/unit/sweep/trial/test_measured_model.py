# SPDX-License-Identifier: MIT
"""A model that is loaded again for another precision, without weights and without a device."""

import weakref
from types import SimpleNamespace

import pytest
import torch

from tests.support.sweeps import WORKLOAD, described_files, success
from virnuc_profiler.analysis.memory_footprint import MemoryFootprint
from virnuc_profiler.errors import ModelError, UsageError
from virnuc_profiler.inference.esm2.model import ModelInfo
from virnuc_profiler.sweep.trial import measured_model as module
from virnuc_profiler.sweep.trial.device_support import resolve_supported_device
from virnuc_profiler.sweep.trial.memory_forecast import MemoryForecast
from virnuc_profiler.targets.knobs.configuration import BASELINE

FP32, BF16 = BASELINE.replace(precision="fp32"), BASELINE.replace(precision="bf16")
PER_TOKEN = {"fp32": 400_000.0, "bf16": 200_000.0}


class Loads:
    """Stands in for ``load_esm2_model``, and remembers what was loaded and run."""

    def __init__(self):
        self.precisions = []
        self.runs = []
        self.options = {}
        self.failure = None
        self.living = weakref.WeakSet()

    def load(self, name, device, *, weights, precision=None):
        assert not self.living, "two models at once may not fit the device"
        self.precisions.append(precision)
        if self.failure is not None and precision == "bf16":
            raise self.failure
        model = type("Model", (), {})()
        model.info = ModelInfo(name, weights, "random", precision or "fp32", "sdpa", "torch", 1)
        self.living.add(model)
        return model, None

    def measure(self, configuration, fasta, folder, model, device, **options):
        self.options = options
        self.runs.append((configuration.precision, model.info.precision, "metadata" in options))
        return success(configuration)


@pytest.fixture
def loads(monkeypatch):
    found = Loads()
    monkeypatch.setattr("virnuc_profiler.inference.esm2.load.load_esm2_model", found.load)
    monkeypatch.setattr(module, "measure_configuration", found.measure)
    monkeypatch.setattr("virnuc_profiler.inference.sequences.fasta.FastaFile", described_files())
    monkeypatch.setattr("virnuc_profiler.sweep.trial.warm_up.measure_configuration", found.measure)
    return found


def measured_model(tmp_path, **changes):
    values = {"model_knobs": {"precision": "fp32"}, "varied": ("precision",), **changes}
    return module.MeasuredModel(module.Request(tmp_path, torch.device("cpu"), "m", **values))


def test_how_long_a_trial_lasts_is_a_condition_and_reaches_the_trial(loads, tmp_path):
    asked = {"precision_target": 0.02, "trial_seconds": 5.0}
    model = measured_model(tmp_path, **asked)
    model.run_trial(WORKLOAD, FP32, tmp_path)
    assert {name: loads.options[name] for name in asked} == asked
    repeated = model.conditions()
    model.close()
    once = measured_model(tmp_path).conditions()
    assert [found.name for found in repeated.differences(once)] == [f"settings.{name}" for name in asked]


def test_another_precision_has_the_model_loaded_again_and_warmed_up_and_the_result_says_so(loads, tmp_path):
    model = measured_model(tmp_path)
    model.warm_up(WORKLOAD, 0)
    results = [model.run_trial(WORKLOAD, c, tmp_path) for c in (FP32, FP32, BF16, BF16, FP32)]
    assert loads.precisions == ["fp32", "bf16", "fp32"]
    assert [result.model_reloaded for result in results] == [False, False, True, False, True]
    assert [result.model["precision"] for result in results] == ["fp32", "fp32", "bf16", "bf16", "fp32"]
    measured = [(asked, loaded) for asked, loaded, in_earnest in loads.runs if in_earnest]
    assert all(asked == loaded for asked, loaded in measured)
    warmed_up = [loaded for _, loaded, in_earnest in loads.runs if not in_earnest]
    assert warmed_up == ["fp32", "bf16", "fp32"]


def test_a_fixed_precision_is_a_condition_and_no_part_of_results(loads, tmp_path):
    model = measured_model(tmp_path, model_knobs={"precision": "bf16"}, varied=())
    result = model.run_trial(WORKLOAD, BASELINE, tmp_path)
    assert (result.model, result.model_reloaded) == (None, None)
    assert model.conditions().model["precision"] == "bf16"
    assert loads.precisions == ["bf16"]


def test_a_varied_precision_is_no_condition(loads, tmp_path):
    model = measured_model(tmp_path)
    before = model.conditions()
    model.run_trial(WORKLOAD, BF16, tmp_path)
    assert before.model["precision"] == "varied"
    assert model.conditions().differences(before) == []


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(torch.cuda.OutOfMemoryError("CUDA out of memory"), "OOM"), (ModelError("no weights"), "error")],
)
def test_a_model_that_cannot_be_loaded_fails_its_configurations_and_no_others(loads, tmp_path, failure, reason):
    model = measured_model(tmp_path)
    loads.failure = failure
    failed = model.run_trial(WORKLOAD, BF16, tmp_path)
    assert (failed.succeeded, failed.reason) == (False, reason)
    assert failed.message.startswith("its model could not be loaded: ")
    assert failed.model == {"model_name": "m", "precision": "bf16"}
    assert model.run_trial(WORKLOAD, FP32, tmp_path).succeeded


def test_the_memory_forecast_is_that_of_the_precision(loads, tmp_path, monkeypatch):
    def forecast(model, device, limit):
        footprint = MemoryFootprint(PER_TOKEN[model.info.precision], 1_000_000_000)
        return MemoryForecast(footprint, lambda: 5_000_000_000)

    monkeypatch.setattr(module, "forecast_memory", forecast)
    model = measured_model(tmp_path)
    large = {"token_budget": 14_000}
    assert model.run_trial(WORKLOAD, FP32.replace(**large), tmp_path).predicted
    fits = model.run_trial(WORKLOAD, BF16.replace(**large), tmp_path)
    assert (fits.predicted, fits.succeeded) == (False, True)
    assert fits.model["bytes_per_token"] == PER_TOKEN["bf16"]
    assert model.predicted_failure(WORKLOAD, FP32.replace(**large)).model is None
    assert model.predicted_failure(WORKLOAD, BF16.replace(**large)) is None


@pytest.mark.parametrize(
    ("precisions", "words"),
    [(("fp32", "fp16"), "precision 'fp16' needs a GPU"), (("fp8",), "precision 'fp8' is not available")],
)
def test_a_precision_that_the_device_lacks_is_refused_by_name(precisions, words):
    with pytest.raises(UsageError, match=words):
        resolve_supported_device("cpu", {"precision": precisions})
    assert resolve_supported_device("cpu", {"precision": ("fp32", "bf16")}) == torch.device("cpu")


def test_fp8_is_refused_on_a_card_that_is_too_old(monkeypatch):
    card = SimpleNamespace(type="cuda", index=0)
    monkeypatch.setattr("virnuc_profiler.sweep.trial.device_support.resolve_device", lambda name: card)
    monkeypatch.setattr(
        "virnuc_profiler.inference.esm2.encoders.fp8.fp8_unavailable_reason",
        lambda device, dtype: "NVIDIA A100 is older than Hopper (compute capability 9.0)",
    )
    with pytest.raises(UsageError, match=r"precision 'fp8' is not available .*A100 is older than Hopper"):
        resolve_supported_device("cuda", {"precision": ("bf16", "fp8")})
