# SPDX-License-Identifier: MIT
"""A small version of the counts behind what is claimed about verdicts."""

import json

import numpy as np
import pytest
from benchmarks.trial_noise import MODE_JUMP, NOISES, Host, TrialNoise

from benchmarks import verdict_errors


def test_a_slowdown_is_a_share_of_the_time():
    host = Host(TrialNoise("none", 0.0), np.random.default_rng(1))
    assert host.trial() / host.trial(0.05) == pytest.approx(1.05)


def test_a_host_with_two_modes_jumps_between_them():
    host = Host(TrialNoise("modes", 0.0, switches=0.5), np.random.default_rng(1))
    rates = {host.trial() for _ in range(50)}
    assert len(rates) == 2
    assert min(rates) / max(rates) == pytest.approx(np.exp(-MODE_JUMP))


def test_the_quick_run_prints_every_row_and_its_claims_hold(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["verdict_errors", "--quick", "--json", str(tmp_path / "figures.json")])
    verdict_errors.main()
    printed = capsys.readouterr().out
    assert "FAIL" not in printed
    assert printed.count("PASS") == 4
    rows = len(NOISES) * len(verdict_errors.methods()) * len(verdict_errors.SLOWDOWNS)
    assert len(json.loads((tmp_path / "figures.json").read_text())["figures"]) == rows
