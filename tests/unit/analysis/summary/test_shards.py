# SPDX-License-Identifier: MIT
import json
import warnings
from datetime import datetime, timedelta, timezone

import pytest

from tests.support.run_records import batch, packing, run_of
from virnuc_profiler import TelemetryLogger, aggregate_telemetry_shards
from virnuc_profiler.cli.main import main
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.reports.telemetry_file import write_telemetry


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
        "shard_overlap": 0.8,
        "warnings": [],
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


@pytest.mark.parametrize(("seconds", "expected"), [(1.0, 50.0), (3.0, None)])
def test_a_shard_without_utilization_is_named_and_the_others_speak_for_at_most_twice_their_time(
    tmp_path, seconds, expected
):
    paths = [
        shard(tmp_path, "a", [metrics(1, 10, gpu_util=50.0, packing_efficiency=0.5)], 1.0),
        shard(tmp_path, "b", [metrics(1, 10, packing_efficiency=0.5)], seconds),
    ]
    with pytest.warns(UserWarning, match=r"telemetry_b\.json has no GPU utilization: .*the other shard"):
        summary = aggregate_telemetry_shards(paths)["global_summary"]
    assert summary["avg_gpu_util"] == expected
    assert summary["sampling_coverage"]["avg_gpu_util"]["share"] == 1 / (1 + seconds)


def test_ranks_in_lockstep_that_share_a_millisecond_are_two_shards(tmp_path):
    """The same batch of both, with equal counts, completed in the same millisecond; only a measured time differs."""
    files = []
    for rank, wait_ms in enumerate((1.25, 1.5)):
        moments = {"timestamp": "2025-03-01T12:01:10.253+00:00", "wait_time_ms": wait_ms}
        files.append(shard(tmp_path, f"rank{rank}", [metrics(10, 2000, **moments)], 40.0))
    assert aggregate_telemetry_shards(files)["global_summary"]["total_sequences"] == 20
    copied = files[1].read_text().replace('"run_id": "rank1"', '"run_id": "another"')
    (tmp_path / "copy.json").write_text(copied)
    with pytest.raises(ValueError, match="holds the same run"):
        aggregate_telemetry_shards([*files, tmp_path / "copy.json"])


def test_a_short_shard_that_lifts_the_average_is_told(tmp_path, capsys):
    """One GPU at 100 % for 10 s and one at 45 % for 1,000 s: the mean passes PERF-02, their time does not."""
    short = shard(tmp_path, "a", [metrics(10, 2000, gpu_util=100.0, packing_efficiency=0.5)], 10.0)
    many = [metrics(10, 2000, gpu_util=45.0, packing_efficiency=0.95)] * 99
    long = shard(tmp_path, "b", many, 1000.0)
    with pytest.warns(UserWarning, match="weighted by"):
        overall = aggregate_telemetry_shards([short, long])["global_summary"]
    assert overall["avg_gpu_util"] == 72.5
    assert overall["warnings"] == [
        "the GPU utilization of 72.5% is the mean of the shards' averages; weighted by the time of each shard, it is "
        "45.5%",
        "the packing efficiency of 72.5% is the mean of the shards' averages; weighted by the batches of each shard, "
        "it is 94.5%",
    ]
    assert main(["report", str(short), str(long)]) == 0
    (verdict,) = [line for line in capsys.readouterr().out.splitlines() if "PERF-02" in line]
    assert verdict.endswith("CANNOT TELL")


def test_other_writers_missing_totals_come_from_their_batches(tmp_path):
    path = tmp_path / "other_writer.json"
    path.write_text(json.dumps({"summary": {"elapsed_seconds": 2.0}, "per_batch_metrics": [metrics(3, 30)]}))
    with pytest.warns(UserWarning, match=r"unknown when other_writer\.json ran"):
        result = aggregate_telemetry_shards([path, shard(tmp_path, "a", [metrics(1, 10)], 1.0)])
    assert result["global_summary"]["total_tokens"] == 40
    assert (result["global_summary"]["elapsed_seconds"], result["global_summary"]["shard_overlap"]) == (2.0, None)


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


START = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)


