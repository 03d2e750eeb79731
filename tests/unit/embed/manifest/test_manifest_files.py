import dataclasses

import pytest

from virnuc_profiler.embed.manifest.manifest_files import Manifest, read_manifests
from virnuc_profiler.embed.manifest.shard_record import Retraction, ShardFile, ShardRecord
from virnuc_profiler.errors import OutputError

RECORD = ShardRecord(
    shard=3, start=10, stop=20, tokens=400, files=(ShardFile("vectors/shard_00003.parquet", 99, "0badcafe"),),
    non_finite=0, rank="0", finished_at="2026-01-01T00:00:00.000+00:00",
)  # fmt: skip


def test_lines_are_read_as_they_were_written(tmp_path):
    other = dataclasses.replace(RECORD, shard=4, rank="1")
    with Manifest(tmp_path, "0") as first, Manifest(tmp_path, "1") as second:
        first.add(RECORD)
        second.add(other)
    assert read_manifests(tmp_path) == {3: RECORD, 4: other}
    assert read_manifests(tmp_path / "nothing") == {}


def test_a_torn_line_is_dropped_and_cut_off(tmp_path):
    with Manifest(tmp_path, "0") as manifest:
        manifest.add(RECORD)
    whole = manifest.path.read_bytes()
    manifest.path.write_bytes(whole + whole[:-7])
    assert read_manifests(tmp_path) == {3: RECORD}
    with Manifest(tmp_path, "0"):
        pass
    assert manifest.path.read_bytes() == whole


def test_a_damaged_line_is_not_used_and_said(tmp_path, caplog):
    with Manifest(tmp_path, "0") as manifest:
        manifest.add(RECORD)
        manifest.add(dataclasses.replace(RECORD, shard=4))
    manifest.path.write_bytes(manifest.path.read_bytes().replace(b'"shard":3', b'"shard":5'))
    assert read_manifests(tmp_path).keys() == {4}
    assert "done again: 1" in caplog.text


def test_the_later_of_two_records_counts(tmp_path):
    later = dataclasses.replace(RECORD, rank="0", finished_at="2026-01-02T00:00:00.000+00:00")
    with Manifest(tmp_path, "0") as first, Manifest(tmp_path, "1") as second:
        second.add(dataclasses.replace(RECORD, rank="1"))
        first.add(later)
    assert read_manifests(tmp_path) == {3: later}


def test_a_retraction_takes_back_that_record_and_no_other(tmp_path):
    again = dataclasses.replace(RECORD, rank="1", finished_at="2026-01-02T00:00:00.000+00:00")
    with Manifest(tmp_path, "0") as first, Manifest(tmp_path, "1") as second:
        first.add(RECORD)
        second.add(Retraction(RECORD.key, "its file is missing"))
        assert read_manifests(tmp_path) == {}
        second.add(again)
    assert read_manifests(tmp_path) == {3: again}


def test_a_manifest_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "manifest").write_text("a file")
    with pytest.raises(OutputError, match=r"cannot write .*rank_0\.jsonl"):
        Manifest(tmp_path, "0")
