import json
import threading
import time

import numpy as np
import pytest
import torch

from tests.support.embed_job import CONFIGURATION, TellingModel, expected_vectors, job_of, run_job, write_fasta
from virnuc_profiler.embed.embeddings_reader import open_embeddings
from virnuc_profiler.embed.formats.parquet_shards import ParquetShards
from virnuc_profiler.embed.job_folder import unfinished_path
from virnuc_profiler.embed.manifest.manifest_files import read_manifests
from virnuc_profiler.embed.prepared_job import begin_job, prepare_job
from virnuc_profiler.embed.rank_worker import RankListener, run_rank
from virnuc_profiler.embed.shard_queue import LocalQueue
from virnuc_profiler.embed.streaming import run_recorder
from virnuc_profiler.errors import OutputError, UsageError, WorkloadError
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.telemetry.run_result import RunResult


@pytest.fixture
def fasta(tmp_path):
    return write_fasta(tmp_path / "a.fa", 150)


@pytest.mark.parametrize("form", ["parquet", "safetensors"])
@pytest.mark.parametrize("workers", [0, 2])
def test_every_sequence_gets_its_vector(tmp_path, fasta, form, workers):
    configuration = CONFIGURATION.replace(num_workers=workers)
    prepared, outcome = run_job(fasta, tmp_path / "out", format=form, configuration=configuration)
    assert (outcome.shards, outcome.sequences) == (12, 150)
    assert outcome.tokens == sum(shard.tokens for shard in prepared.shards)
    np.testing.assert_array_equal(open_embeddings(tmp_path / "out").to_numpy(), expected_vectors(fasta))


def test_a_batch_never_has_sequences_of_two_shards(tmp_path, fasta):
    """So the vectors of a shard are the same bits whatever ran before it in the same process."""
    batches = []

    class Watching(TellingModel):
        def embed_sequences(self, tokens, cu_seqlens, *more):
            batches.append(len(cu_seqlens) - 1)
            return super().embed_sequences(tokens, cu_seqlens, *more)

    prepared, _ = run_job(fasta, tmp_path / "whole", model=Watching())
    whole = list(batches)
    batches.clear()
    run_job(fasta, tmp_path / "parts", model=Watching())
    (tmp_path / "parts" / "vectors" / "shard_00007.parquet").unlink()
    batches.clear()
    run_job(fasta, tmp_path / "parts", model=Watching())
    ends = np.cumsum(whole).tolist()
    assert {shard.stop for shard in prepared.shards} <= set(ends)
    shard = prepared.shards[7]
    first = 0 if not shard.start else ends.index(shard.start) + 1
    assert batches == whole[first : ends.index(shard.stop) + 1]


def test_the_same_job_again_runs_nothing_and_a_lost_shard_is_run_alone(tmp_path, fasta):
    folder = tmp_path / "out"
    run_job(fasta, folder)
    before = read_manifests(folder)
    _, outcome = run_job(fasta, folder)
    assert outcome.shards == 0
    assert read_manifests(folder) == before
    (folder / "vectors" / "shard_00003.parquet").unlink()
    lost = folder / "vectors" / "shard_00005.parquet"
    lost.write_bytes(lost.read_bytes()[:-1])
    prepared, outcome = run_job(fasta, folder)
    assert [one.why for one in prepared.damaged] == [
        "vectors/shard_00003.parquet is missing",
        f"vectors/shard_00005.parquet has {lost.stat().st_size - 1:,} bytes instead of {lost.stat().st_size:,}",
    ]
    assert outcome.shards == 2
    after = read_manifests(folder)
    assert {number for number in after if after[number] != before[number]} == {3, 5}
    np.testing.assert_array_equal(open_embeddings(folder).to_numpy(), expected_vectors(fasta))


def test_what_a_killed_process_was_writing_is_removed(tmp_path, fasta):
    folder = tmp_path / "out"
    left = unfinished_path(folder / "vectors" / "shard_00001.parquet", "0")
    others = unfinished_path(folder / "vectors" / "shard_00001.parquet", "1")
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    others.write_bytes(b"half")
    run_job(fasta, folder)
    assert not left.exists()
    assert others.exists()


def test_a_shard_that_cannot_be_written_ends_the_job_and_loses_nothing(tmp_path, fasta, monkeypatch):
    folder = tmp_path / "out"
    written = []

    def write(self, table, file, write=ParquetShards.write):
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        written.append(table.start)
        write(self, table, file)

    with monkeypatch.context() as patch:
        patch.setattr(ParquetShards, "write", write)
        with pytest.raises(OutputError, match=r"cannot write .*shard_0000\d.parquet: No space left on device"):
            run_job(fasta, folder)
    assert len(read_manifests(folder)) == 4
    assert not list(folder.rglob(".*unfinished*"))
    _, outcome = run_job(fasta, folder)
    assert outcome.shards == 8
    np.testing.assert_array_equal(open_embeddings(folder).to_numpy(), expected_vectors(fasta))


