# SPDX-License-Identifier: MIT
"""How the ranks of a job worked together, on documents made by hand."""

import json
from datetime import datetime, timedelta, timezone

import pytest

from virnuc_profiler import TelemetryLogger, aggregate_telemetry_shards
from virnuc_profiler.analysis.summary.rank_scaling import rank_name, scaling_of_ranks
from virnuc_profiler.cli.main import main

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def document(rank, begin, batch_ends, tokens=1000, start_up=None, elapsed=None, **summary):
    """Return telemetry of a rank that began after `begin` seconds, and whose batches ended after these seconds."""

    def moment(seconds):
        return (START + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")

    batches = [
        {"batch_idx": index, "timestamp": moment(end), "num_sequences": 10, "num_tokens": tokens}
        for index, end in enumerate(batch_ends)
    ]
    return {
        "run_metadata": {"embed": {"rank": rank}, "started_at": moment(begin)},
        "summary": {
            "total_tokens": tokens * len(batches),
            "elapsed_seconds": batch_ends[-1] - begin if elapsed is None else elapsed,
            "start_up_seconds": start_up,
            **summary,
        },
        "per_batch_metrics": batches,
    }


def scaling(*documents, baseline=None):
    return scaling_of_ranks(documents, [each["summary"] for each in documents], baseline)


def test_two_ranks():
    """Each is ready after 2 s and runs 1,000 tokens/s; the second is done 2 s earlier."""
    found = scaling(
        document("0of2", 0, range(2, 11), start_up=2.0, diagnosis="x"), document("1of2", 0, range(2, 9), start_up=2.0)
    )
    assert (found.seconds, found.tokens_per_sec) == (10.0, 1600.0)
    assert [rank.tokens_per_sec for rank in found.ranks] == [1000.0, 1000.0]
    assert [rank.idle_seconds for rank in found.ranks] == [0.0, 2.0]
    assert found.start_up_share == pytest.approx(4 / 20)
    assert found.tail_share == pytest.approx(2 / 20)
    assert found.efficiency_percent is None
    assert [rank.straggler for rank in found.ranks] == [False, False]


def test_efficiency_is_against_the_rate_of_one_rank():
    documents = (document("0of2", 0, [5, 10]), document("1of2", 0, [5, 10]))
    assert scaling(*documents, baseline=200.0).efficiency_percent == pytest.approx(100.0)
    assert scaling(*documents, baseline=250.0).efficiency_percent == pytest.approx(80.0)


def test_a_rank_that_comes_late_costs_time():
    found = scaling(document("0of2", 0, [2, 10], start_up=2.0), document("1of2", 4, [6, 10], start_up=2.0))
    assert [rank.late_seconds for rank in found.ranks] == [0.0, 4.0]
    assert found.start_up_share == pytest.approx((2 + 4 + 2) / 20)


def test_a_straggler_is_named():
    found = scaling(
        document("0of3", 0, range(1, 11)),
        document("1of3", 0, range(1, 11)),
        document("2of3", 0, [2, 4, 6, 8, 10], diagnosis="The GPU throttles."),
    )
    assert [rank.straggler for rank in found.ranks] == [False, False, True]


def test_the_wait_for_other_ranks_is_idle_and_not_slow():
    """The run of a rank goes on while it waits for others."""
    found = scaling(document("0of2", 0, range(1, 11)), document("1of2", 0, range(1, 6), elapsed=10.0))
    assert [rank.tokens_per_sec for rank in found.ranks] == [1000.0, 1000.0]
    assert found.ranks[1].idle_seconds == 5.0


def test_parts_of_one_rank_are_one_rank():
    parts = (document("0of2", 0, [1, 2]), document("0of2", 2, [3, 4]), document("1of2", 0, [1, 2, 3, 4]))
    found = scaling(*parts)
    assert [(rank.rank, rank.tokens) for rank in found.ranks] == [("0of2", 4000), ("1of2", 4000)]
    assert [rank.tokens_per_sec for rank in found.ranks] == [1000.0, 1000.0]


def test_energy_is_that_of_all_devices():
    energy = {"energy_joules": 100.0, "energy_seconds": 4.0}
    found = scaling(document("0of2", 0, [5, 8], **energy), document("1of2", 0, [5, 8], **energy))
    assert found.joules == pytest.approx(2 * 100 * 8 / 4)
    assert scaling(document("0of2", 0, [5, 8], **energy), document("1of2", 0, [5, 8])).joules is None


def test_a_rank_that_found_no_work_is_idle_all_the_time():
    idle = document("1of2", 1, [5.0])
    idle["per_batch_metrics"].clear()
    idle["summary"]["total_tokens"] = None
    found = scaling(document("0of2", 0, range(1, 11), start_up=1.0), idle)
    assert [(rank.tokens, rank.tokens_per_sec) for rank in found.ranks] == [(10_000, 1000.0), (0, None)]
    assert found.ranks[1].idle_seconds == 9.0


def test_documents_that_are_of_no_ranks_have_no_scaling():
    foreign = document("0of2", 0, [5, 8])
    del foreign["run_metadata"]["embed"]
    assert scaling(foreign, document("1of2", 0, [5, 8])) is None


def test_ranks_of_profile_are_named_by_their_parts():
    assert rank_name({"run_metadata": {"workload": {"part": {"index": 1, "count": 4, "whole": 9}}}}) == "1of4"


def write(folder, name, made):
    logger = TelemetryLogger(folder, name)
    logger.set_run_metadata(**made["run_metadata"])
    for record in made["per_batch_metrics"]:
        logger.record_batch(record["batch_idx"], {key: value for key, value in record.items() if key != "batch_idx"})
    return logger.finalize(made["summary"])


def test_the_report_on_a_job_shows_its_ranks(tmp_path, capsys):
    folder = tmp_path / "telemetry"
    write(folder, "embed_rank_0of2", document("0of2", 0, range(2, 11), start_up=2.0))
    write(folder, "embed_rank_1of2", document("1of2", 0, [2, 6, 10], start_up=2.0, diagnosis="Its card is hot."))
    one = write(tmp_path, "one", document("0of1", 0, range(1, 11)))
    assert main(["report", str(tmp_path), "--one-gpu", str(one)]) == 0
    text = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "Rate of all: 1,200 tokens/s over 10.0 s" in lines
    assert "Efficiency (PERF-03): 60.0% of 2 x 1,000 tokens/s, at least 95.0% required: FAIL" in lines
    assert "Rank 0of2: 1,000 tokens/s, start-up 2.00 s, idle at the end 0.0 s" in lines
    assert "rank 1of2 is slower than the others: Its card is hot." in " ".join(lines)


def test_a_baseline_is_refused_where_it_changes_nothing(tmp_path, capsys):
    one = write(tmp_path, "one", document("0of1", 0, [1, 2]))
    assert main(["report", str(one), "--one-gpu", str(one)]) == 2
    assert "--one-gpu is for the files of several ranks" in capsys.readouterr().err


def test_the_aggregate_of_ranks_has_their_scaling(tmp_path):
    paths = [write(tmp_path, f"rank{rank}", document(f"{rank}of2", 0, [1 + rank, 5])) for rank in range(2)]
    result = aggregate_telemetry_shards(paths, baseline_tokens_per_sec=400.0)
    assert result["scaling"]["efficiency_percent"] == pytest.approx(100.0)
    json.dumps(result, allow_nan=False)
