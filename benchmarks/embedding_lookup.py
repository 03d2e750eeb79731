# SPDX-License-Identifier: MIT
"""Measure lookups in the vectors of a job: 1,000 random identifiers of 1,000,000. Needs no GPU.

The claim: less than a second, with the index and the vectors mapped into memory. The product's own writers write the
job, with vectors that no model computed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Final

import numpy as np
import torch

from benchmarks.claim import Claim
from benchmarks.embed_throughput import InstantModel
from benchmarks.report import parser, publish, publish_claims
from benchmarks.throughput_workloads import generate_short_workload
from virnuc_profiler import open_embeddings
from virnuc_profiler.embed.job import EmbedJob
from virnuc_profiler.embed.job_index import build_indexes
from virnuc_profiler.embed.prepared_job import begin_job, prepare_job
from virnuc_profiler.embed.rank_worker import run_rank
from virnuc_profiler.embed.shard_queue import LocalQueue
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.targets.knobs.configuration import Configuration

CLAIMED_S: Final = 1.0
LOOKUPS: Final = 1_000


def main() -> None:
    """Write a job, look up, and print times and the verdict."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--num-sequences", type=int, default=1_000_000)
    options.add_argument("--hidden-size", type=int, default=320)
    options.add_argument("--format", choices=("parquet", "safetensors"), default="parquet")
    options.add_argument("--token-budget", type=int, default=4_096, help="decides how many files there are")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--folder", type=Path, help="where the vectors are written (default: the temporary folder)")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        fasta = FastaFile.open(generate_short_workload(folder, arguments.num_sequences))
        times = {"make the indexes": [write_job(fasta, folder / "job", arguments)]}
        for _ in range(arguments.rounds):
            positions = random.integers(0, len(fasta), LOOKUPS)
            names = list(fasta.sequence_ids(positions))
            start = perf_counter()
            embeddings = open_embeddings(folder / "job")
            opened = perf_counter()
            found = embeddings.by_ids(names)
            looked_up = perf_counter()
            assert found.shape == (LOOKUPS, arguments.hidden_size)
            again = perf_counter()
            embeddings.by_ids(names)
            times.setdefault("open", []).append(opened - start)
            times.setdefault(f"{LOOKUPS:,} identifiers, opening included", []).append(looked_up - start)
            times.setdefault("the same once more", []).append(perf_counter() - again)
    rows = [[what, f"{statistics.median(seconds):.3f}", f"{max(seconds):.3f}"] for what, seconds in times.items()]
    title = f"Lookup in {arguments.num_sequences:,} vectors of {arguments.hidden_size} numbers, {arguments.format}"
    publish(title, ["what", "median s", "longest s"], rows, times, arguments.json)
    longest = max(times[f"{LOOKUPS:,} identifiers, opening included"])
    text = f"{LOOKUPS:,} random identifiers in less than {CLAIMED_S:g} s"
    publish_claims([Claim(text, f"{longest:.3f} s", longest < CLAIMED_S)])


def write_job(fasta: FastaFile, folder: Path, arguments: argparse.Namespace) -> float:
    """Write a job, and return how long its indexes took, in seconds."""
    folder.mkdir()
    hidden_size, token_budget = arguments.hidden_size, arguments.token_budget
    job = EmbedJob(
        fasta=str(fasta.path),
        fingerprint=fasta.fingerprint,
        num_sequences=len(fasta),
        skip_invalid=False,
        max_residues=1022,
        model="instant",
        num_layers=6,
        hidden_size=hidden_size,
        weights="none",
        precision="fp32",
        format=arguments.format,
        dtype="fp32",
        per_residue=False,
        num_shards=0,
        weights_option="none",
        num_workers=0,
        prefetch_factor=4,
        token_budget=token_budget,
        buffer_size=2_000,
    )
    prepared = begin_job(prepare_job(folder, job, fasta), "none")
    run_rank(
        prepared.job, folder, LocalQueue(prepared.left), fasta, InstantModel(hidden_size), torch.device("cpu"),
        configuration=Configuration(num_workers=0, token_budget=token_budget), profile=False,
    )  # fmt: skip
    start = perf_counter()
    build_indexes(folder, prepared.job)
    return perf_counter() - start


if __name__ == "__main__":
    main()
