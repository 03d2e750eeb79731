# SPDX-License-Identifier: MIT
import json
import re
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from virnuc_profiler.errors import OutputError
from virnuc_profiler.telemetry.logger import TelemetryLogger
from virnuc_profiler.telemetry.migrations import TELEMETRY
from virnuc_profiler.telemetry.schema import telemetry_schema


class Clock:
    """A monotonic clock that advances only when the test says so."""

    def __init__(self):
        self.at_ns = 5_000_000_000

    def __call__(self):
        return self.at_ns

    def advance(self, seconds):
        self.at_ns += int(seconds * 1e9)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def logger(tmp_path, clock):
    return TelemetryLogger(tmp_path, "test", clock_ns=clock)


def finalized(logger, summary=None):
    return json.loads(logger.finalize(summary).read_text())


FULL_BATCH = {
    "tokens_per_sec": 4000.0,
    "sequences_per_sec": 20.0,
    "gpu_util": 85.0,
    "packing_efficiency": 0.95,
    "wait_time_ms": 2.5,
    "num_sequences": 20,
    "num_tokens": 4000,
    "queue_state": "full",
    "checkpoint_write_ms": 10.0,
    "checkpoint_queue_depth": 3,
}


def test_golden_summary(logger, clock):
    """Computed by hand: 3 batches, 60 sequences, 12,000 tokens in 30 s."""
    logger.record_batch(0, FULL_BATCH)
    logger.record_batch(1, {**FULL_BATCH, "gpu_util": 65.0, "packing_efficiency": 0.85, "queue_state": "starved"})
    logger.record_batch(
        2, {"num_sequences": 20, "num_tokens": 4000, "queue_state": "starved", "checkpoint_queue_depth": 7}
    )
    clock.advance(30)
    assert logger.get_summary() == {
        "total_sequences": 60,
        "total_tokens": 12_000,
        "total_batches": 3,
        "elapsed_seconds": 30.0,
        "avg_tokens_per_sec": 400.0,
        "avg_gpu_util": 75.0,
        "avg_packing_efficiency": pytest.approx(0.9),
        "pct_starved": pytest.approx(66.6667, abs=1e-4),
        "wait_seconds": None,  # the last batch lacks it
        "wait_fraction": None,
        "sequences_per_hour": 7200.0,
        "projected_6M_hours": pytest.approx(6e6 / 7200),
        "avg_tokens_per_seq": 200.0,
        "projected_6M_hours_tokens": pytest.approx(6e6 * 200 / 12_000 * 30 / 3600),
        "avg_checkpoint_write_ms": 10.0,
        "max_checkpoint_queue_depth": 7,
    }


def test_nothing_measured_is_null_and_never_zero(logger, clock):
    logger.record_batch(0, {"num_sequences": 2, "num_tokens": 10, "gpu_util": None})
    clock.advance(1)
    summary = finalized(logger)["summary"]
    for key in ("avg_gpu_util", "avg_packing_efficiency", "pct_starved"):
        assert summary[key] is None
    assert "avg_checkpoint_write_ms" not in summary
    assert "max_checkpoint_queue_depth" not in summary


def test_averages_cover_only_the_batches_that_had_the_value(logger):
    logger.record_batch(0, {"gpu_util": 40.0})
    logger.record_batch(1, {"gpu_util": None})
    logger.record_batch(2, {})
    assert logger.get_summary()["avg_gpu_util"] == 40.0


def test_a_measured_zero_counts(logger):
    logger.record_batch(0, {"gpu_util": 0})
    logger.record_batch(1, {"gpu_util": 50})
    assert logger.get_summary()["avg_gpu_util"] == 25.0


def test_batches_without_counts_are_named(logger):
    logger.record_batch(0, {"num_sequences": 2, "num_tokens": 10})
    logger.record_batch(1, {"num_sequences": 3})
    summary = logger.get_summary()
    assert (summary["total_sequences"], summary["total_tokens"]) == (5, 10)
    assert summary["batches_without_counts"] == 1


def test_totals_that_no_batch_had_are_unknown(logger):
    logger.record_batch(0, {})
    summary = logger.get_summary()
    assert summary["total_tokens"] is None
    assert summary["total_batches"] == 1


def test_an_empty_run_has_no_rates_and_no_division_by_zero(logger):
    summary = finalized(logger)["summary"]
    assert summary["total_sequences"] == 0
    assert summary["elapsed_seconds"] == 0.0
    for key in ("avg_tokens_per_sec", "projected_6M_hours", "projected_6M_hours_tokens", "avg_tokens_per_seq"):
        assert summary[key] is None


def test_given_elapsed_seconds_govern_the_rates(logger, clock):
    logger.record_batch(0, {"num_sequences": 10, "num_tokens": 1000})
    clock.advance(100)
    summary = finalized(logger, {"elapsed_seconds": 2.0, "mfu": 0.4, "note": "kept"})["summary"]
    assert summary["elapsed_seconds"] == 2.0
    assert summary["avg_tokens_per_sec"] == 500.0
    assert summary["sequences_per_hour"] == 18_000.0
    assert (summary["mfu"], summary["note"]) == (0.4, "kept")