def written(folder, name, start_s, metadata=None, seconds=100.0, batches=(), **summary):
    """Write a shard of 1,000 sequences that began some seconds after the others."""
    path = folder / name
    started = (START + timedelta(seconds=start_s)).isoformat(timespec="milliseconds")
    document = {
        "schema_version": "1.2",
        "run_metadata": {"started_at": started, **(metadata or {})},
        "summary": {"total_sequences": 1000, "total_tokens": 200_000, "elapsed_seconds": seconds, **summary},
        "per_batch_metrics": list(batches),
    }
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("start_s", "rate", "overlap"),
    [
        (0, 20.0, 1.0),
        (1, 2000 / 101, 99 / 101),
        (60, 12.5, 0.25),  # was 20
        (100, 10.0, 0.0),  # one after the other, was 20 too
        (3700, 10.0, 0.0),  # the hour between them does not count
    ],
)
def test_rates_are_over_the_time_in_which_a_shard_ran(tmp_path, start_s, rate, overlap):
    paths = [written(tmp_path, "a.json", 0), written(tmp_path, "b.json", start_s)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        summary = aggregate_telemetry_shards(paths)["global_summary"]
    assert summary["sequences_per_hour"] / 3600 == pytest.approx(rate)
    assert summary["shard_overlap"] == pytest.approx(overlap)
    said = [str(each.message) for each in caught]
    assert said == summary["warnings"]
    assert any("did not run at the same time" in sentence for sentence in said) == (start_s >= 60)
    assert any("pause of 3,600.0 s" in sentence for sentence in said) == (start_s == 3700)


@pytest.mark.parametrize(
    "time_of",
    [
        lambda moment: moment.isoformat(),
        lambda moment: moment.timestamp(),
        lambda moment: moment.replace(tzinfo=None).isoformat(),
    ],
)
def test_without_a_start_the_last_batch_says_when_a_shard_ran(tmp_path, time_of):
    paths = []
    for name, end_s in (("a", 100.5), ("b", 160.5)):
        ended = [{**metrics(500, 1000), "timestamp": time_of(START + timedelta(seconds=end_s - s))} for s in (50, 0)]
        paths.append(written(tmp_path, name, 0, {"started_at": None}, batches=ended, total_batches=2))
    with pytest.warns(UserWarning, match="did not run at the same time"):
        summary = aggregate_telemetry_shards(paths)["global_summary"]
    assert summary["elapsed_seconds"] == 160.0


def test_local_times_cannot_be_compared_with_others(tmp_path):
    paths = [written(tmp_path, "a.json", 0), written(tmp_path, "b.json", 0, {"started_at": "2025-03-01T03:00:00"})]
    with pytest.warns(UserWarning, match=r"unknown when b\.json ran"):
        assert aggregate_telemetry_shards(paths)["global_summary"]["elapsed_seconds"] == 100.0


def test_a_copy_of_a_file_is_refused(tmp_path):
    first = shard(tmp_path, "a", [metrics(1, 10)], 1.0)
    copy = tmp_path / "b.json"
    copy.write_bytes(first.read_bytes())
    with pytest.raises(ValueError, match=r"b\.json holds the same run as telemetry_a\.json"):
        aggregate_telemetry_shards([first, shard(tmp_path, "c", [metrics(1, 10)], 1.0), copy])


def test_a_run_that_goes_on_and_its_earlier_file_are_refused(tmp_path):
    logger = TelemetryLogger(tmp_path, "a")
    logger.record_batch(0, metrics(1, 10))
    early = logger.finalize().rename(tmp_path / "early.json")
    logger.record_batch(1, metrics(1, 10))
    with pytest.raises(ValueError, match="holds the same run"):
        aggregate_telemetry_shards([early, logger.finalize()])


def test_a_saved_run_and_its_telemetry_are_one_shard(tmp_path):
    run = run_of([batch(0, 0, 1000.25, [], packing([5]))], 2000)
    with pytest.raises(ValueError, match="holds the same run"):
        aggregate_telemetry_shards([run.save(tmp_path / "run.json"), write_telemetry(run, tmp_path / "telemetry.json")])


def test_the_same_run_id_under_another_name(tmp_path):
    same, others = {"run_id": "x"}, [{"device_capture": {"uuid": f"GPU-{n}"}} for n in range(2)]
    first = written(tmp_path, "a.json", 0, same)
    with pytest.raises(ValueError, match="holds the same run"):
        aggregate_telemetry_shards([first, written(tmp_path, "b.json", 0, same, seconds=101.0)])
    on_two = [written(tmp_path, f"{n}.json", 0, {**same, **others[n]}) for n in range(2)]
    assert aggregate_telemetry_shards(on_two)["global_summary"]["total_sequences"] == 2000
    later = [first, written(tmp_path, "later.json", 0.25, same)]  # a job may give all of its shards one name
    assert aggregate_telemetry_shards(later)["global_summary"]["total_sequences"] == 2000


def test_equal_files_without_times_may_be_copies(tmp_path):
    paths = [written(tmp_path, name, 0, {"started_at": None}) for name in ("a.json", "b.json")]
    with pytest.warns(UserWarning, match=r"a\.json and b\.json are equal: if one is a copy"):
        assert aggregate_telemetry_shards(paths)["global_summary"]["total_sequences"] == 2000


def test_a_shard_that_ended_early_or_stood_still_is_named(tmp_path, capsys):
    whole = written(tmp_path, "whole.json", 0)
    early = written(tmp_path, "early.json", 1, {"workload": {"num_sequences": 9000, "tokens": 1_800_000}})
    stopped = written(tmp_path, "stopped.json", 2, stopped_seconds=15.0, suspended_seconds=0.0)
    assert main(["report", *map(str, (whole, early, stopped))]) == 0
    report = " ".join(capsys.readouterr().out.split())
    assert "early.json ended early, after 1,000 of 9,000 sequences: the job's projections take" in report
    assert "stopped.json was stopped for 15.0 s: measure again" in report
    assert "whole.json ended" not in report
    assert "slept" not in report


def test_shards_without_a_steady_rate_decide_no_projection(tmp_path, capsys):
    short = [written(tmp_path, f"{n}.json", n, steady_tokens_per_sec=None) for n in range(2)]
    assert main(["report", *map(str, short)]) == 0
    (verdict,) = [line for line in capsys.readouterr().out.splitlines() if "PERF-01" in line]
    assert verdict.endswith("CANNOT TELL")


def test_the_report_of_a_job(tmp_path, capsys):
    paths = [written(tmp_path, "a.json", 0, avg_gpu_util=90.0), written(tmp_path, "b.json", 60)]
    assert main(["report", *map(str, paths)]) == 0
    report = capsys.readouterr().out
    for line in ("File: a.json, b.json", "25.0% of the time", "b.json has no GPU utilization", "12.5", "CANNOT TELL"):
        assert line in report
    for other, reason in ((paths[0], "is given twice"), (tmp_path, "is not a file")):
        assert main(["report", str(paths[0]), str(other)]) == 2
        assert reason in capsys.readouterr().err
