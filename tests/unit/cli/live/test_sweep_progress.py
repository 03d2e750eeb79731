# SPDX-License-Identifier: MIT
"""What is shown while a sweep runs."""

from dataclasses import replace

from tests.support.sweeps import VALIDATION_WORKLOAD, WORKLOAD, failure, fake_sweep, not_tried, success
from virnuc_profiler.cli.live.show_sweep import show_sweep
from virnuc_profiler.cli.live.sweep_progress import LiveSweep, ProgressLines, make_progress, outcome
from virnuc_profiler.sweep.trial.loaded_model import LiveFigures
from virnuc_profiler.targets.knobs.configuration import BASELINE
from virnuc_profiler.telemetry.records import GpuReading


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_each_configuration_is_a_line_with_the_time_that_is_left(capsys):
    clock = Clock()
    lines = ProgressLines([WORKLOAD, WORKLOAD, VALIDATION_WORKLOAD], 2.0, clock)
    for _ in range(2):
        lines.trial_started("baseline", BASELINE, WORKLOAD)
        clock.now += 12.0
        lines.trial_finished("baseline", success(BASELINE, 123.456))
    lines.trial_started("validation", BASELINE, VALIDATION_WORKLOAD)
    lines.trial_finished("validation", failure(BASELINE))
    shown = capsys.readouterr().err.splitlines()
    assert shown == [
        f"[1/3] baseline: {BASELINE}: 123.5 seq/sec, 95.0% packing, about 39 s left",
        f"[2/3] baseline: {BASELINE}: 123.5 seq/sec, 95.0% packing, about 27 s left",
        f"[3/3] validation: {BASELINE}: failed, OOM",
    ]


def test_what_was_not_tried_says_nothing_of_the_time_that_is_left(capsys):
    clock = Clock()
    lines = ProgressLines([WORKLOAD, WORKLOAD, WORKLOAD], 2.0, clock)
    for result, seconds in ((success(BASELINE, 123.456), 12.0), (not_tried(BASELINE), 0.0)):
        lines.trial_started("packing", BASELINE, WORKLOAD)
        clock.now += seconds
        lines.trial_finished("packing", result)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"[2/3] packing: {BASELINE}: failed, OOM (predicted, not tried), about 12 s left"


def test_configurations_that_repeat_their_workload_take_as_long_as_those_before(capsys):
    clock = Clock()
    lines = ProgressLines([WORKLOAD, WORKLOAD, VALIDATION_WORKLOAD], 2.0, clock)
    for _ in range(2):
        lines.trial_started("baseline", BASELINE, WORKLOAD)
        lines.trial_counted(3 * WORKLOAD.tokens)
        clock.now += 2.0 + 1.0 + 4.0  # pause, start, and four passes of a second
        lines.trial_finished("baseline", success(BASELINE, 100.0, steady_sequences_per_sec=2000.0, passes=4))
    shown = capsys.readouterr().err.splitlines()
    assert [line.rpartition(", ")[2] for line in shown] == ["about 14 s left", "about 7 s left"]


def test_trials_of_the_confirmation_are_not_counted_because_their_number_is_not_known(capsys):
    clock = Clock()
    lines = ProgressLines([WORKLOAD, VALIDATION_WORKLOAD], 2.0, clock)
    lines.trial_started("confirmation", BASELINE, WORKLOAD)
    assert lines.now().startswith(f"confirmation: {BASELINE}")
    lines.trial_repeated("confirmation", success(BASELINE, 50.0), ("the run was stopped",))
    lines.trial_finished("confirmation", success(BASELINE, 100.0))
    assert lines.number == 0
    assert capsys.readouterr().err.splitlines() == [
        f"confirmation: {BASELINE} is measured again: the run was stopped",
        f"[   ] confirmation: {BASELINE}: 100.0 seq/sec, 95.0% packing",
    ]


def test_the_time_that_is_left_leaves_a_confirmation_out_and_says_so(capsys):
    clock = Clock()
    lines = ProgressLines([WORKLOAD, WORKLOAD, WORKLOAD], 2.0, clock, confirms=True)
    lines.trial_started("baseline", BASELINE, WORKLOAD)
    clock.now += 12.0
    lines.trial_finished("baseline", success(BASELINE, 100.0))
    lines.trial_left_out()
    assert capsys.readouterr().err.endswith("about 24 s left besides the confirmation\n")
    assert lines.number == 2


def test_tables_go_to_stdout_and_progress_does_not(tmp_path, capsys):
    sweep = fake_sweep(tmp_path)
    sweep.listener = make_progress(sweep.planned(["baseline"]), 2.0)
    assert type(sweep.listener) is ProgressLines
    with show_sweep(sweep.listener, tmp_path):
        sweep.run(["baseline"])
    output = capsys.readouterr()
    assert output.out.startswith("Baseline Configuration (defaults)\n")
    assert output.err.startswith("[1/1] baseline")


