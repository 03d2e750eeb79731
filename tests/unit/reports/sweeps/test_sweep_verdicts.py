# SPDX-License-Identifier: MIT
"""A table claims no more than was measured: noise is called noise, and nothing slower is recommended."""

from dataclasses import replace

import pytest

from tests.support.sweeps import WORKLOAD, conditions, failure, success
from virnuc_profiler.reports.sweep_tables import render_interaction, render_packing
from virnuc_profiler.reports.sweeps.sweep_verdicts import best_label, missed_packing_note, verdicts
from virnuc_profiler.sweep.plan.configuration import BASELINE, Configuration
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.plan.steps import plan
from virnuc_profiler.sweep.results.result_files import make_document, with_standings

FAST, CLOSE, SLOW = Configuration(8), Configuration(8, 8), Configuration(2)
UNTESTED = "Each configuration was measured once, so differences are not tested; --repeats 5 tests them"


def document(results, step="dataloader", baseline=100.0, workload=WORKLOAD, **more):
    circumstances = replace(conditions(), workload=workload.to_json())
    reference = failure(BASELINE) if baseline is None else success(BASELINE, baseline)
    return make_document(plan()[step], circumstances, results, reference, planned=len(results), **more)


def judged(results, best, step="dataloader", baseline=100.0, **standings):
    """A document with changed standings: ``tied`` configurations, and what blocks have shown of the best."""
    found = document(results, step, baseline)
    tied = standings.pop("tied")
    changed = {
        one.configuration: replace(one.standing, tied=one.configuration in (*tied, best), **standings)
        for one in found.results
        if one.standing is not None
    }
    return with_standings(found, changed)


def words(*results, **options):
    return " ".join(verdicts(document(list(results), **options)))


def test_without_repetition_nothing_is_tested_and_the_price_of_a_test_is_named():
    assert words(success(FAST, 130.0), success(SLOW, 80.0)) == f"{UNTESTED}."
    assert words(success(FAST, 130.0), success(SLOW, 80.0), took_sec=24.0) == f"{UNTESTED} in about 2 min 00 s."
    assert words(failure(FAST)) == ""


def test_what_the_noise_does_not_tell_from_the_best_is_named_with_the_cheapest():
    results = [success(FAST, 101.0), success(BASELINE, 100.0), success(SLOW, 99.0), success(CLOSE, 70.0)]
    text = " ".join(verdicts(judged(results, FAST, tied=(BASELINE, SLOW))))
    assert text == (
        "Not told apart from it by the noise so far (marked =): the baseline; num_workers=2, prefetch_factor=4. "
        f"Cheapest of them: num_workers=2, prefetch_factor=4. {UNTESTED}."
    )


def test_blocks_show_that_the_best_is_better():
    results = [success(FAST, 130.0), success(BASELINE, 100.0), success(CLOSE, 129.0)]
    shown = {"verdict": "faster", "blocks": 5, "speedup_low": 1.28, "speedup_high": 1.32}
    found = judged(results, FAST, tied=(CLOSE,), **shown)
    assert " ".join(verdicts(found)) == (
        "Better than the baseline in 5 blocks: 1.30x, 1.28 to 1.32. "
        "Not told apart from it: num_workers=8, prefetch_factor=8. Cheapest of them: num_workers=8, prefetch_factor=4."
    )
    assert best_label(found) == "Best"


def test_blocks_show_a_tie_or_that_they_cannot_tell():
    results = [success(FAST, 101.0), success(BASELINE, 100.0), success(SLOW, 100.5)]
    same = {"verdict": "same", "blocks": 3, "speedup_low": 1.0, "speedup_high": 1.015}
    assert " ".join(verdicts(judged(results, FAST, tied=(BASELINE, SLOW), **same))) == (
        "Tied within 2% of the baseline in 3 blocks: the baseline; num_workers=8, prefetch_factor=4; num_workers=2, "
        "prefetch_factor=4. Cheapest of them: num_workers=2, prefetch_factor=4."
    )
    unknown = {"verdict": "cannot_tell", "blocks": 2, "speedup_low": 0.8, "speedup_high": 1.2}
    text = " ".join(verdicts(judged(results[:1], FAST, tied=(), **unknown)))
    assert text.startswith("Cannot tell in 2 blocks whether it is better than the baseline: 1.01x, 0.800 to 1.20; a ")
    assert best_label(judged(results, FAST, tied=(), **unknown)) == "Fastest measured"


def test_a_slower_best_is_not_recommended():
    slower = [success(FAST, 91.0), success(SLOW, 80.0)]
    assert words(*slower).startswith("It is not faster than the baseline: keep the baseline.")
    assert "Sweet spot" not in render_interaction(document(slower, "interaction"))
    itself = words(success(BASELINE, 100.0), success(SLOW, 80.0))
    assert itself.startswith("That is the baseline itself, measured again: keep it.")


def test_the_fastest_is_called_so_only_if_it_is():
    wasteful, full = success(Configuration(token_budget=8192), 120.0, 0.8), success(BASELINE, 90.0, 0.95)
    assert best_label(document([wasteful, full], "packing")) == "Fastest measured with 90% packing or more"
    assert best_label(document([full], "packing")) == "Fastest measured"
    frugal = success(FAST, 80.0, joules_per_sequence=1.0)
    assert best_label(document([frugal], objective=Objective("energy"))) == "Least energy measured"


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
