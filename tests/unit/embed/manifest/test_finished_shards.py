# SPDX-License-Identifier: MIT
"""Which shards are finished, while several ranks add lines to their manifests."""

import pytest

from virnuc_profiler.embed.manifest.finished_shards import FinishedShards
from virnuc_profiler.telemetry.checked_lines import encode_line


@pytest.fixture
def manifest(tmp_path):
    (tmp_path / "manifest").mkdir()

    def add(rank, *entries, torn=b""):
        with (tmp_path / "manifest" / f"rank_{rank}.jsonl").open("ab") as file:
            file.write(b"".join(map(encode_line, entries)) + torn)

    return add


def record(shard, rank="0", at="1"):
    return {"shard": shard, "rank": rank, "finished_at": at}


def numbers(finished):
    finished.refresh()
    return [number for number in range(10) if number in finished]


def test_lines_of_all_ranks_are_followed(manifest, tmp_path):
    finished = FinishedShards(tmp_path)
    assert numbers(finished) == []
    manifest("0", record(1))
    manifest("1", record(4, "1"))
    assert numbers(finished) == [1, 4]
    manifest("1", record(5, "1"), record(6, "1"))
    assert numbers(finished) == [1, 4, 5, 6]


def test_a_line_counts_once_it_is_whole(manifest, tmp_path):
    finished = FinishedShards(tmp_path)
    line = encode_line(record(2))
    manifest("0", record(1), torn=line[:20])
    assert numbers(finished) == [1]
    manifest("0", torn=line[20:])
    assert numbers(finished) == [1, 2]


def test_a_retracted_record_does_not_count_and_a_later_one_does(manifest, tmp_path):
    finished = FinishedShards(tmp_path)
    manifest("0", record(1), record(2))
    assert numbers(finished) == [1, 2]
    manifest("1", {"retracted": record(1), "why": "its file is missing"})
    assert numbers(finished) == [2]
    manifest("1", record(1, "1", "2"))
    assert numbers(finished) == [1, 2]


def test_a_damaged_line_does_not_count(manifest, tmp_path):
    manifest("0", record(1), torn=b'{"crc32":"00000000","entry":{"shard":2}}\n')
    assert numbers(FinishedShards(tmp_path)) == [1]


def test_a_job_without_manifests_has_nothing_finished(tmp_path):
    assert len(FinishedShards(tmp_path)) == 0
    assert numbers(FinishedShards(tmp_path)) == []
