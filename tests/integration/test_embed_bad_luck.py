# SPDX-License-Identifier: MIT
"""An embed job on a full disk, in a read-only place, and stopped by signals: one sentence, and nothing is lost."""

import os
import re
import signal

import numpy as np
import pytest

from tests.support.command import Command, run, wait_until
from tests.support.embed_job import TellingModel, expected_vectors, run_job, write_fasta
from tests.support.small_disk import fill
from virnuc_profiler import open_embeddings
from virnuc_profiler.embed.manifest.manifest_files import read_manifests
from virnuc_profiler.embed.verify import verify_job
from virnuc_profiler.errors import OutputError

pytestmark = pytest.mark.slow  # starts whole programs, and mounts a file system


def test_a_disk_that_fills_up_ends_the_job_and_nothing_is_lost(tmp_path, small_disk):
    fasta, folder = write_fasta(tmp_path / "a.fa", 600), small_disk / "out"
    filler = small_disk / "filler"

    class Filling(TellingModel):
        """Fills the disk in the middle of the job, as another program would."""

        def embed_sequences(self, *arguments):
            if self.batches == 40:
                fill(filler)
            return super().embed_sequences(*arguments)

    options = {"shards": 30, "hidden_size": 160}
    with pytest.raises(OutputError, match=r"cannot write .*: No space left on device"):
        run_job(fasta, folder, model=Filling(hidden_size=160), profile=True, **options)
    finished = read_manifests(folder)
    assert 0 < len(finished) < 30
    assert not list(folder.rglob(".*unfinished*"))
    filler.unlink()
    prepared, outcome = run_job(fasta, folder, model=TellingModel(hidden_size=160), **options)
    assert outcome.shards == 30 - len(finished)
    assert {number: read_manifests(folder)[number] for number in finished} == finished
    assert verify_job(folder, prepared.job).complete
    np.testing.assert_array_equal(open_embeddings(folder).to_numpy()[:, :4], expected_vectors(fasta))


TINY = ("--model", "8M", "--weights", "random", "--device", "cpu", "--num-workers", "1", "--token-budget", "128")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    fasta, place = write_fasta(tmp_path / "a.fa", 5), tmp_path / "place"
    place.write_text("a file")
    finished = run("embed", "--fasta", fasta, "--output-dir", place, *TINY)
    assert finished.code == 1
    assert re.search(r"cannot write into .*place: it is a file; choose another --output-dir", finished.error)
    finished = run("embed", "--fasta", fasta, "--output-dir", "/proc/1/vectors", *TINY)
    assert finished.code == 1
    assert "cannot write into /proc/1/vectors" in finished.error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_same_command_continues_after_a_signal(tmp_path, number):
    fasta, folder = write_fasta(tmp_path / "a.fa", 160, longest=40), tmp_path / "out"
    arguments = ("embed", "--fasta", fasta, "--output-dir", folder, *TINY, "--shards", "20")
    command = Command(*arguments)
    wait_until(lambda: len(list((folder / "vectors").glob("shard_*"))) >= 2)
    os.killpg(command.process.pid, number) if number == signal.SIGINT else command.process.send_signal(number)
    finished = command.finish()
    assert finished.code != 0
    assert command.left_behind() == []
    if number != signal.SIGKILL:
        assert f"embed --resume {folder} continues the job" in finished.error
        assert not list(folder.rglob(".*unfinished*"))
    before = read_manifests(folder)
    again = run(*arguments)
    assert again.code == 0, again.err
    assert "Checked: every sequence once: 160 counted in 20 files" in again.out
    after = read_manifests(folder)
    assert {shard: after[shard] for shard in before} == before
    assert open_embeddings(folder).complete
