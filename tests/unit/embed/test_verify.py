import shutil

from tests.support.embed_job import run_job, write_fasta
from virnuc_profiler.embed.verify import verify_job


def test_every_sequence_is_counted_in_the_files(tmp_path):
    folder = tmp_path / "out"
    prepared, _ = run_job(write_fasta(tmp_path / "a.fa", 100), folder, shards=5)
    found = verify_job(folder, prepared.job)
    assert found.complete
    assert found.sentence() == "every sequence once: 100 counted in 5 files"
    shards = prepared.shards
    vectors = folder / "vectors"
    shutil.copy(vectors / "shard_00001.parquet", vectors / "shard_00002.parquet")
    (vectors / "shard_00004.parquet").write_bytes(b"PAR1")
    found = verify_job(folder, prepared.job)
    assert not found.complete
    assert found.missing.tolist() == [
        *range(shards[2].start, shards[2].stop),
        *range(shards[4].start, shards[4].stop),
    ]
    assert found.repeated.tolist() == list(range(shards[1].start, shards[1].stop))
    assert f"{len(found.missing)} sequences are missing (the first at position {shards[2].start})" in found.sentence()
    assert "1 file cannot be read (the first: shard_00004.parquet" in found.sentence()
