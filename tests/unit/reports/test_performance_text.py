# SPDX-License-Identifier: MIT
import json
import re
from dataclasses import replace

import pytest

from tests.support.run_records import batch, run_of, stage
from virnuc_profiler import TelemetryLogger, capture_hardware_info, generate_performance_report
from virnuc_profiler.analysis.diagnosis.bottlenecks import LABELS
from virnuc_profiler.errors import OutputError, TelemetryFormatError
from virnuc_profiler.reports.stage_table import render_stages
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.records import DeviceCapture


def write(tmp_path, summary=None, batches=(), metadata=None):
    path = tmp_path / "telemetry_other_writer.json"
    document = {"summary": summary or {}, "per_batch_metrics": list(batches)}
    path.write_text(json.dumps(document if metadata is None else {**document, "run_metadata": metadata}))
    return path


def value_of(report, label):
    """Return the value behind a label; fails unless there is exactly one such line."""
    (found,) = re.findall(rf"^ *{re.escape(label)}:? {{2,}}(.*)$", report, re.MULTILINE)
    return found


def verdict(report, requirement):
    (line,) = [line for line in report.splitlines() if line.strip().startswith(requirement)]
    return line.split("   ")[-1].strip()


def test_golden(tmp_path):
    """Computed by hand: 4 batches, 80 sequences, 16,000 tokens in 0.4 s."""
    logger = TelemetryLogger(tmp_path, "golden")
    logger.set_run_metadata(model_name="esm2_t36_3B_UR50D", device="cuda:0", hardware=capture_hardware_info())
    waits = (1.0, 2.0, 3.0, 10.0)
    efficiencies = (0.95, 0.79, 1.0, 0.98)
    for number in range(4):
        logger.record_batch(
            number,
            {
                "num_sequences": 20,
                "num_tokens": 4000,
                "wait_time_ms": waits[number],
                "packing_efficiency": efficiencies[number],
                "gpu_util": 80.0 + number,
                "queue_state": "starved" if number == 3 else "full",
                "checkpoint_write_ms": 5.0,
                "checkpoint_queue_depth": number,
            },
        )
    report = generate_performance_report(logger.finalize({"elapsed_seconds": 0.4}))
    assert "Model: esm2_t36_3B_UR50D" in report
    assert value_of(report, "Sequences") == "80"
    assert value_of(report, "Tokens") == "16,000"
    assert value_of(report, "Projected 6M (whole run's rate)") == "8.33 h"  # 6e6 / 200 per second / 3600
    assert report.count("Projected 6M") == 1  # by tokens it is the same figure
    assert value_of(report, "Tokens/s") == "40,000"
    assert value_of(report, "Sequences/s") == "200.0"
    assert value_of(report, "Average efficiency") == "93.0%"
    assert value_of(report, "Minimum efficiency") == "79.0%"
    assert value_of(report, "Batches under 80%") == "1 of 4"
    assert value_of(report, "Average") == "4.00 ms"
    assert value_of(report, "p95") == "8.95 ms"  # between 3 and 10, at rank 2.85
    assert value_of(report, "Starved batches") == "25.0%"
    assert value_of(report, "cuda:0") == "81.5% (batches 80.0% to 83.0%)"
    assert value_of(report, "Average write") == "5.00 ms"
    assert value_of(report, "Deepest queue") == "3"
    assert value_of(report, "PyTorch") == (capture_hardware_info()["torch_version"] or "n/a")
    assert [verdict(report, name) for name in ("PERF-01", "PERF-02", "PERF-05")] == ["PASS"] * 3
    assert "Contradictions" not in report


