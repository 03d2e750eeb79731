# SPDX-License-Identifier: MIT
"""How configurations stand beside the baseline and the best, from made trials."""

import pytest

from tests.support.sweeps import success, trial
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.results.verdicts.standings import StepStandings
from virnuc_profiler.targets.knobs.configuration import BASELINE, Configuration

FAST, CLOSE, SLOW = Configuration(8), Configuration(8, 8), Configuration(2)


def stand(own, others=(), best=FAST):
    return StepStandings(own, others, BASELINE, Objective()).compared(best)


def test_the_noise_of_the_baseline_gives_intervals_but_no_verdict():
    earlier = [trial(BASELINE, rate, step) for rate, step in ((100.0, "baseline"), (101.0, "packing"))]
    own = [trial(BASELINE, 99.0), trial(FAST, 130.0), trial(CLOSE, 128.0), trial(SLOW, 60.0)]
    found = stand(own, earlier)
    assert found[FAST].speedup == pytest.approx(1.3, rel=0.01)
    assert found[FAST].speedup_low < 1.3 < found[FAST].speedup_high
    assert {one.verdict for one in found.values()} == {None}
    assert {config for config, one in found.items() if one.tied} == {FAST, CLOSE}
    assert (found[BASELINE].measurements, found[FAST].measurements) == (3, 1)
    assert found[BASELINE].rate == pytest.approx(100.0, rel=1e-3)  # as the speedups say, not the last of three
    assert (found[BASELINE].rate_low, found[BASELINE].rate_high) == (None, None)
    assert found[FAST].rate / found[BASELINE].rate == pytest.approx(found[FAST].speedup)


def test_without_any_repetition_there_is_no_interval_and_no_tie():
    found = stand([trial(FAST, 130.0), trial(CLOSE, 129.0)], [trial(BASELINE, 100.0, "baseline")])
    assert (found[FAST].speedup_low, found[CLOSE].tied) == (None, None)
    assert found[FAST].speedup == pytest.approx(1.3)


def in_blocks(count, drift=0.8, **factors):
    """Trials whose machine is slower in every other block."""
    speeds = {BASELINE: 1.0, FAST: 1.1, CLOSE: 1.09, **factors}
    for block in range(count):
        slow = drift if block % 2 else 1.0
        wobble = 1 + 0.001 * (block % 3)
        for config, factor in speeds.items():
            yield trial(config, 100 * slow * factor * (wobble if config == BASELINE else 1.0), block=block)


def test_drift_that_hits_a_whole_block_cancels_out():
    found = stand(list(in_blocks(5)))
    assert (found[FAST].verdict, found[FAST].blocks) == ("faster", 5)
    assert 1.09 < found[FAST].speedup_low < found[FAST].speedup_high < 1.11
    assert found[CLOSE].tied
    assert not found[BASELINE].tied
    assert found[FAST].rate_high / found[FAST].rate_low > 1.2  # the rates themselves differ by the drift


def test_what_is_better_than_the_best_of_a_step_is_not_tied_with_it():
    """The best may be chosen for its packing."""
    found = stand(list(in_blocks(5)), best=BASELINE)
    assert (found[FAST].tied, found[BASELINE].tied) == (False, True)


def test_noise_that_hides_everything_ties_nothing():
    """Else the cheapest would be named, however slow it was."""
    noisy = [trial(BASELINE, rate, step) for rate, step in ((30.0, "baseline"), (5.0, "packing"))]
    found = stand([trial(FAST, 32.0), trial(SLOW, 8.0)], noisy)
    assert found[SLOW].speedup_high / found[SLOW].speedup_low > 4
    assert found[SLOW].tied is None


def test_a_difference_needs_five_blocks():
    assert stand(list(in_blocks(4)))[FAST].verdict == "cannot_tell"


def test_an_interrupted_trial_never_counts_and_a_throttled_or_doubtful_one_only_alone():
    stopped = trial(FAST, result=success(FAST, 1.0, outcome="interrupted"), block=0)
    doubtful = trial(FAST, 50.0, block=1, doubts=("another process",))
    hot = trial(FAST, result=success(FAST, 60.0, outcome="throttled"), block=2)
    sound = trial(FAST, 110.0, block=3)
    base = [trial(BASELINE, 100.0, block=block) for block in range(4)]
    assert stand([*base, stopped, doubtful, hot, sound])[FAST].rate == pytest.approx(110.0)
    flagged = stand([*base, stopped, doubtful])[FAST]
    assert (flagged.rate, flagged.doubts) == (pytest.approx(50.0), ("another process",))
    assert FAST not in stand([*base, stopped])


def test_the_last_attempt_in_a_block_stands():
    first, second = trial(FAST, 50.0, doubts=("x",)), trial(FAST, 110.0, attempt=1)
    assert stand([trial(BASELINE, 100.0), first, second])[FAST].rate == pytest.approx(110.0)


def test_the_interval_of_a_single_run_is_that_of_its_batches():
    interval = {
        "state": "settled", "rate": 21_500.0, "low": 21_285.0, "high": 21_715.0, "confidence": 0.95, "blocks": 20,
        "window": None,
    }  # fmt: skip
    measured = success(FAST, 90.0, steady_sequences_per_sec=100.0, rate_interval=interval)
    found = stand([trial(BASELINE, 100.0), trial(FAST, result=measured)])[FAST]
    assert (found.rate, found.rate_low, found.rate_high) == pytest.approx((100.0, 99.0, 101.0))
    assert found.steady
    assert not stand([trial(BASELINE, 100.0), trial(FAST, 100.0)])[FAST].steady
