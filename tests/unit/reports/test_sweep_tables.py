# SPDX-License-Identifier: MIT
"""The tables, to the letter."""

import re
from dataclasses import replace

import pytest

from tests.support.sweeps import WORKLOAD, conditions, failure, not_tried, success
from virnuc_profiler.reports.sweep_tables import (
    render_baseline,
    render_dataloader,
    render_interaction,
    render_packing,
    render_step,
    render_validation,
)
from virnuc_profiler.sweep.plan.steps import plan
from virnuc_profiler.sweep.results.choice import Choice
from virnuc_profiler.sweep.results.document import Projection
from virnuc_profiler.sweep.results.result_files import make_document
from virnuc_profiler.targets.knobs.configuration import BASELINE, Configuration

STEPS = plan()
REFERENCE = success(BASELINE, 100.0)


def document(step, results, planned=None, **more):
    circumstances = replace(conditions(), workload=WORKLOAD.to_json())
    return make_document(STEPS[step], circumstances, results, REFERENCE, planned=planned or len(results), **more)


def test_baseline():
    assert render_baseline(document("baseline", [success(BASELINE, 123.456)])) == (
        "Baseline Configuration (defaults)\n"
        "==================================\n"
        "num_workers=4, prefetch_factor=4, token_budget=4096, buffer_size=2000\n"
        "Throughput: 123.5 seq/sec, 26,543 tok/sec\n"
        "GPU Utilization: 87.2%\n"
        "Packing Efficiency: 95.0%\n"
        "Peak Memory: 6.54 GB\n"
        "=================================="
    )


def test_a_baseline_with_another_value_is_not_said_to_be_of_the_defaults():
    text = render_baseline(document("baseline", [success(BASELINE.replace(precision="bf16"), 123.456)]))
    assert text.startswith("Baseline Configuration\n====")


@pytest.mark.parametrize("step", ["baseline", "dataloader", "interaction"])
def test_words_of_a_file_cannot_command_the_terminal(step):
    evil = failure(Configuration(8, 8), "\x1b[31m", message="\x1b[2J")
    text = render_step(document(step, [success(BASELINE, 1.0), evil]))
    assert "\x1b" not in text
    assert "\\x1b[31m" in text


def test_dataloader_with_failures_apart():
    results = [
        success(Configuration(2, 2), 95.0),
        success(Configuration(8, 4), 110.5),
        failure(Configuration(8, 8)),
        failure(Configuration(8, 2), "worker_crash", message="worker 1 was killed by SIGKILL"),
    ]
    assert render_dataloader(document("dataloader", results)) == (
        "DataLoader Parameter Sweep\n"
        "======================================================================\n"
        "Workers | Prefetch | Seq/sec | Tok/sec  | GPU Util | Memory  | Speedup\n"
        "2       | 2        | 95.0    | 20,425   | 87.2%    | 6.54G   | 0.950x\n"
        "8       | 4        | 110.5   | 23,758   | 87.2%    | 6.54G   | 1.10x\n"
        "======================================================================\n"
        "Fastest measured: num_workers=8, prefetch_factor=4 (110.5 seq/sec, 1.10x vs baseline)\n"
        "Baseline: num_workers=4, prefetch_factor=4 (100.0 seq/sec)\n"
        "Too little was repeated so far, or differed too much, to tell it from the others.\n"
        "Each configuration was measured once in this step, so differences are not tested; --repeats 5 tests them.\n"
        "\n"
        "Failed configurations (OOM):\n"
        "  num_workers=8, prefetch_factor=8 (peak memory: 79.50 GB before OOM)\n"
        "\n"
        "Failed configurations (worker_crash):\n"
        "  num_workers=8, prefetch_factor=2 (worker 1 was killed by SIGKILL)"
    )


def test_packing():
    results = [success(Configuration(token_budget=8192, buffer_size=500), 120.0, 0.9234)]
    assert render_packing(document("packing", results)) == (
        "Packing Parameter Sweep\n"
        "======================================================================\n"
        "Budget  | Buffer | Seq/sec | Pack Eff | GPU Util | Memory  | Speedup\n"
        "8192    | 500    | 120.0   | 92.3%    | 87.2%    | 6.54G   | 1.20x\n"
        "======================================================================\n"
        "Fastest measured: token_budget=8192, buffer_size=500 (120.0 seq/sec, 92.3% eff, 1.20x vs baseline)\n"
        "Baseline: token_budget=4096, buffer_size=2000 (100.0 seq/sec)"
    )


