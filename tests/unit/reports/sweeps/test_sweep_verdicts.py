# SPDX-License-Identifier: MIT
"""A table claims no more than was measured: noise is called noise, and nothing slower is recommended."""

import itertools
from dataclasses import replace

import pytest

from tests.support.sweeps import WORKLOAD, FakeTrials, conditions, failure, fake_sweep, success
from virnuc_profiler.reports.sweep_tables import render_interaction, render_packing, render_step
from virnuc_profiler.reports.sweeps.sweep_verdicts import best_label, missed_requirement_note, verdicts
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.plan.steps import plan
from virnuc_profiler.sweep.results.result_files import make_document, read_step, with_standings
from virnuc_profiler.targets.knobs.configuration import BASELINE, Configuration

FAST, CLOSE, SLOW = Configuration(8), Configuration(8, 8), Configuration(2)
UNKNOWN = "Too little was repeated so far, or differed too much, to tell it from the others."
UNTESTED = "Each configuration was measured once in this step, so differences are not tested; --repeats 5 tests them"


def document(results, step="dataloader", baseline=100.0, workload=WORKLOAD, **more):
    circumstances = replace(conditions(), workload=workload.to_json())
    reference = failure(BASELINE) if baseline is None else success(BASELINE, baseline)
    return make_document(plan()[step], circumstances, results, reference, planned=len(results), **more)


def judged(results, best, step="dataloader", baseline=100.0, **standings):
    """A document with changed standings: ``tied`` configurations, and what blocks have shown of the best."""
    found = document(results, step, baseline, repeats=standings.get("blocks", 1))
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
    assert words(success(FAST, 130.0), success(SLOW, 80.0)) == f"{UNKNOWN} {UNTESTED}."
    assert words(success(FAST, 130.0), success(SLOW, 80.0), took_sec=24.0).endswith(f"{UNTESTED} in about 3 min 00 s.")
    itself = words(success(FAST, 130.0), success(BASELINE, 80.0), took_sec=24.0)  # no need to add the baseline
    assert itself.endswith(f"{UNTESTED} in about 2 min 00 s.")
    half = replace(document([success(FAST, 130.0), success(BASELINE, 80.0)], took_sec=24.0), planned=4)
    assert " ".join(verdicts(half)).endswith(f"{UNTESTED} in about 4 min 00 s.")
    assert words(failure(FAST)) == ""


def test_what_the_noise_does_not_tell_from_the_best_is_named_with_the_cheapest():
    results = [success(FAST, 101.0), success(BASELINE, 100.0), success(SLOW, 99.0), success(CLOSE, 70.0)]
    text = " ".join(verdicts(judged(results, FAST, tied=(BASELINE, SLOW))))
    assert text == (
        "Not told apart from it by the noise so far, or within 2% (marked =): the baseline; num_workers=2, "
        "prefetch_factor=4. "
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
        "Tied within 2% in 3 blocks: the baseline; num_workers=8, prefetch_factor=4; num_workers=2, "
        "prefetch_factor=4. Cheapest of them: num_workers=2, prefetch_factor=4."
    )
    unknown = {"verdict": "cannot_tell", "blocks": 2, "speedup_low": 0.8, "speedup_high": 1.2}
    text = " ".join(verdicts(judged(results[:1], FAST, tied=(), **unknown)))
    assert text.startswith("Cannot tell in 2 blocks whether it is better than the baseline: 1.01x, 0.800 to 1.20; a ")
    assert "Cheapest" not in text  # nothing is named that it could be the cheapest of
    assert best_label(judged(results, FAST, tied=(), **unknown)) == "Fastest measured"


def test_an_older_file_claims_no_more_than_a_new_one():
    old = document([success(FAST, 91.0), success(SLOW, 80.0)])
    old = replace(old, results=tuple(replace(one, standing=None) for one in old.results))
    text = " ".join(verdicts(replace(old, best=old.results[0])))
    assert text == f"It is not faster than the baseline: keep the baseline. {UNTESTED}."


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


GRID = {"num_workers": (2, 4), "prefetch_factor": (4,), "token_budget": (2048, 4096), "buffer_size": (2000,)}


def printed(folder, result_of, step, repeats=5, **options):
    """What a sweep prints of a step, of which every measurement of a configuration is the same but for a little."""
    wobble = itertools.cycle((1.0, 1.001, 0.999))

    def measured(configuration):
        made = result_of(configuration)
        if not made.succeeded:
            return made
        rate = made.sequences_per_sec * next(wobble)
        return replace(made, sequences_per_sec=rate * 0.8, steady_sequences_per_sec=rate, start_up_sec=1.0)

    sweep = fake_sweep(folder, FakeTrials(measured), grid=GRID, repeats=repeats, **options)
    return render_step(sweep.run_step(step))


def test_blocks_whose_best_is_the_baseline_are_a_test(tmp_path):
    text = printed(tmp_path, lambda one: success(one, 100.0 if one.num_workers == 4 else 80.0), "dataloader")
    assert "That is the baseline itself: nothing is shown to be better in 5 blocks." in text
    assert "measured once" not in text


