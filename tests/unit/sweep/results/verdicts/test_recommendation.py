# SPDX-License-Identifier: MIT
"""Which configuration of all steps is the best, and how sure that is."""

import pytest

from tests.support.sweeps import failure, recommended, success
from virnuc_profiler.analysis.confidence.paired import Comparison
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.results.verdicts.confirmation import Confirmation, Contenders
from virnuc_profiler.sweep.results.verdicts.standing import Standing
from virnuc_profiler.targets.knobs.configuration import BASELINE, Configuration


def select(*steps, min_packing=0.9, **more):
    return recommended(dict(steps), min_packing, **more)


def measured_in(step, *results):
    return step, list(results)


def test_the_overall_best_is_the_median_of_its_measurements():
    lucky, steady = Configuration(num_workers=2), Configuration(num_workers=8)
    chosen = select(
        measured_in("baseline", success(lucky, 100.0)),
        measured_in("dataloader", success(lucky, 100.0), success(steady, 110.0)),
        measured_in("packing", success(lucky, 150.0)),
    )
    assert chosen.configuration == steady
    assert (chosen.found_in, chosen.constraint_met) == (("dataloader",), True)


def test_the_choice_says_how_many_are_as_good_within_the_noise():
    best, close, far = Configuration(8), Configuration(), Configuration(2)
    results = [success(best, 101.0), success(close, 99.0), success(far, 90.0)]
    chosen = select(measured_in("baseline", success(close, 101.0)), measured_in("dataloader", *results))
    assert chosen.configuration == best
    assert chosen.noise == pytest.approx(0.02)
    assert chosen.equals_within_noise == 1
    assert chosen.reason.endswith(
        "; no difference beyond the noise: 1 other is within the 2.00% by which repeated measurements differ "
        "(the baseline among them); its advantage is not tested"
    )
    once = select(measured_in("dataloader", *results))
    assert (once.noise, once.equals_within_noise) == (None, None)
    # The spread of a throttled configuration is not the noise of the others.
    hot = [success(far, rate, outcome="throttled") for rate in (60.0, 100.0)]
    document = measured_in("dataloader", success(best, 100.0), success(best, 101.0), *hot)
    assert select(document).noise == pytest.approx(0.01, abs=0.001)


def test_what_failed_anywhere_is_not_safe():
    shaky, safe = Configuration(token_budget=8192), Configuration()
    chosen = select(
        measured_in("packing", success(shaky, 200.0), success(safe, 100.0)), measured_in("x", failure(shaky))
    )
    assert chosen.configuration == safe
    assert "1 failed" in chosen.reason


def test_the_overall_best_prefers_good_packing_and_says_if_there_is_none():
    wasteful, full = Configuration(token_budget=8192), Configuration()
    both = [measured_in("packing", success(wasteful, 200.0, 0.5), success(full, 100.0, 0.9))]
    assert select(*both).configuration == full
    neither = [measured_in("packing", success(wasteful, 200.0, 0.5), success(full, 100.0, None))]
    chosen = select(*neither)
    assert (chosen.configuration, chosen.constraint_met) == (wasteful, False)
    assert "none reached" in chosen.reason
    assert select(measured_in("x", failure(full))) is None


def test_what_is_slower_than_the_baseline_is_not_chosen():
    baseline, fuller = Configuration(), Configuration(token_budget=2048)
    chosen = select(
        measured_in("baseline", success(baseline, 100.0, 0.85)),
        measured_in("packing", success(fuller, 91.0, 0.95)),
    )
    assert (chosen.configuration, chosen.constraint_met) == (baseline, False)
    assert chosen.reason == "the speed of the baseline; what packs 90% or more is slower"
    hungry = select(
        measured_in("baseline", success(baseline, 100.0, 0.85, joules_per_sequence=1.0)),
        measured_in("packing", success(fuller, 91.0, 0.95, joules_per_sequence=1.1)),
        objective=Objective("energy"),
    )
    assert hungry.reason == "the energy of the baseline; what packs 90% or more needs more"
    lucky = select(  # the baseline, by less than matters: no reason to waive the required packing
        measured_in("baseline", success(baseline, 101.0, 0.85)),
        measured_in("packing", success(fuller, 100.0, 0.95)),
    )
    assert (lucky.configuration, lucky.constraint_met) == (fuller, True)
    faster = select(
        measured_in("baseline", success(baseline, 100.0, 0.85)),
        measured_in("packing", success(fuller, 101.0, 0.95)),
    )
    assert (faster.configuration, faster.constraint_met) == (fuller, True)