def test_a_failure_says_nothing_of_the_time_that_is_left(capsys):
    clock = Clock()
    lines = ProgressLines([WORKLOAD] * 4, 2.0, clock)
    for result, seconds in ((failure(BASELINE), 3.0), (success(BASELINE), 12.0), (failure(BASELINE), 300.0)):
        lines.trial_started("packing", BASELINE, WORKLOAD)
        clock.now += seconds
        lines.trial_finished("packing", result)
    first, second, third = capsys.readouterr().err.splitlines()
    assert "left" not in first
    assert second.endswith("about 24 s left")
    assert third.endswith("about 12 s left")


def test_outcomes_in_words():
    assert outcome(success(BASELINE, 10.0, None)) == "10.0 seq/sec"
    assert outcome(success(BASELINE, 0.04, 0.89996)) == "0.0400 seq/sec, 89.996% packing"
    assert outcome(failure(BASELINE, "worker_crash")) == "failed, worker_crash"


def test_a_log_says_how_far_a_configuration_and_the_sweep_are():
    clock = Clock()
    lines = ProgressLines([WORKLOAD] * 3, 2.0, clock)
    assert lines.now() == "warming up the model ..."
    lines.trial_started("packing", BASELINE, WORKLOAD)
    clock.now += 12.0
    assert lines.now() == f"1 of 3, packing: {BASELINE}: no batch finished yet, 12 s so far"
    lines.trial_finished("packing", success(BASELINE))
    lines.trial_started("packing", BASELINE, WORKLOAD)
    clock.now += 1.0
    lines.trial_counted(86_000)
    clock.now += 2.0
    lines.trial_counted(172_000)
    assert lines.now() == (
        f"2 of 3, packing: {BASELINE}: 172,000 of 430,000 tokens (40%), 43,000 tokens/s, about 6 s left; "
        "about 21 s left in all"
    )


def test_a_terminal_gets_lines_of_failures_alone_and_tables(tmp_path, capsys):
    sweep = fake_sweep(tmp_path, listener=LiveSweep([WORKLOAD] * 3, 0.0))
    sweep.run_step("baseline")
    output = capsys.readouterr()
    assert output.out.startswith("Baseline Configuration (defaults)\n")
    assert output.err == ""
    sweep.listener.trial_started("packing", BASELINE, WORKLOAD)
    sweep.listener.trial_finished("packing", failure(BASELINE))
    assert capsys.readouterr().err == f"packing: {BASELINE}: failed, OOM\n"


def test_the_fastest_so_far_is_one_that_nothing_disturbed():
    lines = ProgressLines([WORKLOAD] * 5, 0.0, so_far=[success(BASELINE, 90.0), failure(BASELINE)])
    assert lines.best.sequences_per_sec == 90
    assert (lines.succeeded, lines.failed) == (0, {})
    for result in (
        success(BASELINE, 80.0),
        replace(success(BASELINE, 300.0), outcome="throttled"),
        success(BASELINE, 100.0),
        failure(BASELINE),
        failure(BASELINE, "timeout"),
    ):
        lines.trial_started("packing", BASELINE, WORKLOAD)
        lines.trial_finished("packing", result)
    assert lines.best.sequences_per_sec == 100
    assert (lines.succeeded, lines.failed) == (3, {"OOM": 1, "timeout": 1})


def test_the_share_that_is_done_moves_within_a_trial_but_not_in_its_further_passes():
    lines = ProgressLines([WORKLOAD, WORKLOAD], 0.0)
    assert lines.share_done() == 0
    lines.trial_started("packing", BASELINE, WORKLOAD)
    for tokens, share in ((WORKLOAD.tokens // 4, 0.125), (WORKLOAD.tokens, 0.5), (3 * WORKLOAD.tokens, 0.5)):
        lines.trial_counted(tokens)
        assert lines.share_done() == share
    lines.trial_finished("packing", success(BASELINE))
    assert lines.share_done() == 0.5
    lines.trial_started("confirmation", BASELINE, WORKLOAD)
    lines.trial_counted(WORKLOAD.tokens // 2)
    assert lines.share_done() == 0.5


def test_a_trial_that_runs_tells_its_rates_and_packing():
    clock = Clock()
    figures = LiveFigures(batches=10, gpu=GpuReading(0, 97))
    lines = ProgressLines([WORKLOAD], 0.0, clock, figures=lambda: figures)
    assert lines.trial().name == "warming up the model"
    lines.trial_started("packing", BASELINE, WORKLOAD)
    assert lines.trial().done == "no batch yet"
    for second in (1, 2, 3):
        clock.now = float(second)
        lines.trial_progressed(100 * second)
        lines.trial_counted(13_500 * second)
    trial = lines.trial()
    assert (trial.name, trial.done) == ("1 of 1, packing: 4w 4pf 4096tb 2000bs", "9% done")
    assert (trial.tokens_per_s, round(trial.sequences_per_s, 6)) == (13_500.0, 100.0)
    assert round(trial.packing, 3) == 0.989
    assert trial.gpu.utilization_percent == 97
