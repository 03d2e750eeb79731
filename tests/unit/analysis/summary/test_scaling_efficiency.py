# SPDX-License-Identifier: MIT
import pytest

from virnuc_profiler import calculate_scaling_efficiency


def test_golden():
    assert calculate_scaling_efficiency(100.0, 30.0, 4) == {
        "speedup": pytest.approx(100 / 30),
        "efficiency": pytest.approx(83.3333, abs=1e-4),
        "ideal_runtime": 25.0,
        "overhead_seconds": 5.0,
        "meets_perf03": False,
    }


def test_perfect_and_better():
    assert calculate_scaling_efficiency(100, 50, 2)["efficiency"] == 100.0
    assert calculate_scaling_efficiency(100, 40, 2)["overhead_seconds"] == -10.0


@pytest.mark.parametrize("gpus", [2, 3, 4, 7, 8])
def test_exactly_95_percent_meets_the_requirement(gpus):
    assert calculate_scaling_efficiency(100.0, 100.0 / (gpus * 0.95), gpus)["meets_perf03"] is True
    assert calculate_scaling_efficiency(100.0, 100.0 / (gpus * 0.9499), gpus)["meets_perf03"] is False


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((0, 1, 1), "baseline_runtime"),
        ((-1, 1, 1), "baseline_runtime"),
        ((float("nan"), 1, 1), "baseline_runtime"),
        ((1, 0, 1), "multi_gpu_runtime"),
        ((1, -2, 1), "multi_gpu_runtime"),
        ((1, float("inf"), 1), "multi_gpu_runtime"),
        ((1, 1, 0), "num_gpus"),
        ((1, 1, -1), "num_gpus"),
        ((1, 1, 1.5), "num_gpus"),
        ((1, 1, float("nan")), "num_gpus"),
        ((1, 1, float("inf")), "num_gpus"),
    ],
)
def test_nonsense(arguments, name):
    with pytest.raises(ValueError, match=name):
        calculate_scaling_efficiency(*arguments)
