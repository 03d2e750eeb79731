# SPDX-License-Identifier: MIT
"""Measure how fast this process turns a FASTA file into packed batches on its own cores, and print figures as JSON.

benchmarks.host_pipeline runs it in a separate process for each number of cores, because threads and workers keep the
cores that were allowed when they, or the forkserver, started.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Final

import esm
import torch

from virnuc_profiler import SequenceDataset, VarlenCollator, create_async_dataloader

FAIR_ESM: Final = "fair-esm batch converter"
WORKERS: Final = (0, 1, 2)


def main() -> None:
    """Measure both over the same file and print one line."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("fasta", type=Path)
    options.add_argument("fair_esm_sequences", type=int)
    arguments = options.parse_args()
    fasta = arguments.fasta
    figures = {FAIR_ESM: fair_esm_tokens_per_sec(fasta, arguments.fair_esm_sequences)}
    ours_tokens_per_sec(fasta, 1)  # the server that forks the workers starts once per process
    if torch.cuda.is_available():
        torch.empty(1).pin_memory()  # creates the CUDA context, once per process too
    for workers in WORKERS:
        figures[f"ours, {workers} workers"] = ours_tokens_per_sec(fasta, workers)
    print(json.dumps({"pinned": torch.cuda.is_available(), "tokens_per_s": figures}))


def rate(work: Callable[[], int]) -> float:
    """Return the tokens per second of work that returns its number of tokens."""
    start = perf_counter()
    tokens = work()
    return tokens / (perf_counter() - start)


def ours_tokens_per_sec(fasta: Path, workers: int) -> float:
    """Index, read, encode, pack, and gather, into pinned memory if there is CUDA. Includes the start of the workers."""

    def work() -> int:
        loader = create_async_dataloader(SequenceDataset(fasta), VarlenCollator(), num_workers=workers)
        with loader:
            return sum(packed.statistics.tokens for packed in loader)

    return rate(work)


def fair_esm_tokens_per_sec(fasta: Path, num_sequences: int) -> float:
    """Run fair-esm's converter over length-sorted, padded batches of 4,096 tokens. Only its own work is timed."""
    records = [record.split("\n", 1) for record in fasta.read_text().split(">")[1:]]
    pairs = [(name, text.replace("\n", "")) for name, text in records[:num_sequences]]
    pairs.sort(key=lambda pair: len(pair[1]))
    converter = esm.data.Alphabet.from_architecture("ESM-1b").get_batch_converter()

    def work() -> int:
        batch: list[tuple[str, str]] = []
        tokens = 0
        for pair in pairs:
            if batch and (len(batch) + 1) * (len(pair[1]) + 2) > 4096:
                converter(batch)
                batch = []
            batch.append(pair)
            tokens += len(pair[1]) + 2
        converter(batch)
        return tokens

    return rate(work)


if __name__ == "__main__":
    main()
