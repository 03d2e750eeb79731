# SPDX-License-Identifier: MIT
import pytest

from virnuc_profiler.analysis.gpu.coverage import Coverage
from virnuc_profiler.reports.coverage_text import with_coverage


@pytest.mark.parametrize(
    ("text", "coverage", "expected"),
    [
        ("71.2%", None, "71.2%"),
        ("71.2%", Coverage(0.95, 38, 1.0, 0.02), "71.2%"),
        ("71.2%", Coverage(0.62, 38, 1.0), "71.2% (of 62% of the run, 38 readings)"),
        ("71.2%", Coverage(1.0, 38, 1.0, 0.1), "71.2% (within 10 points: short run)"),
        ("71.2%", Coverage(0.8, 8, 1.0, 0.5), "71.2% (of 80% of the run, 8 readings; within 50 points: short run)"),
        ("n/a", None, "n/a"),
        ("n/a", Coverage(1.0, 38, 1.0), "n/a"),  # for another reason
        ("n/a", Coverage(0.1, 60, 54.0), "n/a (10% of the run sampled, 60 readings)"),
        ("n/a", Coverage(0.001, 1, 54.0), "n/a (under 1% of the run sampled, 1 reading)"),
        ("n/a", Coverage(1.0, 5, 0.1, 1.0), "n/a (the run is too short to sample)"),
    ],
)
def test_remarks(text, coverage, expected):
    assert with_coverage(text, coverage) == expected


def test_a_value_that_is_no_percentage():
    assert with_coverage("300.0 J", Coverage(1.0, 5, 0.1, 0.1), "%") == "300.0 J (within 10%: short run)"
    assert with_coverage("700.0 W", Coverage(1.0, 5, 0.1, 0.1), None) == "700.0 W"
