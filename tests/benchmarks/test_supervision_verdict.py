# SPDX-License-Identifier: MIT
"""What supervision costs is judged by all the time that trials took, not by what most of them took."""

import json

import pytest
from benchmarks.paired import ratio_of_pairs, ratio_of_totals
from benchmarks.supervision_cost import cost_claim, report

FEW_SLOW_ONES = [1.0] * 23 + [10.0] * 3
EVEN = [1.0] * 26


def test_a_few_slow_trials_fail_however_typical_the_others_are() -> None:
    total = ratio_of_totals(FEW_SLOW_ONES, EVEN)
    assert ratio_of_pairs(FEW_SLOW_ONES, EVEN).typical == pytest.approx(1.0)
    assert total.ratio == pytest.approx(53 / 26)
    assert total.low < total.ratio < total.high
    assert cost_claim(total).verdict == "FAIL"


@pytest.mark.parametrize(
    ("supervised", "verdict", "settled"),
    [
        ([1.05, 1.06] * 13, "PASS", True),
        ([0.9, 1.25] * 13, "PASS", False),
        ([0.95, 1.3] * 13, "FAIL", False),
        ([1.2, 1.21] * 13, "FAIL", True),
    ],
)
def test_the_claim_says_whether_other_trials_would_have_had_the_same_verdict(
    supervised: list[float], verdict: str, settled: bool
) -> None:
    claim = cost_claim(ratio_of_totals(supervised, EVEN))
    assert claim.verdict == verdict
    assert claim.text == "26 supervised trials take at most x1.10 in all"
    assert ("not settled" not in claim.measured) == settled


def test_the_report_shows_the_sums_and_the_typical_trial(tmp_path, capsys) -> None:
    report("Title", [2.0, 3.0], EVEN, FEW_SLOW_ONES, tmp_path / "figures.json")
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("26 trials in all") and "53.00 s" in line and "x2.038 [" in line for line in lines)
    assert any(line.startswith("the typical trial") and "x1.000 [" in line for line in lines)
    assert lines[-1].startswith("FAIL 26 supervised trials take at most x1.10 in all: x2.038 [")
    figures = json.loads((tmp_path / "figures.json").read_text())["figures"]
    assert figures["total_ratio"]["ratio"] == pytest.approx(53 / 26)
    assert figures["ratio"]["typical"] == pytest.approx(1.0)