FAST, SMALL = Configuration(8), Configuration(2)
STEPS = (
    measured_in("baseline", success(BASELINE, 100.0)),
    measured_in("dataloader", success(FAST, 112.0), success(SMALL, 111.0), success(BASELINE, 101.0)),
)


def shown(verdict, recommended, low, high, leaders=(FAST, SMALL), blocks=5):
    """What a confirmation of FAST against SMALL and the baseline has shown of FAST."""
    named = {"better": "faster", "tied": "same"}.get(verdict, verdict)
    comparison = Comparison(named, (low + high) / 2, low, high, 0.95, blocks, 0.02)
    return Confirmation(
        contenders=Contenders(FAST, SMALL, BASELINE),
        verdict=verdict,
        recommended=recommended,
        comparisons={FAST: comparison, SMALL: comparison},
        leaders=leaders,
        blocks=blocks,
        allowed_sec=60.0,
        used_sec=55.0,
    )


def test_a_choice_that_nothing_has_tested_says_so():
    chosen = select(*STEPS)
    assert (chosen.configuration, chosen.verdict) == (FAST, None)
    assert chosen.reason.endswith("; its advantage is not tested")


def test_a_confirmation_decides():
    chosen = select(*STEPS, confirmation=shown("better", SMALL, 1.08, 1.12))
    assert (chosen.configuration, chosen.verdict, chosen.tied_with) == (SMALL, "better", (FAST,))
    assert (chosen.speedup_low, chosen.speedup_high) == (1.08, 1.12)
    assert chosen.reason == "faster than the baseline in 5 blocks: 1.10x (1.08 to 1.12)"
    tied = select(*STEPS, confirmation=shown("tied", SMALL, 0.99, 1.01, (FAST, SMALL, BASELINE), 3))
    assert tied.reason == ("tied within 2% with num_workers=8 and num_workers=4 in 3 blocks, and the cheapest of them")
    full = select(*STEPS, confirmation=shown("tied", FAST, 0.99, 1.01, (FAST, SMALL, BASELINE), 3))
    assert full.reason.endswith("and the cheapest of them that keeps what is required")
    unknown = select(*STEPS, confirmation=shown("cannot_tell", BASELINE, 0.95, 1.15))
    assert (unknown.configuration, unknown.speedup) == (BASELINE, 1.0)
    assert unknown.reason.startswith(
        "cannot tell in 5 blocks whether anything is better than the baseline (num_workers=8"
    )
    assert "at 1.05x (0.950 to 1.15)" in unknown.reason


def test_blocks_of_a_step_are_a_test_too():
    standing = Standing(measurements=5, blocks=5, speedup=1.1, speedup_low=1.08, speedup_high=1.12, verdict="faster")
    chosen = select(*STEPS, standing=lambda configuration: standing if configuration == FAST else None)
    assert (chosen.configuration, chosen.verdict) == (FAST, "better")
    assert "1.10x (1.08 to 1.12) of the baseline in 5 blocks" in chosen.reason


