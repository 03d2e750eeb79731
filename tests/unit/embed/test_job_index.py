import numpy as np

from tests.support.embed_job import expected_vectors, run_job, write_fasta
from virnuc_profiler.embed import embeddings_reader
from virnuc_profiler.embed.embeddings_reader import open_embeddings
from virnuc_profiler.embed.job_index import build_indexes
from virnuc_profiler.embed.manifest.manifest_files import read_manifests
from virnuc_profiler.embed.vector_index import VectorIndex


def test_with_indexes_no_shard_is_opened_for_a_lookup(tmp_path, monkeypatch):
    fasta = write_fasta(tmp_path / "a.fa", 100)
    for form in ("parquet", "safetensors"):
        folder = tmp_path / form
        prepared, _ = run_job(fasta, folder, format=form)
        build_indexes(folder, prepared.job)
        embeddings = open_embeddings(folder)
        monkeypatch.setattr(embeddings_reader.Embeddings, "_view", None)
        np.testing.assert_array_equal(embeddings.by_ids(["s99", "s0", "s50"]), expected_vectors(fasta)[[99, 0, 50]])
        np.testing.assert_array_equal(embeddings.to_numpy(), expected_vectors(fasta))
        monkeypatch.undo()


def test_an_index_of_other_files_is_not_used_and_made_again(tmp_path):
    fasta, folder = write_fasta(tmp_path / "a.fa", 100), tmp_path / "out"
    prepared, _ = run_job(fasta, folder, format="safetensors")
    build_indexes(folder, prepared.job)
    path = folder / "index" / "vector_pages.npy"
    rows = np.load(path)
    rows[:, 1] += 1
    rows[:, 3] += 4
    np.save(path, rows)
    np.testing.assert_array_equal(open_embeddings(folder).to_numpy(), expected_vectors(fasta))
    build_indexes(folder, prepared.job)
    records = sorted(read_manifests(folder).values(), key=lambda record: record.start)
    index = VectorIndex.load(folder / "index")
    assert all(index.places(number, record) for number, record in enumerate(records))
    before = path.stat().st_ino
    build_indexes(folder, prepared.job)
    assert path.stat().st_ino == before
    assert index.places(len(records), records[0]) is None
    assert [one.name for one in folder.glob(".*index*")] == []
