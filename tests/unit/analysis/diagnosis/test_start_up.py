# SPDX-License-Identifier: MIT
"""Runs whose time passed before or after their batches, and runs that are too short for a diagnosis."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.pipelines import GPU, back_to_back, one_by_one
from tests.support.run_records import MS, batch, run_of, stage
from virnuc_profiler.analysis.diagnosis.diagnose import diagnose_run
from virnuc_profiler.analysis.summary.run_summary import run_summary
from virnuc_profiler.telemetry.parts.start_up_records import StartUpPart, StartUpRecord


def a_few_batches_after_a_long_start(count, device_ms=50.0, start_ms=10_000.0):
    """Return a run whose first batch waits for its data that long, and whose others follow without a gap."""
    batches = []
    for number in range(count):
        begins = start_ms + number * device_ms
        fetched = begins if number == 0 else begins - 10
        stages = [
            stage("fetch", 0 if number == 0 else fetched - 1, fetched),
            stage("forward", fetched, fetched + 5, device=(begins, begins + device_ms)),
        ]
        batches.append(batch(number, stages[0].host_start_ns / MS, begins + device_ms + 1, stages))
    return run_of(batches, start_ms + count * device_ms + 1, device=GPU)


@pytest.mark.parametrize(("count", "few"), [(1, "1 batch,"), (4, "4 batches,"), (5, "5 batches,")])
def test_a_run_too_short_for_a_diagnosis_says_so_and_what_to_do(count, few):
    """The device was busy for 50 ms to 250 ms of more than 10 s: nothing about that is healthy."""
    run = a_few_batches_after_a_long_start(count)
    found = diagnose_run(run)
    assert (found.bottleneck, found.healthy, found.lost_time, found.further) == ("not_measured", False, {}, ())
    assert found.sentence.startswith(f"The run is too short for a diagnosis: {few} and it takes 6")
    assert "Use more sequences, or smaller batches." in found.sentence
    assert f"at most {count * 5_000 / (10_001 + count * 50):.1f}% of the run" in found.sentence
    assert "of the run, 10.1 s of its 10." in found.sentence
    assert "10.0 s of that waiting for the first data" in found.sentence
    summary = run_summary(run)
    assert found.stage_share == summary["device_stages_fraction"] == pytest.approx(count * 50 / (10_001 + count * 50))


def test_a_run_of_six_batches_has_a_diagnosis():
    assert diagnose_run(a_few_batches_after_a_long_start(6)).bottleneck == "device"


def test_the_verdict_names_a_start_up_that_took_most_of_the_run():
    """14 of 26 s pass before the first batch is complete, and then the host waits for the device in every batch."""
    run = one_by_one(count=40, device_ms=300.0)
    begins_ns = run.host_start_ns - 13_700 * MS
    found = diagnose_run(replace(run, host_start_ns=begins_ns))
    assert found.sentence.startswith(
        "Start-up: 54.5% of the run, 14.0 s of its 25.7 s, passed before its first batch was complete"
    )
    assert "(a later batch takes 300" in found.sentence
    assert "13.7 s of that in other work on the host" in found.sentence
    assert "Healthy: after warm-up" in found.sentence
    assert dict(found.evidence)["start-up"].startswith("14.0")
    assert run_summary(replace(run, host_start_ns=begins_ns))["diagnosis"] == found.sentence


@pytest.mark.parametrize("count", [4, 40])
def test_the_verdict_names_the_time_after_the_last_batch(count):
    """5 s pass after the last batch, and the device was in its stages for a small part of the run only."""
    run = back_to_back((16.0,) * count)
    assert "after its last batch" not in diagnose_run(run).sentence
    found = diagnose_run(replace(run, host_end_ns=run.host_end_ns + 5000 * MS))
    assert "End: 5.0 s of the run's 5." in found.sentence
    assert found.sentence.index("passed after its last batch. Stop the profiler before") > 0


def test_a_start_up_comes_after_a_larger_loss_and_a_small_one_is_evidence_only():
    run = back_to_back((16.0,) * 40, pause_ms=32.0)
    found = diagnose_run(replace(run, host_start_ns=run.host_start_ns - 500 * MS))
    assert found.sentence.startswith("After warm-up, the run is bound by data loading")
    assert re.search(r" Start-up: \d+\.\d% of the run, 5\d\d\.\d ms of its ", found.sentence)
    small = diagnose_run(run)
    assert "Start-up" not in small.sentence
    assert "start-up" in dict(small.evidence)


def test_a_run_that_needs_more_workers_is_not_told_to_use_fewer():
    batches, at = [], 0
    for number in range(20):
        wait = 20 if number else 1000
        stages = [stage("fetch", at, at + wait), stage("forward", at + wait, at + wait + 10)]
        batches.append(batch(number, at, at + wait + 10, stages))
        at += wait + 10
    found = diagnose_run(run_of(batches, at))
    assert found.bottleneck == "data_loading"
    assert "Use more workers" in found.sentence
    assert "A smaller buffer_size starts sooner" in found.sentence
    assert "Fewer workers" not in found.sentence


def test_a_first_batch_that_takes_as_long_as_the_others_is_no_start_up():
    found = diagnose_run(back_to_back((400.0,) * 7))
    assert found.start_up.elapsed_ns > 0.1 * found.start_up.run_ns
    assert found.start_up.share < 0.01
    assert "Start-up" not in found.sentence


def test_a_slow_first_pass_is_named():
    found = diagnose_run(back_to_back((800.0,) + (16.0,) * 39))
    assert "808.0 ms of that in the first pass. A first pass may have to load or compile kernels" in found.sentence
    assert found.start_up.phases["first_batch"] == pytest.approx(808 * MS, rel=0.01)


def with_parts(run, *parts, process_ms=None, first_run=False):
    """Return a run for which work was noted: name, start and end in ms after the run's start."""
    at = run.host_start_ns
    noted = tuple(StartUpPart(name, at + int(start * MS), at + int(end * MS)) for name, start, end in parts)
    process_start_ns = None if process_ms is None else at + int(process_ms * MS)
    return replace(run, start_up=StartUpRecord(process_start_ns, first_run, noted))


