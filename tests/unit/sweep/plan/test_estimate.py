# SPDX-License-Identifier: MIT
"""How long a sweep is said to take, and what that rests on."""

import pytest

from tests.support.sweeps import WORKLOAD, FakeTrials, failure, fake_sweep, success
from virnuc_profiler.analysis.model_cost import ModelShape
from virnuc_profiler.sweep.plan.estimate import Pace, from_baseline, guess, in_words, repeated
from virnuc_profiler.sweep.results.result_files import baseline_seconds


def test_the_pace_learns_from_what_was_measured():
    pace = Pace(cooldown_s=2.0)
    assert pace.remaining([100]) is None
    pace.add(12.0, 1000)
    pace.add(6.0, 1000)
    assert pace.remaining([1000, 2500]) == pytest.approx(2 + 7 + 2 + 17.5)
    assert pace.remaining([]) == 0


def test_the_start_of_a_configuration_does_not_grow_with_its_workload():
    pace = Pace(cooldown_s=2.0)
    pace.add(2.0 + 3.0 + 10.0, 1000, steady_seconds=10.0)
    assert pace.remaining([1000, 2500]) == pytest.approx(2 + 3 + 10 + 2 + 3 + 25)
    pace.add(2.0 + 4.0, 1000, steady_seconds=5.0)  # a rate after warm-up that the whole run did not reach
    assert pace.remaining([1000]) == pytest.approx(2 + (3 + 0) / 2 + (10 + 4) / 2)


def test_configurations_that_repeat_their_workload_take_as_long_as_those_before_or_one_pass():
    pace = Pace(cooldown_s=2.0)
    pace.add(2.0 + 1.0 + 4.0, 1000, steady_seconds=1.0, passes=4)
    assert pace.remaining([1000, 2500]) == pytest.approx(2 * (2 + 1 + 4))
    assert pace.remaining([9000]) == pytest.approx(2 + 1 + 9)


@pytest.mark.parametrize(
    ("pass_seconds", "trial_seconds", "seconds"),
    [(2.4, 3.0, 4.8), (4.0, 3.0, 4.0), (0.5, 3.0, 3.0), (2.0, 0.0, 2.0), (2.0, None, 2.0), (0.0, 3.0, 0.0)],
)
def test_a_trial_repeats_whole_passes(pass_seconds, trial_seconds, seconds):
    assert repeated(pass_seconds, trial_seconds) == pytest.approx(seconds)
    estimate = from_baseline(
        [100], 2.0, measured_seconds=1 + pass_seconds, measured_tokens=100, trial_seconds=trial_seconds
    )
    assert estimate.seconds == pytest.approx(2 + 1 + seconds)


def test_estimates_say_what_they_rest_on():
    estimate = guess([10**6, 10**6], 2.0, shape=ModelShape(6, 320), cores=2)
    assert estimate.seconds == pytest.approx(2 * (10**6 * 6 * 24 * 320**2 / 60e9 + 3))
    assert "guess" in str(estimate)
    assert "2 CPU cores" in str(estimate)
    measured = from_baseline([100, 100], 2.0, measured_seconds=10.0, measured_tokens=100)
    assert measured.seconds == pytest.approx(2 * (10 + 2))  # its start-up is in what was measured
    assert "measured" in str(measured)


def test_a_measured_baseline_is_known_by_its_workload_model_and_device(tmp_path):
    asked = (WORKLOAD.fingerprint, "m", "cpu")
    assert baseline_seconds(tmp_path, *asked) is None
    fake_sweep(tmp_path, FakeTrials(lambda c: success(c, 50.0))).run(["baseline"])
    assert baseline_seconds(tmp_path, *asked) == 40.0
    for other in (("sha256:cc", "m", "cpu"), (WORKLOAD.fingerprint, "n", "cpu"), (WORKLOAD.fingerprint, "m", "cuda:0")):
        assert baseline_seconds(tmp_path, *other) is None
    repeating = FakeTrials(lambda c: success(c, 50.0, elapsed_sec=10.0, measured_sec=8.0, passes=4))
    fake_sweep(tmp_path, repeating).run(["baseline"])
    assert baseline_seconds(tmp_path, *asked) == 4.0  # two of start-up, and two of one pass
    fake_sweep(tmp_path, FakeTrials(failure)).run(["baseline"])
    assert baseline_seconds(tmp_path, *asked) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations_in_words(seconds, words):
    assert in_words(seconds) == words