def test_given_keys_override(logger, clock):
    logger.record_batch(0, FULL_BATCH)
    clock.advance(1)
    assert finalized(logger, {"avg_gpu_util": 12.5})["summary"]["avg_gpu_util"] == 12.5


@pytest.mark.parametrize("summary", [{"avg_gpu_util": 140}, {"elapsed_seconds": float("nan")}, {"mfu": "high"}])
def test_a_wrong_given_summary_is_refused_and_writes_nothing(logger, summary):
    with pytest.raises(ValueError, match=next(iter(summary))):
        logger.finalize(summary)
    assert not logger.path.exists()


def test_file_fits_the_shipped_schema(logger, clock):
    logger.set_run_metadata(model_name="esm2_t6_8M_UR50D", config={"num_workers": 4}, fasta=Path("a.fa"))
    logger.record_batch(0, {**FULL_BATCH, "stage_host_ms": {"fetch": 1.5}, "mine": [1, {"a": None}]})
    clock.advance(1)
    document = finalized(logger)
    Draft202012Validator(telemetry_schema()).validate(document)
    assert list(document) == ["schema_version", "run_metadata", "summary", "per_batch_metrics"]
    assert document["schema_version"] == TELEMETRY.version
    assert document["run_metadata"]["fasta"] == "a.fa"
    assert document["per_batch_metrics"][0]["mine"] == [1, {"a": None}]


def test_schema_itself_is_valid():
    Draft202012Validator.check_schema(telemetry_schema())


def test_timestamp_carries_its_offset(tmp_path):
    now = datetime(2025, 3, 1, 12, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=2)))
    logger = TelemetryLogger(tmp_path, now=lambda: now)
    logger.record_batch(0, {})
    assert finalized(logger)["per_batch_metrics"][0]["timestamp"] == "2025-03-01T12:00:00.250000+02:00"
    assert logger.path.name == "telemetry_20250301_120000.json"


def test_default_timestamp_and_run_id(tmp_path):
    logger = TelemetryLogger(tmp_path)
    logger.record_batch(0, {})
    document = finalized(logger)
    assert re.fullmatch(r"telemetry_\d{8}_\d{6}\.json", logger.path.name)
    assert datetime.fromisoformat(document["per_batch_metrics"][0]["timestamp"]).utcoffset() is not None


def test_a_timestamp_of_its_own_is_kept(logger):
    logger.record_batch(0, {"timestamp": "2025-01-01T00:00:00+00:00"})
    assert finalized(logger)["per_batch_metrics"][0]["timestamp"] == "2025-01-01T00:00:00+00:00"


def test_the_batch_index_given_wins(logger):
    logger.record_batch(7, {"batch_idx": 3})
    assert finalized(logger)["per_batch_metrics"][0]["batch_idx"] == 7


def test_metrics_are_copied(logger):
    metrics = {"num_tokens": 10, "mine": {"list": [1]}}
    logger.record_batch(0, metrics)
    metrics["num_tokens"] = 99
    metrics["mine"]["list"].append(2)
    record = finalized(logger)["per_batch_metrics"][0]
    assert record["num_tokens"] == 10
    assert record["mine"] == {"list": [1]}
    assert "timestamp" not in metrics


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gpu_util", 100.5),
        ("gpu_util", -1),
        ("gpu_util", "high"),
        ("gpu_util", True),
        ("packing_efficiency", 4.0),
        ("packing_efficiency", -0.1),
        ("queue_state", "empty"),
        ("queue_state", 1),
        ("wait_time_ms", -0.5),
        ("num_tokens", -1),
        ("num_tokens", 1.5),
        ("num_tokens", 2**63),
        ("num_sequences", "3"),
        ("tokens_per_sec", float("nan")),
        ("tokens_per_sec", float("inf")),
        ("tokens_per_sec", 2**1024 - 1),
        ("checkpoint_queue_depth", -2),
        ("stage_host_ms", {"fetch": -1}),
        ("timestamp", None),
    ],
)
def test_known_keys_are_checked(logger, key, value):
    with pytest.raises(ValueError, match=key):
        logger.record_batch(0, {key: value})
    assert logger.get_summary()["total_batches"] == 0


def test_messages_name_the_key_the_value_and_the_range(logger):
    with pytest.raises(ValueError, match=r"gpu_util is 140; it must be a finite number from 0 to 100, or None"):
        logger.record_batch(0, {"gpu_util": 140})


@pytest.mark.parametrize("index", [-1, None, "0", 1.5, True])
def test_wrong_batch_index(logger, index):
    with pytest.raises(ValueError, match="batch_idx"):
        logger.record_batch(index, {})


@pytest.mark.parametrize("value", [float("nan"), [1.0, float("inf")], {"a": {"b": float("-inf")}}, np.float32("nan")])
def test_nan_never_gets_in_not_even_under_unknown_keys(logger, value):
    with pytest.raises(ValueError, match="mine"):
        logger.record_batch(0, {"mine": value})
    with pytest.raises(ValueError, match="mine"):
        logger.set_run_metadata(mine=value)