def test_no_label_is_cut(tmp_path):
    gaps = dict.fromkeys(LABELS, 1.5)
    long = "a reason with a name that is far longer than the column of labels"
    summary = {"bound_by": "launching", "device_gap_seconds": gaps}
    summary |= {"throttled_batches": 2, "throttled_seconds": {long: 2.0}}
    batches = [{"device": f"{long} {number}", "gpu_util": 50} for number in range(2)]
    report = generate_performance_report(write(tmp_path, summary, batches, {"hardware": {long: "x"}}))
    assert "…" not in report
    for words in LABELS.values():
        assert value_of(report, f"Device idle, {words}") == "1.500 s"
    assert f"  {long}: 2.00 s" in report
    assert f"  {long} 1: 50.0% (batches 50.0% to 50.0%)" in report
    assert f"  {long}: x" in report
    assert max(len(line) for line in report.splitlines() if long not in line) <= 80


def test_minimal_file_of_another_writer(tmp_path):
    report = generate_performance_report(write(tmp_path))
    assert [verdict(report, name) for name in ("PERF-01", "PERF-02", "PERF-05")] == ["NOT MEASURED"] * 3
    assert value_of(report, "Tokens/s") == "n/a"
    assert value_of(report, "Batches under 80%") == "n/a"
    assert "Checkpoints" not in report
    assert "None" not in report


def test_what_was_altered_in_the_sequences_is_shown_where_it_is_known(tmp_path):
    report = generate_performance_report(
        write(tmp_path, metadata={"workload": {"truncated_sequences": 1234, "unknown_residues": 0}})
    )
    assert value_of(report, "Sequences cut") == "1,234"
    assert value_of(report, "Unknown letters") == "0"
    assert "Invalid records skipped" not in report
    report = generate_performance_report(write(tmp_path, metadata={"workload": {"skipped_records": 3}}))
    assert value_of(report, "Invalid records skipped") == "3"
    assert "Sequences cut" not in generate_performance_report(write(tmp_path, metadata={"workload": "some file"}))


def test_shares_of_stages_use_the_device_only_where_all_of_it_was_timed():
    timed = batch(0, 0, 10, [stage("forward", 0, 6, (0, 2))])
    untimed = batch(1, 10, 20, [stage("forward", 10, 16)])
    (row,) = [line for line in render_stages(run_of([timed, untimed], 20)).splitlines() if line.startswith("forward")]
    assert row.endswith("60.0%")
    (row,) = [line for line in render_stages(run_of([timed], 20)).splitlines() if line.startswith("forward")]
    assert row.endswith("10.0%")


def test_a_stage_that_occurs_twice_in_a_batch_is_added_up_there():
    twice = batch(0, 0, 10, [stage("forward", 0, 2, device=(0, 3)), stage("forward", 1, 4, device=(5, 6))])
    partly = batch(1, 10, 20, [stage("forward", 10, 11, device=(10, 11)), stage("forward", 12, 13)])
    (row,) = [line for line in render_stages(run_of([twice, partly], 20)).splitlines() if line.startswith("forward")]
    assert [cell.strip() for cell in row.split(" | ")] == [
        "forward", "2", "3.000", "3.900", "4.000", "4.000", "30.0%",
    ]  # fmt: skip


def test_a_share_is_the_part_of_the_run_in_which_some_batch_was_at_that_stage():
    in_flight = [batch(n, 0, 100, [stage("forward", 0, 1, device=(0, 100))]) for n in range(3)]
    (row,) = [line for line in render_stages(run_of(in_flight, 200)).splitlines() if line.startswith("forward")]
    assert row.endswith("50.0%")


def test_the_table_of_stages_says_what_device_times_include():
    device = DeviceCapture("GPU", "GPU-1", timed=True)
    both = [stage("h2d", 0, 1, device=(0, 3)), replace(stage("forward", 1, 2, device=(3, 9)), timestamped=True)]
    replayed = [batch(n, 10 * n, 10 * n + 10, both) for n in range(2)]
    eager = batch(2, 20, 30, [stage("forward", 20, 21, device=(20, 25))])
    text = render_stages(run_of([*replayed, eager], 30, device=device))
    assert "except where the device timed it: forward in 2 of 3 batches." in text
    eager_only = render_stages(run_of([eager], 30, device=device))
    assert "Device times include waits for launches inside a stage: the device was busy for at most these" in eager_only
    assert "include waits" not in render_stages(run_of([batch(0, 0, 10, [stage("forward", 0, 2)])], 20))