def test_noted_preparation_is_named_instead_of_what_the_host_seemed_to_do():
    """The loader takes 6 of the 10 s in which the run waits for its first data, and a graph 10 of the first 50 ms."""
    run = with_parts(
        a_few_batches_after_a_long_start(40),
        ("starting_loader", 1000, 7000),
        ("recording_graphs", 10_000, 10_010),
    )
    phases = diagnose_run(run).start_up.phases
    assert phases == {
        "starting_loader": 6000 * MS,
        "data_loading": pytest.approx(3999 * MS, abs=2 * MS),
        "recording_graphs": 10 * MS,
        "first_batch": pytest.approx(40 * MS, abs=MS),
        **({"other_host_work": phases["other_host_work"]} if "other_host_work" in phases else {}),
    }
    assert sum(phases.values()) == diagnose_run(run).start_up.elapsed_ns
    sentence = diagnose_run(run).sentence
    assert "6.0 s of that starting the loader and its workers and 4.0 s waiting for the first data" in sentence
    assert "Workers that are spawned import everything again" in sentence
    assert run_summary(run)["start_up_phase_seconds"]["starting_loader"] == 6.0


def test_batches_that_compile_kernels_of_new_shapes_are_part_of_the_start_up():
    """Of 40 batches of 10 ms, the second takes 300 ms, of which 200 are the recording of a graph."""
    run = with_parts(back_to_back((10.0, 300.0) + (10.0,) * 38), ("recording_graphs", 100, 300))
    found = diagnose_run(run)
    assert found.start_up.warm_up["recording_graphs"] == 200 * MS
    assert sum(found.start_up.warm_up.values()) == pytest.approx(290 * MS, rel=0.02)
    assert found.start_up.considerable
    assert "The next batches took 29" in found.sentence
    assert "200.0 ms of that recording CUDA graphs and 9" in found.sentence


def test_what_passed_before_the_first_run_of_a_process_is_said_beside_the_verdict():
    run = with_parts(back_to_back((16.0,) * 40), ("loading_model", -15_000, -5000), process_ms=-20_000, first_run=True)
    found = diagnose_run(run)
    assert found.start_up.before_ns == 20_000 * MS
    assert found.start_up.before == {"loading_model": 10_000 * MS}
    assert found.further[-1].startswith(
        "Before the run, 20.0 s passed since its process was started: 10.0 s of that loading the model, the rest in "
    )
    assert dict(found.evidence)["start of the process to start of the run"] == "20.000 s (loading the model 10.000)"
    assert "Before the run" not in found.sentence


def test_a_later_run_of_a_process_says_nothing_of_what_was_before():
    found = diagnose_run(with_parts(back_to_back((16.0,) * 40), process_ms=-20_000))
    assert found.start_up.before_ns is None
    assert found.further == ()


TIMES = st.integers(-300, 900)


@settings(max_examples=150, deadline=None)
@given(
    durations=st.lists(st.floats(1.0, 200.0), min_size=1, max_size=12),
    parts=st.lists(st.tuples(st.sampled_from(["reading", "recording_graphs", "my own"]), TIMES, TIMES), max_size=5),
    start_ms=st.integers(0, 500),
    process_ms=st.none() | st.integers(-500, 100),
)
def test_parts_never_take_more_than_the_whole(durations, parts, start_ms, process_ms):
    run = back_to_back(tuple(durations))
    run = replace(run, host_start_ns=run.host_start_ns - start_ms * MS)
    ordered = [(name, *sorted((one, other))) for name, one, other in parts]
    found = diagnose_run(with_parts(run, *ordered, process_ms=process_ms, first_run=True)).start_up
    assert sum(found.phases.values()) == found.elapsed_ns
    assert all(spent_ns >= 0 for spent_ns in (*found.phases.values(), *found.warm_up.values()))
    assert found.cost_ns <= found.run_ns
    assert 0.0 <= found.share <= 1.0
    if found.before_ns is not None:
        assert sum(found.before.values()) <= found.before_ns
