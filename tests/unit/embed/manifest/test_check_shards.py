import zlib

import pytest

from virnuc_profiler.embed.manifest.check_shards import damaged_shards
from virnuc_profiler.embed.manifest.shard_record import ShardFile, ShardRecord
from virnuc_profiler.embed.shard_plan import Shard

SHARD = Shard(0, 0, 10, 100, 1)


def record(content=b"vectors", **changes):
    file = ShardFile("shard_00000", len(content), f"{zlib.crc32(content):08x}")
    values = {"shard": 0, "start": 0, "stop": 10, "tokens": 100, "files": (file,), "non_finite": 0, "rank": "0"}
    return ShardRecord(**{**values, "finished_at": "now", **changes})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"vectors", None),
        (None, "shard_00000 is missing"),
        (b"vec", "shard_00000 has 3 bytes instead of 7"),
        (b"vectorz", "shard_00000 has the checksum"),
    ],
)
def test_a_file_that_is_not_as_it_was_is_named(tmp_path, content, problem):
    if content is not None:
        (tmp_path / "shard_00000").write_bytes(content)
    found = damaged_shards(tmp_path, [SHARD], {0: record()})
    assert found.keys() == (set() if problem is None else {0})
    assert problem is None or found[0].startswith(problem)


def test_sizes_alone_are_compared_if_that_is_asked_for(tmp_path):
    (tmp_path / "shard_00000").write_bytes(b"vectorz")
    assert damaged_shards(tmp_path, [SHARD], {0: record()}, checksums=False) == {}


def test_a_record_of_another_range_is_not_used(tmp_path):
    (tmp_path / "shard_00000").write_bytes(b"vectors")
    found = damaged_shards(tmp_path, [SHARD], {0: record(stop=9)})
    assert found[0] == "its line is about the sequences 0 to 9"
