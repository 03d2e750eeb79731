# SPDX-License-Identifier: MIT
"""A benchmark test of GPU work, profiled by the plugin: its run has the times of the device."""

import pytest

from virnuc_profiler.telemetry.run_result import RunResult

pytestmark = [pytest.mark.gpu, pytest.mark.slow]


def test_rounds_have_device_times(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile("""
        import torch

        def test_matmul(virnuc_profiler):
            a = torch.randn(2048, 2048, device="cuda")
            virnuc_profiler.repeat(lambda: (a @ a).sum().item(), rounds=100)

        def test_loop(virnuc_profiler):
            a = torch.randn(2048, 2048, device="cuda")
            with virnuc_profiler.loop(stages=("fetch", "forward")) as profiler:
                for _ in profiler.batches(range(100)):
                    with profiler.stage("forward"):
                        a @ a
    """)
    options = ("-p", "virnuc_profiler.pytest_plugin.plugin", "-p", "no:cacheprovider", "--virnuc-save", "runs")
    pytester.runpytest_subprocess(*options).assert_outcomes(passed=2)
    for file in (pytester.path / "runs").iterdir():
        run = RunResult.load(file)
        assert run.device.timed, run.device.reason
        assert len(run.batches) == 100
        timed = [stage for batch in run.batches for stage in batch.stages if stage.name in ("round", "forward")]
        assert all(stage.device_ns is not None and stage.device_ns > 0 for stage in timed)
