# SPDX-License-Identifier: MIT
"""A job that is killed again and again: nothing that was finished is done again, and nothing is lost or doubled."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.embed_job import expected_vectors, write_fasta
from virnuc_profiler import open_embeddings
from virnuc_profiler.embed.manifest.manifest_files import read_manifests
from virnuc_profiler.embed.verify import verify_job

KILLS = 50
SHARDS = 12


class KilledJob:
    def __init__(self, path, folder, seconds_per_batch):
        script = [sys.executable, "-m", "tests.support.embed_kills", path, folder, seconds_per_batch]
        self.process = subprocess.Popen(
            [str(part) for part in script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip

    def run(self, what):
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


@pytest.mark.slow
def test_fifty_kills_at_random_moments(tmp_path):
    path, folder = write_fasta(tmp_path / "a.fa", 400, duplicates=30), tmp_path / "out"
    job = KilledJob(path, folder, seconds_per_batch=0.004)
    moments = random.Random(7)
    kills, seen, rounds = 0, {}, 0
    try:
        while kills < KILLS:
            outcome = job.run(moments.uniform(0.02, 0.35))
            now = read_manifests(folder) if folder.is_dir() else {}
            # What was finished before a run keeps its line, so it was not done again.
            assert {number: now[number] for number in seen} == seen
            seen = now
            kills += outcome == "killed"
            if outcome == "0" or len(seen) == SHARDS:
                assert outcome in ("0", "killed")
                rounds += 1
                check(path, folder)
                folder, seen = folder.with_name(f"out_{rounds}"), {}
                job.close()
                job = KilledJob(path, folder, seconds_per_batch=0.004)
        assert job.run("end") == "0"
    finally:
        job.close()
    check(path, folder)


def check(path, folder):
    embeddings = open_embeddings(folder)
    assert embeddings.complete
    np.testing.assert_array_equal(embeddings.to_numpy(), expected_vectors(path))
    found = verify_job(folder, embeddings.job)
    assert found.complete, found.sentence()
    assert (found.once, found.files) == (400, SHARDS)