@pytest.mark.parametrize("value", [object(), {1: 2}, {1, 2}, b"bytes"])
def test_values_that_json_lacks_are_refused_at_once(logger, value):
    with pytest.raises(TypeError, match="mine"):
        logger.record_batch(0, {"mine": value})


@pytest.mark.parametrize("metrics", [[1], None, "num_tokens"])
def test_metrics_that_are_no_mapping_are_refused_with_the_form_wanted(logger, metrics):
    with pytest.raises(TypeError, match="pass a mapping of names to values"):
        logger.record_batch(0, metrics)


def test_endless_nesting_is_refused(logger):
    endless: list = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested"):
        logger.record_batch(0, {"mine": endless})


def test_numpy_values_become_plain_numbers(logger):
    logger.record_batch(
        np.int64(3),
        {"num_tokens": np.int32(7), "gpu_util": np.float32(50), "mine": np.arange(3), "oversize": np.bool_(True)},
    )
    record = finalized(logger)["per_batch_metrics"][0]
    assert (record["batch_idx"], record["num_tokens"], record["gpu_util"]) == (3, 7, 50.0)
    assert record["mine"] == [0, 1, 2]
    assert record["oversize"] is True


def test_metadata_attribute_is_what_is_written(logger):
    logger.set_run_metadata(model_name="a")
    logger.set_run_metadata(model_name="b", extra=1)
    logger.run_metadata["direct"] = (1, 2)
    assert finalized(logger)["run_metadata"] == {"model_name": "b", "extra": 1, "direct": [1, 2]}


def test_finalize_twice_writes_what_came_since(logger):
    logger.record_batch(0, {"num_tokens": 1})
    first = logger.finalize()
    logger.record_batch(1, {"num_tokens": 2})
    assert logger.finalize() == first
    assert json.loads(first.read_text())["summary"]["total_tokens"] == 3
    assert [path.name for path in first.parent.iterdir()] == ["telemetry_test.json"]


def test_output_folder_is_made(tmp_path):
    logger = TelemetryLogger(tmp_path / "a" / "b", "x")
    assert logger.finalize() == tmp_path / "a" / "b" / "telemetry_x.json"


def test_a_folder_that_cannot_be_is_an_early_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"):
        TelemetryLogger(tmp_path / "file" / "sub", "x")


def test_a_folder_that_takes_no_files_is_an_early_error():
    with pytest.raises(OutputError, match="/proc"):
        TelemetryLogger("/proc", "x")


@pytest.mark.parametrize("run_id", ["", "a/b", "../x", "a\\b", "a\nb", "a\0b", "x" * 300])
def test_unsafe_run_ids(tmp_path, run_id):
    with pytest.raises(ValueError, match="run_id"):
        TelemetryLogger(tmp_path, run_id)


@pytest.mark.parametrize("run_id", ["tune_4w_4pf_4096tb_2000bs", "..", "a b", "läuft"])
def test_safe_run_ids(tmp_path, run_id):
    path = TelemetryLogger(tmp_path, run_id).finalize()
    assert path.parent == tmp_path
    assert path.name == f"telemetry_{run_id}.json"
    assert path.is_file()


def test_many_threads_lose_nothing(logger):
    def work(number):
        for step in range(200):
            logger.record_batch(number * 200 + step, {"num_sequences": 1, "num_tokens": number})
            summary = logger.get_summary()
            assert summary["total_sequences"] == summary["total_batches"]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    document = finalized(logger)
    assert document["summary"]["total_batches"] == 800
    assert document["summary"]["total_tokens"] == 200 * (0 + 1 + 2 + 3)
    assert {record["batch_idx"] for record in document["per_batch_metrics"]} == set(range(800))


def test_the_final_summary_is_the_one_in_the_file(tmp_path):
    logger = TelemetryLogger(tmp_path, "x")
    with pytest.raises(RuntimeError, match=r"telemetry_x\.json has not been written; call finalize\(\) first"):
        logger.final_summary  # noqa: B018 - it raises
    logger.record_batch(0, {"num_sequences": 3, "num_tokens": 30})
    path = logger.finalize({"elapsed_seconds": 2.0})
    logger.record_batch(1, {"num_sequences": 4, "num_tokens": 40})
    assert logger.final_summary == json.loads(path.read_text())["summary"]
    logger.final_summary["total_tokens"] = 0
    assert (logger.final_summary["total_tokens"], logger.get_summary()["total_tokens"]) == (30, 70)


def test_a_file_that_cannot_be_written_leaves_the_last_summary(tmp_path):
    logger = TelemetryLogger(tmp_path / "out", "x")
    logger.finalize({"elapsed_seconds": 2.0})
    logger.path.unlink()
    logger.path.mkdir()
    with pytest.raises(OutputError):
        logger.finalize({"elapsed_seconds": 3.0})
    assert logger.final_summary["elapsed_seconds"] == 2.0