def test_interaction_shows_failed_configurations_in_their_place():
    results = [success(Configuration(token_budget=2048), 90.0), failure(Configuration(8, token_budget=8192))]
    text = render_interaction(document("interaction", results))
    rule = "=" * 77
    assert text.startswith(
        "Parameter Interaction Sweep (num_workers x token_budget)\n"
        f"{rule}\n"
        "Workers | Budget | Seq/sec | Pack Eff | GPU Util | Memory  | Speedup | Status\n"
        "4       | 2048   | 90.0    | 95.0%    | 87.2%    | 6.54G   | 0.900x  | OK\n"
        "8       | 8192   | ---     | ---      | ---      | 79.50G  | ---     | OOM\n"
        f"{rule}\n"
        "Fastest measured: num_workers=4, token_budget=2048 (90.0 seq/sec, >90% packing, no OOM)\n"
        "It is not faster than the baseline: keep the baseline.\n"
    )
    assert "  num_workers=8, token_budget=8192 (peak memory: 79.50 GB before OOM)" in text


def test_what_was_not_tried_is_apart_from_what_ran_out_of_memory():
    results = [
        success(BASELINE),
        failure(Configuration(token_budget=8192)),
        not_tried(Configuration(token_budget=10**6)),
    ]
    assert render_packing(document("packing", results)).endswith(
        "\n"
        "Failed configurations (OOM):\n"
        "  token_budget=8192, buffer_size=2000 (peak memory: 79.50 GB before OOM)\n"
        "\n"
        "Failed configurations (OOM, predicted):\n"
        "  token_budget=1000000, buffer_size=2000 (predicted: 123.46 GB of 84.50 GB, not tried)"
    )
    rows = render_interaction(document("interaction", results)).splitlines()
    assert rows[5].split(" | ")[1:] == [
        "1000000",
        "---    ",
        "---     ",
        "---     ",
        "n/a    ",
        "---    ",
        "OOM, predicted",
    ]
    baseline = render_baseline(document("baseline", [not_tried(BASELINE)]))
    assert "Failed: OOM (predicted: 123.46 GB of 84.50 GB, not tried)" in baseline


def test_the_constraint_is_named_where_it_is_not_kept():
    results = [success(Configuration(token_budget=2048), 90.0, 0.8512)]
    text = render_interaction(document("interaction", results))
    assert "Fastest measured: num_workers=4, token_budget=2048 (90.0 seq/sec, 85.1% packing, no OOM)" in text
    assert "No configuration reached 90% packing efficiency; the best without that constraint is shown." in text


def test_what_was_not_measured_is_not_zero():
    blank = success(BASELINE, 100.0, None, gpu_util=None, peak_memory_gb=None)
    for step in ("baseline", "dataloader", "packing", "interaction"):
        text = render_step(document(step, [blank]))
        assert "n/a" in text
        assert not re.search(r"\b0\.0+%|\b0\.0+ ?GB?\b|None|nan", text), text


def test_rounding_does_not_hide_why_a_configuration_wins_or_loses():
    full, wasteful = success(BASELINE, 90.0, 0.9), success(Configuration(token_budget=8192), 120.0, 0.89996)
    slower = success(Configuration(token_budget=2048), 89.96, 0.95)
    lines = render_packing(document("packing", [full, wasteful, slower])).splitlines()
    cells = [[cell.strip() for cell in line.split("|")] for line in lines[3:6]]
    assert [row[3] for row in cells] == ["90.0%", "89.996%", "95.0%"]
    assert [row[2] for row in cells] == ["90.0", "120.0", "89.96"]
    assert lines[7].startswith("Fastest measured with 90% packing or more: token_budget=4096")


def test_the_best_rate_has_the_digits_that_tell_it_from_the_next_one_and_no_more():
    def rates(*measured):
        results = [success(Configuration(2, place), value) for place, value in enumerate(measured, 1)]
        rows = render_dataloader(document("dataloader", results)).splitlines()[3:]
        return [row.split("|")[2].strip() for row in rows[: len(measured)]]

    assert rates(2.837482910, 3.018907254, 2.241) == ["2.84", "3.02", "2.24"]
    assert rates(454.81, 454.8417392) == ["454.8", "454.84"]
    assert rates(3.018907254) == ["3.02"]
    assert rates(3.018907254, 3.018907254) == ["3.02", "3.02"]


def test_slow_is_not_zero():
    slow = success(BASELINE, 0.04, tokens_per_sec=8.6)
    assert "Throughput: 0.0400 seq/sec, 8.60 tok/sec" in render_baseline(document("baseline", [slow]))
    assert "0.000400x" in render_dataloader(document("dataloader", [slow]))


def seen(share, blurred_share=0.0):
    return {"share": share, "readings": 38, "largest_gap_seconds": 1.0, "blurred_share": blurred_share}