def test_the_baseline_of_blocks_has_its_steady_rate(tmp_path):
    text = printed(tmp_path, lambda one: success(one, 200.0 if one.num_workers == 2 else 100.0), "dataloader")
    assert "Baseline: num_workers=4, prefetch_factor=4 (100.0 seq/sec)" in text


def test_what_packs_well_but_is_worse_is_not_called_tied(tmp_path):
    def small_budgets_pack(one):
        return success(one, 90.0, 0.95) if one.token_budget == 2048 else success(one, 100.0, 0.85)

    text = printed(tmp_path / "blocks", small_budgets_pack, "packing")
    assert "Worse than the baseline in 5 blocks: 0.90" in text
    assert "Keep the baseline." in text
    assert "Tied" not in text
    assert " =" not in text  # neither what is faster than the best, nor the best alone
    once = printed(tmp_path / "once", small_budgets_pack, "interaction", repeats=1)
    assert "It is not faster than the baseline: keep the baseline." in once
    assert "Cheapest" not in once


def test_blocks_without_a_baseline_are_a_test_of_the_others(tmp_path):
    def without_baseline(one):
        return failure(one) if one == BASELINE else success(one, 100.0)

    text = printed(tmp_path, without_baseline, "interaction")
    assert "There is no measurement of the baseline to compare with." in text
    assert "Not told apart from it in 5 blocks" in text
    assert "measured once" not in text


def test_blocks_that_are_left_are_not_called_measured_once(tmp_path):
    def stopped(configuration):
        if len(trials.calls) == 7:  # in the second block of the interaction
            raise KeyboardInterrupt
        return success(configuration)

    trials = FakeTrials(stopped)
    sweep = fake_sweep(tmp_path, trials, grid={"num_workers": (2, 4), "token_budget": (4096,)}, repeats=2)
    with pytest.raises(KeyboardInterrupt):
        sweep.run(("baseline", "interaction", "dataloader"))
    text = "".join(render_step(read_step(path)) for path in tmp_path.glob("dataloader_sweep.json"))
    assert "Differences are tested once all 2 blocks are measured." in text


def test_what_is_hot_is_not_called_the_cheapest(tmp_path):
    def hot_if_small(one):
        hot = {"outcome": "throttled", "evidence": {"reasons": {"hw_thermal": 0.5}}} if one.num_workers == 2 else {}
        return success(one, 100.0, **hot)

    text = printed(tmp_path, hot_if_small, "dataloader")
    assert "Throttled configurations (chosen only if all were):\n  num_workers=2" in text
    assert "Cheapest" not in text


def test_a_limit_of_memory_is_not_called_a_lack_of_packing():
    big = [success(FAST, 110.0, 0.95, peak_memory_gb=9.0), success(SLOW, 90.0, 0.95, peak_memory_gb=8.0)]
    within = Objective(max_memory_gb=5.0)
    note = missed_requirement_note(document(big, objective=within))
    assert note == "No configuration stayed within 5 GB of device memory; the best without that constraint is shown."
    unknown = [success(FAST, 110.0, peak_memory_gb=None)]
    assert missed_requirement_note(document(unknown, "packing", objective=within)).startswith("Device memory was not ")
    either = [success(FAST, 110.0, 0.95, peak_memory_gb=9.0), success(SLOW, 90.0, 0.8, peak_memory_gb=4.0)]
    note = missed_requirement_note(document(either, "packing", objective=within))
    assert note.startswith("No configuration reached 90% packing efficiency within 5 GB of device memory")


def test_the_cheapest_keeps_what_the_best_keeps():
    cheap, full = Configuration(2, token_budget=8192), Configuration(8, token_budget=2048)
    results = [success(full, 101.0, 0.95), success(cheap, 100.5, 0.8), success(BASELINE, 100.0, 0.8)]
    same = {"verdict": "same", "blocks": 3, "speedup_low": 1.0, "speedup_high": 1.015}
    found = judged(results, full, "interaction", tied=(cheap, BASELINE), **same)
    text = " ".join(verdicts(replace(found, baseline=results[-1])))
    assert text.endswith("Cheapest of them that keeps what is required: num_workers=8, token_budget=2048.")


def test_less_energy_is_not_called_faster(tmp_path):
    def frugal(one):
        small = one.num_workers == 2
        return success(one, 90.0 if small else 100.0, joules_per_sequence=0.9 if small else 1.0)

    text = printed(tmp_path / "step", frugal, "dataloader", objective=Objective("energy"))
    assert "Speedup" not in text
    assert "| J/seq | Saving" in text
    assert "saving 1.11x vs baseline" in text
    sweep = fake_sweep(tmp_path / "all", FakeTrials(frugal), grid=GRID, repeats=5, objective=Objective("energy"))
    found = render_step(sweep.run(("baseline", "dataloader", "packing", "interaction", "confirmation"))[-1])
    assert "least energy" in found
    assert "fast" not in found


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
    note = missed_requirement_note(found)
    assert note in render_packing(found)
    if cause is None:
        assert note == "No configuration reached 90% packing efficiency; the best without that constraint is shown."
    else:
        assert note.startswith(f"No configuration reached 90% packing efficiency: {cause}")
        assert "; use " in note
