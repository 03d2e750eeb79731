# SPDX-License-Identifier: MIT
"""What the sampling benchmark makes of readings, on readings whose answer is known."""

import threading
import time

import numpy as np
import pytest
from benchmarks.sampling_claims import cpu_claim, energy_claim, jitter_claim, tensor_claim
from benchmarks.sampling_figures import (
    Energy,
    activity_in,
    energy_between,
    jitter,
    mean_in,
    throttle_reasons_in,
)
from benchmarks.thread_cpu import cpu_seconds, thread_ids

from virnuc_profiler._core import NOT_MEASURED

S = 1_000_000_000
MS = 1_000_000


def fast_readings(at_ns, power_mw, reasons=0):
    readings = np.zeros(len(at_ns), [("at_ns", "i8"), ("power_mw", "i8"), ("throttle_reasons", "i8")])
    readings["at_ns"], readings["power_mw"], readings["throttle_reasons"] = at_ns, power_mw, reasons
    return readings


def energy_readings(at_ns, energy_mj):
    readings = np.zeros(len(at_ns), [("at_ns", "i8"), ("energy_mj", "i8")])
    readings["at_ns"], readings["energy_mj"] = at_ns, energy_mj
    return readings


def gpm_readings(at_ns, interval_ns, tensor_activity):
    fields = [("at_ns", "i8"), ("interval_ns", "i8"), ("tensor_activity", "f8")]
    readings = np.zeros(len(at_ns), fields)
    readings["at_ns"], readings["interval_ns"], readings["tensor_activity"] = at_ns, interval_ns, tensor_activity
    return readings


def test_power_that_rises_evenly_is_integrated_exactly_between_the_counters_readings():
    at_ns = np.arange(0, 10 * S, S // 10) + 7 * MS  # beside the counter's readings
    fast = fast_readings(at_ns, 100_000 + at_ns // MS)  # 1 W a second from 100 W on
    counter = energy_readings([0, 1 * S, 5 * S, 9 * S], [0, 111, 400_000, 900_000])
    energy = energy_between(counter, fast, start_ns=S // 2, end_ns=9 * S)
    assert energy.seconds == 8.0
    assert energy.counter_j == pytest.approx(899.889)
    assert energy.integral_j == pytest.approx(8 * 105, rel=1e-4)
    assert energy.disagreement == pytest.approx(1 - 840 / 899.889, rel=1e-3)


def test_power_that_was_not_measured_is_no_power():
    fast = fast_readings(np.arange(11) * S, [200_000, NOT_MEASURED] * 5 + [200_000])
    energy = energy_between(energy_readings([0, 10 * S], [0, 2_000_000]), fast, 0, 10 * S)
    assert energy.integral_j == pytest.approx(energy.counter_j) == 2000


def test_without_two_readings_there_is_no_energy():
    fast = fast_readings([0, S], [1, 1])
    assert energy_between(energy_readings([0, 9 * S], [0, 1]), fast, 0, S) is None
    assert energy_between(energy_readings([0, S], [0, 1]), fast[:1], 0, S) is None


def test_activity_is_of_whole_intervals_weighted_by_their_length():
    gpm = gpm_readings([2 * S, 3 * S, 6 * S, 7 * S], [2 * S, S, 3 * S, S], [9.0, 0.5, 0.9, np.nan])
    assert activity_in(gpm, "tensor_activity", 1 * S, 7 * S) == pytest.approx((0.5 + 3 * 0.9) / 4)
    assert activity_in(gpm, "tensor_activity", 6 * S, 7 * S) is None


def test_means_and_throttle_reasons_are_of_the_window():
    fast = fast_readings([0, S, 2 * S, 3 * S], [1, 10, 20, NOT_MEASURED], [9, 4, 4, 0])
    assert mean_in(fast, "power_mw", S, 3 * S) == 15
    assert mean_in(fast, "power_mw", 3 * S, 3 * S) is None
    assert throttle_reasons_in(fast, S, 3 * S) == {"0x0": pytest.approx(1 / 3), "0x4": pytest.approx(2 / 3)}


def test_jitter_is_the_distance_from_the_grid_and_missed_deadlines_are_not_in_it():
    deadlines = np.delete(np.arange(200), [50, 51]) * 100 * MS
    at_ns = 5 * S + deadlines
    at_ns[0] += 30 * MS  # the first reading may be the one that is off
    at_ns[100] -= 7 * MS
    found = jitter(fast_readings(at_ns, 0), 100.0, 0)
    assert (found.readings, found.p50_ms) == (198, pytest.approx(0, abs=1e-9))
    assert found.max_ms == pytest.approx(30)
    assert found.p99_ms == pytest.approx(0.21, abs=0.03)  # 197 gaps x 0.99: a little way up to the second largest
    assert jitter(fast_readings([0], 0), 100.0, 0) is None


def test_threads_cpu_time_is_that_of_those_threads_alone():
    others = thread_ids()
    go_on = threading.Event()

    def burn():
        while time.thread_time() < 0.2:
            pass
        burnt.set()
        go_on.wait()

    burnt = threading.Event()
    thread = threading.Thread(target=burn)
    thread.start()
    burnt.wait()
    (own,) = thread_ids() - others
    assert cpu_seconds([own]) == pytest.approx(0.2, abs=0.05)
    go_on.set()
    thread.join()
    while own in thread_ids():  # Python has done with it a little before Linux has
        time.sleep(0.001)
    assert cpu_seconds([own]) == 0


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (energy_claim("w", Energy(60, 1000, 1049)), "PASS"),
        (energy_claim("w", Energy(60, 1000, 949)), "FAIL"),
        (energy_claim("w", Energy(60, 0, 949)), "n/a"),
        (energy_claim("w", None), "n/a"),
        (tensor_claim("load", 0.81, loaded=True), "PASS"),
        (tensor_claim("load", 0.80, loaded=True), "FAIL"),
        (tensor_claim("idle", 0.01, loaded=False), "PASS"),
        (tensor_claim("idle", 0.03, loaded=False), "FAIL"),
        (tensor_claim("idle", None, loaded=False), "n/a"),
        (cpu_claim(0.01), "PASS"),
        (cpu_claim(0.011), "FAIL"),
        (jitter_claim(1.3, 0.4), "PASS"),
        (jitter_claim(1.5, 0.4), "FAIL"),
        (jitter_claim(None, 0.4), "n/a"),
    ],
)
def test_verdicts(claim, verdict):
    assert claim.verdict == verdict