def test_another_job_in_the_folder_is_refused_before_anything_runs(tmp_path, fasta):
    run_job(fasta, tmp_path / "out")
    with pytest.raises(UsageError, match="the weights was"):
        run_job(fasta, tmp_path / "out", weights="others")
    with fasta.open("a") as file:
        file.write(">more\nACD\n")
    with pytest.raises(UsageError, match="the content of the FASTA file is another one"):
        run_job(fasta, tmp_path / "out", shards=None)


def test_a_file_that_changes_during_the_job_ends_it(tmp_path, fasta):
    class Changing(TellingModel):
        def embed_sequences(self, *arguments):
            if self.batches == 10:
                fasta.write_text(">other\nACD\n")
            return super().embed_sequences(*arguments)

    with pytest.raises(WorkloadError, match="truncated while it was in use"):
        run_job(fasta, tmp_path / "out", model=Changing())


def test_two_processes_of_one_name_do_not_run_at_once(tmp_path, fasta):
    errors = []

    class Second(RankListener):
        def shard_done(self, shard):
            if not errors:
                with pytest.raises(OutputError, match="in use by another embed") as refused:
                    run_job(fasta, folder, shards=4)
                errors.append(refused.value)

    folder = tmp_path / "out"
    folder.mkdir()
    opened = FastaFile.open(fasta)
    prepared = begin_job(prepare_job(folder, job_of(opened), opened, num_shards=4), "as the tests have them")
    run_rank(
        prepared.job, folder, LocalQueue(prepared.left), opened, TellingModel(), torch.device("cpu"),
        configuration=CONFIGURATION, listener=Second(), profile=False,
    )  # fmt: skip
    assert errors


def test_a_long_profile_is_saved_in_parts(tmp_path, fasta, monkeypatch):
    monkeypatch.setattr(run_recorder, "MAX_BATCHES", 6)
    _, outcome = run_job(fasta, tmp_path / "out", profile=True)
    assert len(outcome.telemetry) > 2
    runs = [RunResult.load(path.with_name(path.name.replace("telemetry_", "run_"))) for path in outcome.telemetry]
    assert sum(run.total_sequences for run in runs) == 150
    assert sum(run.total_tokens for run in runs) == outcome.tokens
    assert [number for run in runs for number in run.metadata["embed"]["shards"]] == list(range(12))
    assert all(run.metadata["status"] == "success" for run in runs)
    assert sum(run.metadata["workload"]["num_sequences"] for run in runs) == 150


def test_waiting_for_the_disk_is_told(tmp_path, fasta, monkeypatch):
    def write(self, table, file, write=ParquetShards.write):
        time.sleep(0.05)
        write(self, table, file)

    monkeypatch.setattr(ParquetShards, "write", write)
    _, outcome = run_job(fasta, tmp_path / "out", profile=True)
    assert 0.05 < outcome.waited_s < outcome.elapsed_s
    document = json.loads(outcome.telemetry[0].read_text())
    assert document["run_metadata"]["embed"]["waited_for_writers_seconds"] == outcome.waited_s


def test_a_failure_before_the_first_batch_is_the_error_that_is_raised(tmp_path, fasta):
    class Broken(TellingModel):
        def embed_sequences(self, *arguments):
            raise ArithmeticError("broken")

    with pytest.raises(ArithmeticError, match="broken"):
        run_job(fasta, tmp_path / "out", model=Broken(), profile=True)
    document = json.loads((tmp_path / "out" / "telemetry" / "telemetry_embed_rank_0.json").read_text())
    assert document["run_metadata"]["status"] == "failed"
    assert "broken" in document["run_metadata"]["failure"]["message"]


def test_an_interrupted_run_is_recorded_as_such(tmp_path, fasta):
    class Interrupted(TellingModel):
        def embed_sequences(self, *arguments):
            if self.batches == 20:
                raise KeyboardInterrupt
            return super().embed_sequences(*arguments)

    with pytest.raises(KeyboardInterrupt):
        run_job(fasta, tmp_path / "out", model=Interrupted(), profile=True)
    document = json.loads((tmp_path / "out" / "telemetry" / "telemetry_embed_rank_0.json").read_text())
    assert document["run_metadata"]["status"] == "interrupted"
    assert threading.active_count() < 5
    finished = read_manifests(tmp_path / "out")
    assert 0 < len(finished) < 12
    _, outcome = run_job(fasta, tmp_path / "out")
    assert outcome.shards == 12 - len(finished)


def test_vectors_of_residues(tmp_path, fasta):
    class Tokens(TellingModel):
        """Also returns vectors of tokens: the token itself."""

        def __call__(self, tokens, cu_seqlens, max_seqlen, *more):
            return tokens[:, None].float().repeat(1, self.hidden_size)

    run_job(fasta, tmp_path / "out", model=Tokens(), per_residue=True)
    embeddings = open_embeddings(tmp_path / "out")
    expected = expected_vectors(fasta)
    for position in (0, 77, 149):
        residues = embeddings.residues(position)
        assert len(residues) == expected[position, 1]
        assert residues[-1, 0] == expected[position, 2]
        assert residues.mean() == pytest.approx(expected[position, 0], rel=1e-5)
        assert embeddings[position][0] == pytest.approx(expected[position, 0], rel=1e-5)
