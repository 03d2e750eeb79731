import numpy as np
import pytest

from tests.support.embed_job import TellingModel, expected_vectors, run_job, write_fasta
from virnuc_profiler import open_embeddings
from virnuc_profiler.embed.job_index import build_indexes
from virnuc_profiler.embed.manifest.manifest_files import MANIFEST_FOLDER
from virnuc_profiler.errors import OutputError, TelemetryFormatError

COUNT, DUPLICATES = 150, 20


@pytest.fixture(scope="module", params=["parquet", "safetensors"])
def job(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    fasta = write_fasta(folder / "a.fa", COUNT, duplicates=DUPLICATES)
    prepared, _ = run_job(fasta, folder / "out", format=request.param)
    return prepared, expected_vectors(fasta)


@pytest.fixture
def unfinished(job):
    """The job without the records of its last four shards."""
    prepared, expected = job
    manifest = prepared.folder / MANIFEST_FOLDER / "rank_0.jsonl"
    whole = manifest.read_bytes()
    by_start = sorted(whole.splitlines(keepends=True), key=lambda line: int(line.split(b'"start":')[1].split(b",")[0]))
    manifest.write_bytes(b"".join(by_start[:8]))
    yield prepared, expected
    manifest.write_bytes(whole)


def test_by_position(job):
    prepared, expected = job
    embeddings = open_embeddings(str(prepared.folder))
    assert len(embeddings) == COUNT
    assert embeddings.shape == expected.shape
    assert embeddings.complete
    assert embeddings.missing() == ""
    np.testing.assert_array_equal(embeddings.to_numpy(), expected)
    np.testing.assert_array_equal(embeddings[7], expected[7])
    np.testing.assert_array_equal(embeddings[-1], expected[-1])
    for part in (slice(5, 90), slice(None), slice(100, 20, -3), slice(50, 10), slice(-5, None)):
        np.testing.assert_array_equal(embeddings[part], expected[part])
    chosen = [149, 3, 3, 70, 0]
    np.testing.assert_array_equal(embeddings[chosen], expected[chosen])
    assert embeddings[[]].shape == (0, 4)
    for mask in (np.zeros(COUNT, dtype=bool), [1.5]):
        with pytest.raises(TypeError, match="must be integers"):
            embeddings[mask]
    for position in (COUNT, -COUNT - 1):
        with pytest.raises(IndexError, match="not from 0 to 149"):
            embeddings[position]


@pytest.mark.parametrize("indexed", [False, True])
def test_by_identifier(job, indexed):
    prepared, expected = job
    if indexed:
        build_indexes(prepared.folder, prepared.job)
    embeddings = open_embeddings(prepared.folder)
    assert embeddings.positions_of("s3").tolist() == [3, COUNT - DUPLICATES + 3]
    np.testing.assert_array_equal(embeddings.by_id("s3"), expected[[3, COUNT - DUPLICATES + 3]])
    np.testing.assert_array_equal(embeddings.by_ids(["s100", "s0"]), expected[[100, 0]])
    assert embeddings.id_of(COUNT - 1) == f"s{DUPLICATES - 1}"
    with pytest.raises(KeyError, match="no sequence has the id 'nobody'"):
        embeddings.by_id("nobody")


def test_shard_by_shard_and_as_a_data_frame(job):
    prepared, expected = job
    embeddings = open_embeddings(prepared.folder)
    shards = list(embeddings.shards())
    assert [shard.number for shard in shards] == list(range(12))
    np.testing.assert_array_equal(np.concatenate([shard.vectors for shard in shards]), expected)
    frame = embeddings.to_pandas()
    assert frame.index.tolist() == list(range(COUNT))
    assert frame["id"][COUNT - DUPLICATES] == "s0"
    assert frame["length"].tolist() == expected[:, 1].tolist()
    assert not frame["truncated"].any()
    np.testing.assert_array_equal(np.stack(frame["vector"]), expected)


def test_an_unfinished_job_says_what_is_missing(unfinished):
    prepared, expected = unfinished
    embeddings = open_embeddings(prepared.folder)
    there = prepared.shards[8].start
    assert len(embeddings) == there
    assert not embeddings.complete
    np.testing.assert_array_equal(embeddings[:there], expected[:there])
    assert embeddings.by_id("s5").shape == (1, 4)
    sentence = f"{COUNT - there} of {COUNT} sequences, in 4 of 12 shards, have no vector yet"
    for ask in (lambda: embeddings[there], lambda: embeddings[there - 1 :], embeddings.to_numpy):
        with pytest.raises(LookupError, match=sentence):
            ask()
    with pytest.raises(KeyError, match=r"so far: .*embed --resume"):
        embeddings.by_id("s129")
    filled = embeddings.to_numpy(missing="nan")
    np.testing.assert_array_equal(filled[:there], expected[:there])
    assert np.isnan(filled[there:]).all()
    assert len(embeddings.to_pandas()) == there
    assert "unfinished" in repr(embeddings)


def test_a_file_that_is_missing_or_truncated_is_named(job):
    prepared, expected = job
    path = prepared.folder / "vectors" / f"shard_00002.{prepared.job.format}"
    content = path.read_bytes()
    first, other = prepared.shards[2].start, prepared.shards[5].start
    try:
        for damage in (path.unlink, lambda: path.write_bytes(content[:100])):
            damage()
            embeddings = open_embeddings(prepared.folder)
            np.testing.assert_array_equal(embeddings[other], expected[other])
            with pytest.raises(TelemetryFormatError, match=r"shard_00002.* cannot be read .*writes it again"):
                embeddings[first]
    finally:
        path.write_bytes(content)


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(TelemetryFormatError, match="holds no embed job"):
        open_embeddings(tmp_path)


def test_a_job_that_failed_can_be_read(tmp_path):
    class Failing(TellingModel):
        def embed_sequences(self, *arguments):
            if self.batches == 15:
                raise OutputError("enough")
            return super().embed_sequences(*arguments)

    fasta = write_fasta(tmp_path / "a.fa", COUNT)
    with pytest.raises(OutputError, match="enough"):
        run_job(fasta, tmp_path / "out", model=Failing())
    embeddings = open_embeddings(tmp_path / "out")
    assert 0 < len(embeddings) < COUNT
    np.testing.assert_array_equal(embeddings[embeddings.positions], expected_vectors(fasta)[embeddings.positions])


def test_residues_of_a_job_without_them_are_refused(job):
    with pytest.raises(ValueError, match="without --per-residue"):
        open_embeddings(job[0].folder).residues(0)
