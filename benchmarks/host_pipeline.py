# SPDX-License-Identifier: MIT
"""How fast the host turns a FASTA file into packed batches, against fair-esm's batch converter. Needs no GPU."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import esm

from benchmarks.report import parser, publish
from virnuc_profiler import SequenceDataset, VarlenCollator, create_async_dataloader, generate_tuning_workload
from virnuc_profiler.inference.fasta import FastaFile

FAIR_ESM_SEQUENCES = 2_000


def main() -> None:
    """Measures both over the same file and prints tokens/s."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--num-sequences", type=int, default=100_000)
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fasta = generate_tuning_workload(folder, num_sequences=arguments.num_sequences)
        figures = {"fair-esm batch converter": fair_esm_tokens_per_sec(fasta)}
        ours_tokens_per_sec(fasta, 1)  # the server that forks the workers starts once per process
        for workers in (0, 1, 2):
            figures[f"ours, {workers} workers"] = ours_tokens_per_sec(fasta, workers)
    base = figures["fair-esm batch converter"]
    rows = [[name, f"{rate:,.0f}", f"{rate / base:,.0f}"] for name, rate in figures.items()]
    publish("FASTA to packed batches", ["pipeline", "tokens/s", "x fair-esm"], rows, figures, arguments.json)


def rate(work: Callable[[], int]) -> float:
    """Tokens per second of work that returns its tokens."""
    start = perf_counter()
    tokens = work()
    return tokens / (perf_counter() - start)


def ours_tokens_per_sec(fasta: Path, workers: int) -> float:
    """Index, read, encode, pack and gather; the start of the workers is included."""

    def work() -> int:
        loader = create_async_dataloader(SequenceDataset(fasta), VarlenCollator(), num_workers=workers)
        with loader:
            return sum(packed.statistics.tokens for packed in loader)

    return rate(work)


def fair_esm_tokens_per_sec(fasta: Path) -> float:
    """fair-esm's converter over length-sorted, padded batches of 4,096 tokens; only its own work is timed."""
    index = FastaFile.open(fasta)
    records = [record.split("\n", 1) for record in fasta.read_text().split(">")[1:]]
    pairs = [(name, text.replace("\n", "")) for name, text in records[: min(FAIR_ESM_SEQUENCES, len(index))]]
    pairs.sort(key=lambda pair: len(pair[1]))
    converter = esm.data.Alphabet.from_architecture("ESM-1b").get_batch_converter()

    def work() -> int:
        batch, tokens = [], 0
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
