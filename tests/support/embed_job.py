# SPDX-License-Identifier: MIT
"""Small embed jobs with a model whose vectors can be told from the sequences, so that every mistake is seen."""

import random
import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from virnuc_profiler.embed.job import EmbedJob
from virnuc_profiler.embed.prepared_job import begin_job, prepare_job
from virnuc_profiler.embed.rank_worker import run_rank
from virnuc_profiler.embed.shard_queue import LocalQueue
from virnuc_profiler.inference.sequences.alphabet import residue_alphabet
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.targets.knobs.configuration import Configuration

HIDDEN_SIZE = 4
WEIGHTS = "as the tests have them"
CONFIGURATION = Configuration(num_workers=0, token_budget=256, buffer_size=40)


@dataclass(frozen=True)
class TellingInfo:
    weights: str
    model_name: str = "telling"
    weights_source: str = "file"
    precision: str = "fp32"
    attention_backend: str = "none"


class TellingModel:
    """Returns for each sequence the mean of its tokens, their number, their last one, and 1, as often as they fit."""

    num_layers = 1

    def __init__(self, seconds_per_batch=0.0, hidden_size=HIDDEN_SIZE, weights=WEIGHTS):
        self.seconds_per_batch = seconds_per_batch
        self.hidden_size = hidden_size
        self.info = TellingInfo(weights)
        self.batches = 0

    def embed_sequences(self, tokens, cu_seqlens, max_seqlen, host_cu_seqlens=None, marks=None):
        self.batches += 1
        time.sleep(self.seconds_per_batch)
        if marks is not None:
            marks.begin_forward()
            marks.begin_pooling()
        vectors = vectors_of(tokens.numpy(), cu_seqlens.numpy())
        return torch.from_numpy(np.tile(vectors, self.hidden_size // HIDDEN_SIZE))


def vectors_of(tokens, ends):
    """Return the vectors of packed sequences."""
    parts = [tokens[start + 1 : end - 1] for start, end in pairwise(ends)]
    return np.array([(part.mean(), len(part), part[-1], 1.0) for part in parts], dtype=np.float32)


def write_fasta(path, count, seed=0, longest=60, duplicates=0):
    """Write random proteins ``s0``, ``s1``, ...; the last ones have the identifiers of the first ones again."""
    chosen = random.Random(seed)
    with path.open("w") as file:
        for number in range(count):
            name = number if number < count - duplicates else number - (count - duplicates)
            residues = "".join(chosen.choices("ACDEFGHIKLMNPQRSTVWY", k=chosen.randint(1, longest)))
            file.write(f">s{name} of the tests\n{residues}\n")
    return path


def job_of(fasta, **changes):
    """Return the job of a file, not divided into shards yet."""
    values = {
        "fasta": str(fasta.path),
        "fingerprint": fasta.fingerprint,
        "num_sequences": len(fasta),
        "skip_invalid": False,
        "max_residues": 1022,
        "model": "telling",
        "num_layers": 1,
        "hidden_size": HIDDEN_SIZE,
        "weights": WEIGHTS,
        "precision": "fp32",
        "format": "parquet",
        "dtype": "fp32",
        "per_residue": False,
        "num_shards": 0,
        "weights_option": "auto",
        "num_workers": 0,
        "prefetch_factor": 4,
        "token_budget": CONFIGURATION.token_budget,
        "buffer_size": CONFIGURATION.buffer_size,
    }
    return EmbedJob(**{**values, **changes})


def run_job(
    path, folder, *, shards=12, model=None, configuration=CONFIGURATION, profile=False, checksums=True, **changes
):
    """Run a job in this process to its end, and return what it was, and what was done."""
    folder.mkdir(exist_ok=True)
    fasta = FastaFile.open(path)
    job = job_of(fasta, **changes)
    prepared = begin_job(prepare_job(folder, job, fasta, num_shards=shards, checksums=checksums), job.weights)
    outcome = run_rank(
        prepared.job, folder, LocalQueue(prepared.left), fasta, model or TellingModel(), torch.device("cpu"),
        configuration=configuration, profile=profile,
    )  # fmt: skip
    return prepared, outcome


def expected_vectors(path, max_residues=1022):
    """Return the vectors of a file, computed one sequence after the other, without any part of the job."""
    table = residue_alphabet(None).table
    lines = path.read_text().splitlines()
    rows = []
    for residues in lines[1::2]:
        tokens = table[np.frombuffer(residues[:max_residues].encode(), dtype=np.uint8)]
        rows.append((tokens.mean(), len(tokens), tokens[-1], 1.0))
    return np.array(rows, dtype=np.float32)
