# SPDX-License-Identifier: MIT
"""Cells with intervals, ties, and the time that was measured."""

from dataclasses import replace

import pytest

from tests.support.sweeps import WORKLOAD, conditions, success
from virnuc_profiler.reports.sweep_tables import render_baseline, render_dataloader
from virnuc_profiler.reports.sweeps.sweep_columns import with_half_width
from virnuc_profiler.sweep.plan.steps import plan
from virnuc_profiler.sweep.results.result_files import make_document, with_standings
from virnuc_profiler.sweep.results.verdicts.standing import Standing
from virnuc_profiler.targets.knobs.configuration import BASELINE, Configuration

FAST = Configuration(8, 4)


def result(config, rate, **standing):
    measured = success(config, rate - 10, steady_sequences_per_sec=rate, measured_sec=3.14, start_up_sec=0.5, passes=7)
    return replace(measured, standing=Standing(**{"measurements": 1, "cost": 6e6 / rate, "rate": rate, **standing}))


def document(step, results):
    circumstances = replace(conditions(), workload=WORKLOAD.to_json())
    found = make_document(plan()[step], circumstances, results, results[0], planned=len(results), took_sec=40.0)
    return with_standings(found, {one.configuration: one.standing for one in results})


def test_rates_and_speedups_have_intervals_and_ties_are_marked():
    base = result(BASELINE, 100.0, rate_low=99.5, rate_high=100.5, speedup=1.0, tied=True)
    fast = result(
        FAST, 101.0, rate_low=100.0, rate_high=102.0, speedup=1.01, speedup_low=0.985, speedup_high=1.036, tied=True
    )
    slow = result(
        Configuration(2, 4), 60.0, speedup=0.6, speedup_low=0.58, speedup_high=0.62, tied=False, measurements=5
    )
    rule = "=" * 99
    assert render_dataloader(document("dataloader", [base, fast, slow])) == (
        "DataLoader Parameter Sweep\n"
        f"{rule}\n"
        "Workers | Prefetch | Seq/sec     | Tok/sec  | GPU Util | Memory  | Speedup              | Measured\n"
        "4       | 4        | 100.0 ±0.5% | 21,500   | 87.2%    | 6.54G   | 1.00x =              | 3.1 s\n"
        "8       | 4        | 101.0 ±1.0% | 21,715   | 87.2%    | 6.54G   | 1.01x (0.985-1.04) = | 3.1 s\n"
        "2       | 4        | 60.0        | 12,900   | 87.2%    | 6.54G   | 0.600x (0.580-0.620) | 5 x 3.1 s\n"
        f"{rule}\n"
        "Fastest measured: num_workers=8, prefetch_factor=4 (101.0 seq/sec, 1.01x vs baseline)\n"
        "Baseline: num_workers=4, prefetch_factor=4 (100.0 seq/sec)\n"
        "Not told apart from it by the noise so far, or within 2% (marked =): the baseline.\n"
        "Cheapest of them: num_workers=4, prefetch_factor=4.\n"
        "Each configuration was measured once in this step, so differences are not tested; --repeats 5 tests them in "
        "about 3 min 20 s."
    )


def test_the_baseline_says_for_how_long_it_was_measured():
    text = render_baseline(document("baseline", [result(BASELINE, 100.0, rate_low=99.5, rate_high=100.5)]))
    assert "Throughput: 100.0 ±0.5% seq/sec, 21,500 tok/sec\n" in text
    assert "Measured: 3.1 s after a start-up of 0.5 s, 7 passes\n" in text


def test_a_run_that_is_too_short_for_a_steady_rate_is_called_rough():
    short = [replace(result(one, 100.0, steady=False), rough_sequences_per_sec=90.0) for one in (BASELINE, FAST)]
    assert "\nSeq/sec is rough: the run is too short" in render_baseline(document("baseline", short[:1]))
    both = "\nSeq/sec of 2 of 2 configurations are rough: the runs are too short"
    assert both in render_dataloader(document("dataloader", short))


@pytest.mark.parametrize(("half", "shown"), [(0.001, "±0.1%"), (0.12, "±0.2%"), (0.3, "±0.3%"), (12.0, "±12.0%")])
def test_half_the_width_of_an_interval_is_rounded_up(half, shown):
    one = result(BASELINE, 100.0, rate_low=100 - half, rate_high=100 + half)
    assert with_half_width("100.0", one) == f"100.0 {shown}"


def test_an_interval_that_says_nothing_is_not_printed():
    base = result(BASELINE, 100.0, speedup=1.0)
    wild = result(FAST, 101.0, speedup=1.01, speedup_low=0.0005, speedup_high=1900.0, tied=True)
    text = render_dataloader(document("dataloader", [base, wild]))
    assert "1.01x (?) " in text
    assert "(?) Too little was repeated so far, or it differs too much, for an interval." in text