def test_what_blocks_do_not_show_to_be_better_leaves_the_cheapest_of_the_tied():
    verdicts = {FAST: "cannot_tell", SMALL: "same"}

    def standing(configuration):
        return Standing(measurements=5, blocks=5, speedup=1.01, verdict=verdicts.get(configuration))

    chosen = select(*STEPS, standing=standing)
    assert (chosen.configuration, chosen.verdict) == (SMALL, "cannot_tell")  # two workers instead of four
    assert "the fastest measured, num_workers=8, is not shown to be better" in chosen.reason
    verdicts[SMALL] = "slower"
    assert select(*STEPS, standing=standing).configuration == BASELINE


def test_a_cheaper_tie_of_the_best_is_recommended_even_if_the_best_is_the_baseline():
    steps = measured_in("baseline", success(BASELINE, 101.0)), measured_in("dataloader", success(SMALL, 100.0))
    tied = Standing(measurements=5, blocks=5, speedup=0.99, speedup_low=0.985, speedup_high=0.995, verdict="same")
    chosen = select(*steps, standing=lambda one: tied if one == SMALL else None)
    assert (chosen.configuration, chosen.verdict, chosen.speedup_low) == (SMALL, "tied", 0.985)
    assert chosen.reason == "the cheapest that is shown to be within 2% of the baseline"
    assert select(*steps).configuration == BASELINE


def test_why_nothing_was_confirmed():
    none = Confirmation(
        contenders=None, verdict="cannot_tell", recommended=None, comparisons={}, leaders=(), blocks=0,
        allowed_sec=4.5, used_sec=0.0,
    )  # fmt: skip
    assert select(*STEPS, confirmation=none).reason.endswith("is not tested: 4 s are too short for a confirmation")
    alone = measured_in("dataloader", success(FAST, 112.0))
    assert select(alone, confirmation=none).reason.endswith("is not tested: there is nothing to compare it with")


def test_a_tie_does_not_waive_the_required_packing():
    full = Configuration(8, token_budget=2048)
    steps = (
        measured_in("baseline", success(BASELINE, 100.0, 0.85)),
        measured_in("interaction", success(full, 100.5, 0.95)),
    )
    tied = Standing(measurements=5, blocks=5, speedup=1.005, speedup_low=1.0, speedup_high=1.01, verdict="same")
    chosen = select(*steps, standing=lambda one: tied if one == full else None)
    assert (chosen.configuration, chosen.constraint_met) == (full, True)


def test_a_validation_that_needs_too_much_memory_is_not_said_to_pack_too_little():
    chosen = select(measured_in("dataloader", success(SMALL, 100.0))).after_validation(False, 0.95, 0.9)
    assert chosen.reason.endswith("; too much device memory in the validation")


def test_energy_and_memory_decide_where_they_are_asked_for():
    frugal = success(SMALL, 90.0, joules_per_sequence=1.0, peak_memory_gb=5.0)
    hungry = success(FAST, 110.0, joules_per_sequence=2.0, peak_memory_gb=9.0)
    steps = measured_in("dataloader", frugal, hungry)
    assert select(steps).configuration == FAST
    least = select(steps, objective=Objective("energy"))
    assert (least.configuration, least.cost) == (SMALL, 1.0)
    assert least.reason.startswith("least energy of 2")
    within = select(steps, objective=Objective(max_memory_gb=6.0))
    assert (within.configuration, within.constraint_met) == (SMALL, True)
    assert "within 6 GB" in within.reason
    assert select(steps, objective=Objective(max_memory_gb=1.0)).constraint_met is False


def test_start_up_does_not_decide():
    """Of equal long-run speeds, the predicted times of a long job differ by nothing that matters."""
    results = [
        success(Configuration(workers), 2000 / (start_up + 20), start_up_sec=start_up, steady_sequences_per_sec=100.0)
        for workers, start_up in ((0, 0.1), (4, 5.0), (8, 30.0))
    ]
    chosen = select(measured_in("dataloader", *results))
    assert chosen.cost == pytest.approx(60_000, rel=0.001)
    assert chosen.sequences_per_sec == 100.0
