# SPDX-License-Identifier: MIT
import pytest

from tests.support.pipelines import back_to_back, one_by_one
from tests.support.run_records import MS, batch, stage
from virnuc_profiler.analysis.diagnosis.gaps import device_gaps
from virnuc_profiler.analysis.diagnosis.host_activity import host_timeline
from virnuc_profiler.analysis.diagnosis.observation import observe
from virnuc_profiler.telemetry.batch_table import BatchTable

WINDOW = (0, 100 * MS)


def gaps_of(*batches, window=WINDOW):
    table = BatchTable.from_records(batches)
    return device_gaps(table, window, host_timeline(table, window))


def launched(index, launch_ms, device_ms, *others, end_ms=100):
    """A batch whose launch ends 1 ms after `launch_ms`."""
    return batch(index, 0, end_ms, [stage("forward", launch_ms, launch_ms + 1, device=device_ms), *others])


def causes(found):
    return [{cause: ns / MS for cause, ns in gap.causes.items()} for gap in found.gaps]


def test_lead_in_gaps_and_tail_are_kept_apart():
    found = gaps_of(launched(0, 5, (10, 20)), launched(1, 29, (30, 40)))
    assert (found.lead_in_ns, found.tail_ns, found.in_stages_ns) == (10 * MS, 60 * MS, 20 * MS)
    assert [(gap.start_ns, gap.end_ns) for gap in found.gaps] == [(20 * MS, 30 * MS)]


def test_a_gap_is_what_the_host_did_in_it():
    found = gaps_of(
        launched(0, 5, (10, 20), stage("emit", 7, 8)),
        launched(1, 40, (40, 50), stage("fetch", 15, 36), stage("collate", 26, 36), stage("emit", 36, 39)),
    )
    assert causes(found) == [{"data_loading": 6, "collation": 10, "consuming": 3, "other_host_work": 1}]


def test_a_worker_that_collates_while_the_loop_launches_is_not_what_the_loop_did():
    found = gaps_of(launched(0, 5, (10, 20)), launched(1, 20, (30, 40), stage("collate", 10, 30)))
    assert causes(found) == [{"launching": 1, "collation": 9}]


def test_what_a_waiting_host_could_have_done_before_is_due_to_the_wait():
    """The host waited from 6 to 20 ms, woke at 20.1 ms, and then delivered results and fetched briefly."""
    found = gaps_of(
        launched(0, 5, (10, 20)),
        launched(1, 22, (22, 40), stage("emit", 20.1, 21.7), stage("fetch", 21.7, 22)),
    )
    assert causes(found) == [{"synchronizing": 2}]


def test_a_long_fetch_counts_for_itself_even_after_a_wait():
    found = gaps_of(launched(0, 5, (10, 20)), launched(1, 30, (30, 40), stage("fetch", 20.1, 30)))
    assert causes(found) == [pytest.approx({"synchronizing": 0.1, "data_loading": 9.9})]


def test_a_wait_hides_no_more_than_its_own_length():
    found = gaps_of(launched(0, 5, (5, 8)), launched(1, 28, (28, 40), stage("emit", 8.1, 28)))
    assert causes(found) == [pytest.approx({"synchronizing": 2.0, "consuming": 18.0})]


def test_a_consumer_that_goes_on_long_after_the_device_is_no_wait():
    found = gaps_of(launched(0, 5, (10, 20)), launched(1, 30, (30, 40), stage("emit", 7, 30)))
    assert causes(found) == [{"consuming": 10}]


def test_a_copy_that_holds_the_host_is_copying():
    copy = stage("d2h", 6, 24, device=(20, 24))
    first = batch(0, 0, 100, [stage("forward", 5, 6, device=(5, 20)), copy])
    found = gaps_of(first, launched(1, 25, (25, 40), stage("emit", 24, 24.5)))
    assert causes(found) == [{"copying": 1}]


def test_what_was_queued_is_not_the_hosts_doing():
    found = gaps_of(launched(0, 5, (10, 20)), launched(1, 7, (21, 40)))
    assert causes(found) == [{"queued": 1}]


def test_what_the_device_takes_from_one_to_the_next_is_nobody_elses_doing():
    found = gaps_of(launched(0, 5, (10, 20)), launched(1, 7, (20.004, 40)), launched(2, 9, (40.02, 50)))
    assert causes(found) == [{"launching": 0.004}, {"queued": 0.02}]


def test_device_times_that_were_lost_leave_no_false_gap():
    lost = batch(1, 15, 45, [stage("fetch", 15, 18), stage("forward", 18, 19)], dropped=True)
    found = gaps_of(launched(0, 5, (10, 20)), lost, launched(2, 49, (50, 60), stage("fetch", 45, 49)))
    assert causes(found) == [{"not_measured": 25, "data_loading": 4, "launching": 1}]


def test_waking_up_late_now_and_then_is_still_waking_up():
    prompt = one_by_one(count=20)
    late = one_by_one(count=20, wake_ms=3.0)
    assert {line.cause for line in observe(prompt).gaps.totals()} == {"synchronizing"}
    assert "other_host_work" in {line.cause for line in observe(late).gaps.totals()}


def test_without_device_times_there_are_no_gaps():
    found = gaps_of(batch(0, 0, 50, [stage("forward", 5, 6)]))
    assert (found.in_stages, found.gaps, found.lead_in_ns, found.tail_ns) == ((), (), 0, 0)


def test_the_steady_window_has_as_many_gaps_as_batches():
    seen = observe(back_to_back(pause_ms=4.0))
    assert seen.steady
    assert (seen.gaps.lead_in_ns, seen.gaps.tail_ns) == (0, 0)
    assert len(seen.batches) == 36
    assert len(seen.gaps.gaps) == 36
    assert {line.cause for line in seen.gaps.totals()} == {"data_loading"}