def test_a_utilization_of_a_part_of_the_run_is_marked():
    results = [
        success(Configuration(2, 2), gpu_util=70.0, gpu_util_coverage=seen(0.6)),
        success(Configuration(2, 4), gpu_util=80.0, gpu_util_coverage=seen(1.0, 0.1)),
        success(Configuration(2, 8), gpu_util=81.0, gpu_util_coverage=seen(1.0)),
    ]
    text = render_dataloader(document("dataloader", results))
    assert [row.split(" | ")[4].strip() for row in text.splitlines()[3:6]] == ["70.0%*", "80.0%*", "81.0%"]
    assert "* GPU Util may be off by up to 28 points: short runs, or sampled in part." in text  # 42 to 82 %
    assert "* GPU Util" not in render_dataloader(document("dataloader", results[2:]))
    (baseline,) = [line for line in render_baseline(document("baseline", results[:1])).splitlines() if "GPU" in line]
    assert baseline == "GPU Utilization: 70.0% (of 60% of the run, 38 readings)"


def test_a_run_that_is_too_short_for_a_utilization_says_so():
    short = success(BASELINE, gpu_util=None, gpu_util_coverage=seen(1.0, 1.0))
    assert "GPU Utilization: n/a (the run is too short to sample)" in render_baseline(document("baseline", [short]))
    text = render_packing(document("packing", [short]))
    assert "GPU Util n/a: the run is too short to sample, or most of it was not sampled." in text


def test_throttling_that_was_seen_in_a_part_of_the_run():
    evidence = {"held_down_share": 1.0, "reasons": {"hw_slowdown": 1.0}, "sampled_share": 0.2}
    hot = success(Configuration(2, 2), outcome="throttled", evidence=evidence)
    text = render_dataloader(document("dataloader", [hot]))
    assert "(100.0% of the 20.0% of the time that was sampled: hw_slowdown)" in text


def test_a_baseline_that_failed_has_no_speedups():
    results = [success(Configuration(2, 2), 95.0)]
    failed = make_document(STEPS["dataloader"], conditions(), results, failure(BASELINE), planned=1)
    text = render_dataloader(failed)
    assert "| n/a" in text.splitlines()[3]
    assert "Baseline: num_workers=4, prefetch_factor=4 (n/a seq/sec)" in text
    assert "Failed: OOM (peak memory: 79.50 GB before OOM)" in render_baseline(
        document("baseline", [failure(BASELINE)])
    )


@pytest.mark.parametrize("step", ["dataloader", "packing", "interaction"])
def test_all_failed_still_gives_a_table(step):
    text = render_step(document(step, [failure(BASELINE)]))
    assert "none, no configuration succeeded" in text
    assert "before OOM" in text


def test_an_interrupted_step_says_so():
    text = render_dataloader(document("dataloader", [success(BASELINE)], planned=9))
    assert "Incomplete: 1 of 9 configurations were run." in text


def test_out_of_host_memory_is_not_taken_for_the_device():
    text = render_dataloader(document("dataloader", [failure(BASELINE, memory="host", peak_memory_gb=None)]))
    assert "(peak memory: n/a before OOM of the host)" in text


def test_messages_cannot_command_the_terminal():
    text = render_dataloader(document("dataloader", [failure(BASELINE, "error", message="\x1b[2Jgone\n| 9 | 9")]))
    assert "\x1b" not in text
    assert "gone" in text.splitlines()[-1]


def test_columns_grow_with_their_content():
    wide = success(Configuration(token_budget=123456789), 1234567.8, tokens_per_sec=9.9e9)
    header, row = render_packing(document("packing", [wide])).splitlines()[2:4]
    assert [len(cell) for cell in header.split("|")][:-1] == [len(cell) for cell in row.split("|")][:-1]


def test_validation():
    choice = Choice(reason="highest sequences/s of 25 that succeeded with a packing efficiency of 90% or more")
    projection = Projection(6_000_000, 1234.567)
    done = document("validation", [success(BASELINE, 130.0)], choice=choice, projection=projection)
    text = render_validation(done)
    assert text.startswith(
        "Validation of the Chosen Configuration\n======================================\nnum_workers=4"
    )
    assert "baseline" not in text
    assert f"Workload: {WORKLOAD.num_sequences:,} sequences, 430,000 tokens" in text
    assert "Chosen for: highest sequences/s of 25" in text
    assert text.endswith(
        "Projected run time for 6,000,000 sequences: 1,234.57 hours at the rate of the whole run, start-up included"
    )
    steady = document("validation", [success(BASELINE, 130.0)], choice=choice, projection=Projection(6_000_000, 9, 8.5))
    assert render_validation(steady).splitlines()[-1] == (
        "Projected run time for 6,000,000 sequences: 8.50 hours with one start-up, then at the steady rate"
    )
    failed = document("validation", [failure(BASELINE)], choice=choice)
    assert render_validation(failed).endswith("Projected run time: n/a")
    nothing = document("validation", [], choice=Choice(reason="no configuration has succeeded"))
    assert "Not run: no configuration has succeeded" in render_validation(nothing)