def bursts(count=200):
    """Return a run that spends half of its time waiting, but all of it before two of its batches."""
    batches, now = [], 0.0
    for number in range(count):
        wait_ms = 5.0 * count if number in (0, count // 2) else 0.01
        stages = [stage("fetch", now, now + wait_ms), stage("forward", now + wait_ms, now + wait_ms + 10)]
        batches.append(batch(number, now, now + wait_ms + 10, stages))
        now += wait_ms + 10
    return run_of(batches, now)


def test_waits_in_bursts_show_in_their_share_of_the_run(tmp_path):
    report = generate_performance_report(bursts())
    assert value_of(report, "Starved batches") == "1.00%"
    assert value_of(report, "p95") == "0.0100 ms"
    assert value_of(report, "Share of the run") == "50.0%"
    assert "is bound by data loading: the run spends 35.8% of that time" in " ".join(report.split())


def test_the_share_of_waits_of_another_writer_follows_from_its_batches(tmp_path):
    waits = [{"wait_time_ms": 400.0}, {"wait_time_ms": 100.0}]
    report = generate_performance_report(write(tmp_path, {"elapsed_seconds": 2}, waits))
    assert value_of(report, "Share of the run") == "25.0%"
    for unknown in ([*waits, {"wait_time_ms": None}], [{"wait_time_ms": 3000.0}], [{}]):
        report = generate_performance_report(write(tmp_path, {"elapsed_seconds": 2}, unknown))
        assert value_of(report, "Share of the run") == "n/a"


def test_names_of_a_saved_run_cannot_command_the_terminal():
    run = run_of([batch(0, 0, 10, [stage("fetch", 0, 2)])], 20, device=DeviceCapture("cpu", reason="\x1b[2J"))
    names = ("\x1b[31m", *run.stage_names[1:])
    evil = replace(run, stage_names=names, batches=BatchTable.from_columns(names, run.batches.to_columns()))
    assert "\x1b" not in render_stages(evil)
    assert "\\x1b[31m" in render_stages(evil)


def test_keys_that_were_not_measured_print_as_such(tmp_path):
    summary = {"device_stages_fraction": None, "steady_tokens_per_sec": None, "energy_joules": None}
    report = generate_performance_report(write(tmp_path, summary))
    assert value_of(report, "In device stages, at most") == "n/a"
    assert value_of(report, "Energy") == "n/a"
    assert value_of(report, "Steady tokens/s").startswith("n/a")


def test_what_the_summary_lacks_comes_from_the_batches(tmp_path):
    batches = [{"num_sequences": 10, "num_tokens": 500, "packing_efficiency": 0.5, "gpu_util": 30}]
    report = generate_performance_report(write(tmp_path, {"elapsed_seconds": 2}, batches))
    assert value_of(report, "Sequences/s") == "5.00"
    assert verdict(report, "PERF-01") == "FAIL"
    assert verdict(report, "PERF-02") == "FAIL"
    assert verdict(report, "PERF-05") == "FAIL"


def test_utilization_of_a_part_of_the_run_does_not_pass_for_the_whole(tmp_path):
    batches = [{"num_sequences": 10, "num_tokens": 500, "gpu_util": 97.0}, {"num_sequences": 10, "num_tokens": 500}]
    lost = {"elapsed_seconds": 2, "avg_gpu_util": None, "gpu_sampling_lost_after_seconds": 0.3}
    report = generate_performance_report(write(tmp_path, lost, batches))
    assert verdict(report, "PERF-02") == "NOT MEASURED"


def test_a_part_of_the_tokens_is_no_numerator_for_the_time_of_all_batches(tmp_path):
    batches = [{"num_sequences": 10, "num_tokens": 500}, {}]
    report = generate_performance_report(write(tmp_path, {"elapsed_seconds": 2}, batches))
    assert value_of(report, "Sequences/s").startswith("n/a")
    assert verdict(report, "PERF-01") == "NOT MEASURED"


@pytest.mark.parametrize(
    ("summary", "requirement", "expected"),
    [
        ({"projected_6M_hours": 9.99}, "PERF-01", "PASS"),
        ({"projected_6M_hours": 10.0}, "PERF-01", "FAIL"),
        ({"projected_6M_hours": 5.0, "projected_6M_hours_tokens": 12.0}, "PERF-01", "FAIL"),
        ({"projected_6M_hours": 12.0, "projected_6M_hours_tokens": 5.0}, "PERF-01", "PASS"),
        ({"projected_6M_hours": 5.0, "projected_6M_hours_tokens": None}, "PERF-01", "PASS"),
        ({"avg_gpu_util": 70}, "PERF-02", "PASS"),
        ({"avg_gpu_util": 69.99}, "PERF-02", "FAIL"),
        ({"avg_gpu_util": None}, "PERF-02", "NOT MEASURED"),
        ({"avg_packing_efficiency": 0.9}, "PERF-05", "PASS"),
        ({"avg_packing_efficiency": sum([0.9] * 3) / 3 - 1e-16}, "PERF-05", "PASS"),
        ({"avg_packing_efficiency": 0.8999}, "PERF-05", "FAIL"),
    ],
)
def test_requirements(tmp_path, summary, requirement, expected):
    assert verdict(generate_performance_report(write(tmp_path, summary)), requirement) == expected


def test_projections_that_say_different_things_are_all_shown(tmp_path):
    hours = {"projected_6M_hours": 5.0, "projected_6M_hours_tokens": 12.0, "projected_6M_hours_steady": 11.5}
    report = generate_performance_report(write(tmp_path, hours))
    assert value_of(report, "Projected 6M (by sequences)") == "5.00 h"
    assert value_of(report, "Projected 6M (by tokens)") == "12.00 h"
    assert value_of(report, "Projected 6M (one start, steady)") == "11.50 h"


@pytest.mark.parametrize(("whole", "steady"), [(12.0, 9.0), (9.0, 12.0)])
def test_a_run_whose_start_decides_gets_no_verdict_on_its_projection(tmp_path, whole, steady):
    hours = {"projected_6M_hours_tokens": whole, "projected_6M_hours_steady": steady}
    report = generate_performance_report(write(tmp_path, hours))
    assert verdict(report, "PERF-01") == "CANNOT TELL"
    assert "The run is too short to tell: its start-up and warm-up decide." in report
    assert max(map(len, report.splitlines())) <= 80


def test_a_run_that_is_too_short_for_a_diagnosis_names_no_loss_after_its_warm_up(tmp_path):
    report = generate_performance_report(write(tmp_path, {"bound_by": "not_measured", "diagnosis": "Too short."}))
    assert "  Too short.\n" in report
    assert "Largest loss" not in report


@pytest.mark.parametrize(
    ("summary", "requirement", "shown"),
    [
        ({"projected_6M_hours": 10.0004}, "PERF-01", "10.0004 h   FAIL"),
        ({"projected_6M_hours": 9.9996}, "PERF-01", "9.9996 h   PASS"),
        ({"projected_6M_hours": 10.0}, "PERF-01", "10.00 h   FAIL"),
        ({"avg_gpu_util": 69.996}, "PERF-02", "69.996%   FAIL"),
        ({"avg_packing_efficiency": 0.899996}, "PERF-05", "89.9996%   FAIL"),
        ({"avg_packing_efficiency": 0.9}, "PERF-05", "90.00%   PASS"),
    ],
)
def test_a_value_near_its_limit_has_enough_digits_to_show_the_side(tmp_path, summary, requirement, shown):
    report = generate_performance_report(write(tmp_path, summary))
    (line,) = [line for line in report.splitlines() if line.strip().startswith(requirement)]
    assert line.endswith(f" {shown}")


def test_writes_that_no_batch_counts_are_unknown(tmp_path):
    report = generate_performance_report(write(tmp_path, {"avg_checkpoint_write_ms": 5.0}, [{"gpu_util": 1}]))
    assert (value_of(report, "Writes"), value_of(report, "Average write")) == ("n/a", "5.00 ms")


def test_utilization_per_device(tmp_path):
    batches = [{"device": "cuda:0", "gpu_util": 60}, {"device": "cuda:1", "gpu_util": 90}, {"device": "cuda:0"}]
    report = generate_performance_report(write(tmp_path, {}, batches))
    assert value_of(report, "cuda:0") == "60.0% (of 50% of the run, 1 reading) (batches 60.0% to 60.0%)"
    assert value_of(report, "cuda:1").startswith("90.0%")


def test_batches_that_were_never_recorded_are_pointed_out(tmp_path):
    batches = [{"num_sequences": 10, "num_tokens": 500}]
    report = generate_performance_report(write(tmp_path, {"total_tokens": 90_000, "total_batches": 176}, batches))
    assert "the summary counts 176 batches, the file contains 1" in report
    assert "the summary's total_tokens is 90,000, the batches add up to 500" in report


def test_strings_from_the_file_are_made_printable(tmp_path):
    metadata = {
        "model_name": "\x1b[31mred\x07\nPERF-02  PASS\u202e\ud800",
        "device": "\r",
        "hardware": {"gpu_models": ["\x1b[0m"], "cpu_model": "x" * 10_000},
    }
    report = generate_performance_report(write(tmp_path, metadata=metadata), tmp_path / "report.txt")
    assert all(character.isprintable() for character in report.replace("\n", ""))
    assert r"\x1b[31mred\x07\nPERF-02" in report
    assert max(map(len, report.splitlines())) < 500


def test_hardware_by_another_writers_names(tmp_path):
    report = generate_performance_report(write(tmp_path, metadata={"hardware": {"card": "H200", "n": 2}}))
    assert value_of(report, "card") == "H200"
    assert value_of(report, "n") == "2"


@pytest.mark.parametrize("metadata", [{"hardware": "H200"}, {"hardware": None, "model_name": ["a", 1]}, {"device": 3}])
def test_metadata_of_any_type(tmp_path, metadata):
    assert "Requirements" in generate_performance_report(write(tmp_path, metadata=metadata))


def test_extreme_but_valid_numbers(tmp_path):
    summary = {"elapsed_seconds": 5e-324, "total_sequences": 2**63 - 1, "total_tokens": 1, "energy_joules": 1e308}
    report = generate_performance_report(write(tmp_path, summary))
    assert "nan" not in report
    assert "inf" not in report


def test_report_is_written_too(tmp_path):
    output = tmp_path / "new" / "report.txt"
    text = generate_performance_report(write(tmp_path), output)
    assert output.read_text() == text


def test_report_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"report\.txt"):
        generate_performance_report(write(tmp_path), tmp_path / "file" / "report.txt")


def test_report_never_replaces_its_telemetry(tmp_path):
    path = write(tmp_path)
    with pytest.raises(ValueError, match="output_path"):
        generate_performance_report(path, path)
    assert json.loads(path.read_text())


def test_not_telemetry(tmp_path):
    path = tmp_path / "other.json"
    path.write_text("[]")
    with pytest.raises(TelemetryFormatError, match=r"other\.json"):
        generate_performance_report(path)


@pytest.mark.parametrize(("high", "expected"), [(9.9, "PASS"), (10.4, "CANNOT TELL")])
def test_a_projection_whose_interval_contains_the_limit_does_not_decide(tmp_path, high, expected):
    summary = {
        "projected_6M_hours": 9.7,
        "projected_6M_hours_tokens": 9.7,
        "projected_6M_hours_steady": 9.6,
        "projected_6M_hours_interval": {"low": 9.2, "high": high},
    }
    report = generate_performance_report(write(tmp_path, summary))
    assert verdict(report, "PERF-01") == expected
    assert ("the projection's interval is 9.2 to 10.4 h" in report) == (expected != "PASS")
