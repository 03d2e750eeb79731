# SPDX-License-Identifier: MIT
"""A table claims no more than was measured: noise is called noise, and nothing slower is recommended."""

from dataclasses import replace

import pytest
from virnuc_profiler.reports.sweep_verdicts import fastest_label, missed_packing_note, repeated_spread, verdicts

from tests.support.sweeps import WORKLOAD, conditions, failure, success
from virnuc_profiler.reports.sweep_tables import render_interaction, render_packing
from virnuc_profiler.sweep.plan.configuration import BASELINE, Configuration
from virnuc_profiler.sweep.plan.steps import plan
from virnuc_profiler.sweep.results.result_files import make_document

FAST, CLOSE, SLOW = Configuration(8), Configuration(8, 8), Configuration(2)


def document(results, step="dataloader", baseline=100.0, workload=WORKLOAD):
    circumstances = replace(conditions(), workload=workload.to_json())
    reference = failure(BASELINE) if baseline is None else success(BASELINE, baseline)
    return make_document(plan()[step], circumstances, results, reference, planned=len(results))


def words(*results, **options):
    return " ".join(verdicts(document(list(results), **options)))


def test_a_difference_beyond_the_noise_needs_no_words():
    assert words(success(FAST, 130.0), success(BASELINE, 98.0), success(SLOW, 70.0)) == ""


@pytest.mark.parametrize(
    ("rates", "who"),
    [
        ({FAST: 105.0, BASELINE: 90.0, SLOW: 70.0}, "the baseline is"),
        ({FAST: 130.0, CLOSE: 125.0, BASELINE: 90.0}, "1 other is"),
        ({FAST: 105.0, CLOSE: 104.0, BASELINE: 90.0}, "the baseline and 1 other are"),
    ],
)
def test_what_lies_within_the_noise_is_no_difference(rates, who):
    text = words(*(success(configuration, rate) for configuration, rate in rates.items()))
    assert text == (
        f"No difference beyond the noise: {who} within the 10.5% by which two measurements of the baseline differ."
    )


def test_a_slower_best_is_not_recommended():
    slower = [success(FAST, 91.0), success(SLOW, 80.0)]
    assert words(*slower).startswith("It is not faster than the baseline: keep the baseline.")
    assert "Sweet spot" not in render_interaction(document(slower, "interaction"))
    itself = words(success(BASELINE, 100.0), success(SLOW, 80.0))
    assert itself == "That is the baseline itself, measured again: keep it."


def test_without_a_second_measurement_the_noise_is_not_known():
    unknown = "Each configuration was measured once, so how much of a difference is noise is not known."
    assert words(success(FAST, 130.0), success(SLOW, 80.0)) == unknown
    assert words(success(FAST, 130.0), success(SLOW, 80.0), baseline=None) == unknown
    assert words(failure(FAST)) == ""
    assert repeated_spread(document([success(BASELINE, 100.0)])) == 0


def test_the_fastest_is_called_so_only_if_it_is():
    wasteful, full = success(Configuration(token_budget=8192), 120.0, 0.8), success(BASELINE, 90.0, 0.95)
    assert fastest_label(document([wasteful, full], "packing")) == "Fastest measured with 90% packing or more"
    assert fastest_label(document([full], "packing")) == "Fastest measured"


@pytest.mark.parametrize(
    ("count", "tokens", "configuration", "cause"),
    [
        (72, 5995, {"token_budget": 65_536}, "72 sequences hold 5,995 tokens, and the token budget asks for 65,536"),
        (1, 300, {"token_budget": 4096}, "1 sequence holds 300 tokens, and the token budget asks for 4,096 in a batch"),
        (9000, 1_800_000, {"buffer_size": 50}, "a buffer of 50 sequences holds about 10,000 tokens, and the token"),
        (9000, 9_000_000, {"token_budget": 2048}, "sequences have 1,000 tokens on average, which leaves gaps in"),
        (9000, 1_800_000, {}, None),
    ],
)
def test_missed_packing_names_its_cause(count, tokens, configuration, cause):
    workload = replace(WORKLOAD, num_sequences=count, sequences_in_file=count, tokens=tokens)
    results = [success(Configuration(**configuration), 90.0, 0.8), failure(SLOW)]
    found = document(results, "packing", workload=workload)
    note = missed_packing_note(found)
    assert note in render_packing(found)
    if cause is None:
        assert note == "No configuration reached 90% packing efficiency; the best without that constraint is shown."
    else:
        assert note.startswith(f"No configuration reached 90% packing efficiency: {cause}")
        assert "; use " in note
