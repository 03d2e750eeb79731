# SPDX-License-Identifier: MIT
import json
import warnings

import pytest

from virnuc_profiler import TelemetryLogger, aggregate_telemetry_shards
from virnuc_profiler.errors import TelemetryFormatError


def shard(folder, name, batches, elapsed, model="esm2_t6_8M_UR50D", **summary):
    logger = TelemetryLogger(folder, name)
    if model is not None:
        logger.set_run_metadata(model_name=model)
    for number, metrics in enumerate(batches):
        logger.record_batch(number, metrics)
    return logger.finalize({"elapsed_seconds": elapsed, **summary})


def metrics(sequences, tokens, **more):
    return {"num_sequences": sequences, "num_tokens": tokens, **more}


def test_golden(tmp_path):
    """Two shards with 100 sequences and 20,000 tokens in total; the slower one took 50 s."""
    first = shard(
        tmp_path,
        "a",
        [
            metrics(20, 4000, gpu_util=80.0, packing_efficiency=0.9, queue_state="full"),
            metrics(20, 4000, gpu_util=60.0, packing_efficiency=0.8, queue_state="starved"),
        ],
        40.0,
    )
    second = shard(
        tmp_path,
        "b",
        [metrics(60, 12_000, gpu_util=90.0, packing_efficiency=0.95, queue_state="full", checkpoint_write_ms=4.0)],
        50.0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = aggregate_telemetry_shards([first, second])
    assert set(result) == {"global_summary", "per_shard_summary", "per_batch_metrics"}
    assert result["global_summary"] == {
        "total_sequences": 100,
        "total_tokens": 20_000,
        "total_batches": 3,
        "elapsed_seconds": 50.0,
        "avg_tokens_per_sec": 400.0,
        "avg_gpu_util": 80.0,
        "avg_packing_efficiency": pytest.approx(0.9),
        "pct_starved": pytest.approx(100 / 3),
        "sequences_per_hour": 7200.0,
        "projected_6M_hours": pytest.approx(6e6 / 7200),
        "avg_tokens_per_seq": 200.0,
        "projected_6M_hours_tokens": pytest.approx(6e6 * 200 / 20_000 * 50 / 3600),
        "avg_checkpoint_write_ms": 4.0,
        "num_shards": 2,
    }
    assert [record["shard_rank"] for record in result["per_batch_metrics"]] == [0, 0, 1]
    assert [summary["shard_rank"] for summary in result["per_shard_summary"]] == [0, 1]
    assert result["per_shard_summary"][1]["path"] == str(second)
    assert result["per_shard_summary"][0]["total_tokens"] == 8000
    json.dumps(result, allow_nan=False)


def test_one_shard(tmp_path):
    result = aggregate_telemetry_shards([shard(tmp_path, "a", [metrics(1, 10)], 2.0)])
    assert result["global_summary"]["num_shards"] == 1
    assert result["global_summary"]["avg_tokens_per_sec"] == 5.0
    assert result["global_summary"]["avg_gpu_util"] is None


def test_the_share_of_waits_is_that_of_all_shards(tmp_path):
    """One shard waits for half of 1 s, the other not at all for 3 s: 0.5 of 4 s, and not 0.5 of 3 s."""
    paths = [
        shard(tmp_path, "a", [metrics(1, 10, wait_time_ms=500.0)], 1.0),
        shard(tmp_path, "b", [metrics(1, 10, wait_time_ms=0.0)], 3.0),
    ]
    assert aggregate_telemetry_shards(paths)["global_summary"]["wait_fraction"] == 0.125
    unknown = shard(tmp_path, "c", [metrics(1, 10)], 1.0)
    assert aggregate_telemetry_shards([*paths, unknown])["global_summary"]["wait_fraction"] is None
    assert "wait_fraction" not in aggregate_telemetry_shards([unknown])["global_summary"]


def test_means_cover_the_shards_that_measured(tmp_path):
    paths = [
        shard(tmp_path, "a", [metrics(1, 10, gpu_util=50.0)], 1.0),
        shard(tmp_path, "b", [metrics(1, 10)], 1.0),
    ]
    assert aggregate_telemetry_shards(paths)["global_summary"]["avg_gpu_util"] == 50.0


def test_other_writers_missing_totals_come_from_their_batches(tmp_path):
    path = tmp_path / "other_writer.json"
    path.write_text(json.dumps({"summary": {"elapsed_seconds": 2.0}, "per_batch_metrics": [metrics(3, 30)]}))
    result = aggregate_telemetry_shards([path, shard(tmp_path, "a", [metrics(1, 10)], 1.0)])
    assert result["global_summary"]["total_tokens"] == 40
    assert result["global_summary"]["elapsed_seconds"] == 2.0


def test_a_total_that_one_shard_lacks_is_unknown(tmp_path):
    path = tmp_path / "other_writer.json"
    path.write_text(json.dumps({"summary": {}, "per_batch_metrics": []}))
    summary = aggregate_telemetry_shards([path, shard(tmp_path, "a", [metrics(1, 10)], 1.0)])["global_summary"]
    assert summary["total_tokens"] is None
    assert summary["elapsed_seconds"] is None
    assert summary["avg_tokens_per_sec"] is None


def test_different_models_warn(tmp_path):
    paths = [
        shard(tmp_path, "a", [], 1.0, model="esm2_t6_8M_UR50D"),
        shard(tmp_path, "b", [], 1.0, model="esm2_t36_3B_UR50D"),
        shard(tmp_path, "c", [], 1.0, model=None),
    ]
    with pytest.warns(UserWarning, match="esm2_t36_3B_UR50D, esm2_t6_8M_UR50D"):
        aggregate_telemetry_shards(paths)


def test_no_paths():
    with pytest.raises(ValueError, match="at least one"):
        aggregate_telemetry_shards([])


def test_one_path_is_not_a_list(tmp_path):
    with pytest.raises(ValueError, match="list"):
        aggregate_telemetry_shards(str(tmp_path / "a.json"))


def test_the_same_file_twice(tmp_path):
    path = shard(tmp_path, "a", [], 1.0)
    with pytest.raises(ValueError, match="twice"):
        aggregate_telemetry_shards([path, tmp_path / "." / path.name])


def test_an_unreadable_shard(tmp_path):
    path = tmp_path / "bad.json"
    path.write_text("{}")
    with pytest.raises(TelemetryFormatError, match=r"bad\.json"):
        aggregate_telemetry_shards([path])
