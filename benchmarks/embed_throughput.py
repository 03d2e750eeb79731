# SPDX-License-Identifier: MIT
"""Compare `embed`, which writes every vector to disk, with the same runner that drops them, in the same process.

The claims: the whole run of `embed`, from the start of its workers to the last line of its manifest, reaches 0.97 of
the steady rate of the runner (for models that keep a GPU busy, on long runs), or 0.85 of the runner's rate from end to
end (for the smallest model on short sequences). The model `instant` computes nothing, so that what is left is the work
of the host: reading, packing, gathering and writing. Its CPU time holds on a busy machine too.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from benchmarks.claim import Claim, at_least
from benchmarks.report import parser, publish, publish_claims
from benchmarks.throughput_workloads import GENERATORS
from virnuc_profiler.analysis.summary.run_summary import run_summary
from virnuc_profiler.capture.profiler import BatchProfiler
from virnuc_profiler.embed.job import EmbedJob
from virnuc_profiler.embed.prepared_job import begin_job, prepare_job
from virnuc_profiler.embed.rank_worker import run_rank
from virnuc_profiler.embed.shard_queue import LocalQueue
from virnuc_profiler.inference.esm2.config import ARCHITECTURES, resolve_model_name
from virnuc_profiler.inference.esm2.load import load_esm2_model
from virnuc_profiler.inference.loading.loader import create_async_dataloader
from virnuc_profiler.inference.packing.collator import VarlenCollator
from virnuc_profiler.inference.placement import resolve_device
from virnuc_profiler.inference.runner import AsyncInferenceRunner
from virnuc_profiler.inference.sequences.dataset import SequenceDataset
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.targets.knobs.configuration import Configuration

INSTANT: Final = "instant"
WARM_UP: Final = 2000
"""Most sequences of the pass that is not counted."""
STEADY_SHARE: Final = 0.97
END_TO_END_SHARE: Final = 0.85


@dataclass(frozen=True, slots=True)
class Rates:
    """Tokens/s of one pass over the file.

    Attributes:
        whole: Tokens over the time from the start of the workers to the last result, or to the last manifest line.
        steady: Steady rate after start-up; None if the run is too short.
        sequences: Sequences/s over the same time as `whole`.
        main_thread_s: CPU seconds of the thread that runs the batches.
        process_s: CPU seconds of all threads of this process, without the workers that read.
    """

    whole: float
    steady: float | None
    sequences: float
    main_thread_s: float
    process_s: float


class InstantModel:
    """Returns vectors without computing them, on the CPU."""

    num_layers = 6

    def __init__(self, hidden_size: int) -> None:
        self.hidden_size = hidden_size
        self._vectors = torch.rand(1 << 14, hidden_size)

    def embed_sequences(
        self, tokens: Tensor, cu_seqlens: Tensor, max_seqlen: int, host_cu_seqlens: Tensor | None, marks: Any
    ) -> Tensor:
        """Return as many of the same vectors as there are sequences."""
        del tokens, max_seqlen, host_cu_seqlens
        marks.begin_forward()
        marks.begin_pooling()
        return self._vectors[: len(cu_seqlens) - 1]


class CpuClock:
    """Measures the CPU time of this thread and of this process, which other load on the machine does not lengthen."""

    def __init__(self) -> None:
        self._began = time.thread_time(), time.process_time()

    def seconds(self) -> tuple[float, float]:
        """Return CPU seconds of this thread and of all threads of the process."""
        return time.thread_time() - self._began[0], time.process_time() - self._began[1]


def main() -> None:
    """Measure both in turns, and print rates, ratios and verdicts."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--model", default=INSTANT, help=f"{INSTANT}, or a model with random weights")
    options.add_argument("--hidden-size", type=int, default=320, help=f"length of the vectors of {INSTANT}")
    options.add_argument("--device", default="auto")
    options.add_argument("--precision")
    options.add_argument("--workload", choices=GENERATORS, default="short")
    options.add_argument("--num-sequences", type=int, default=200_000)
    options.add_argument("--num-workers", type=int, default=2)
    options.add_argument("--token-budget", type=int, default=16_384)
    options.add_argument("--buffer-size", type=int, default=2_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--format", choices=("parquet", "safetensors"), default="parquet")
    options.add_argument("--dtype", choices=("fp32", "fp16"), default="fp32")
    options.add_argument("--folder", type=Path, help="where the vectors are written (default: the temporary folder)")
    arguments = options.parse_args()
    device = torch.device("cpu") if arguments.model == INSTANT else resolve_device(arguments.device)
    if arguments.model == INSTANT:
        torch.set_num_threads(1)  # its few sums would spend their time waiting for each other
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        fasta = FastaFile.open(GENERATORS[arguments.workload](folder, arguments.num_sequences))
        model = load_model(arguments, device)
        found: dict[str, list[Rates]] = {"runner": [], "embed": []}
        warm = folder / "warm_up"
        warm.mkdir()
        few = FastaFile.open(GENERATORS[arguments.workload](warm, min(WARM_UP, arguments.num_sequences)))
        without_writing(arguments, few, model, device)  # kernels are compiled and the forkserver starts once
        for _ in range(arguments.rounds):
            found["runner"].append(without_writing(arguments, fasta, model, device))
            found["embed"].append(with_writing(arguments, fasta, model, device, folder / "job"))
    rows = [row_of(name, rates, len(fasta)) for name, passes in found.items() for rates in passes]
    header = ["pass", "sequences/s", "tokens/s, whole run", "tokens/s, steady", "CPU us/sequence: thread", "process"]
    told = {name: [asdict(rates) for rates in passes] for name, passes in found.items()}
    title = f"embed against the runner without writing, {arguments.model}, {arguments.num_sequences:,} sequences"
    publish(title, header, rows, told, arguments.json)
    if arguments.model != INSTANT:
        publish_claims(claims(found["runner"], found["embed"]))


def row_of(name: str, rates: Rates, sequences: int) -> list[str]:
    """Return a row of the table."""
    steady = "n/a" if rates.steady is None else f"{rates.steady:,.0f}"
    cpu = (f"{1e6 * seconds / sequences:.2f}" for seconds in (rates.main_thread_s, rates.process_s))
    return [name, f"{rates.sequences:,.0f}", f"{rates.whole:,.0f}", steady, *cpu]


def load_model(arguments: argparse.Namespace, device: torch.device) -> Any:
    """Return the model that was asked for."""
    if arguments.model == INSTANT:
        return InstantModel(arguments.hidden_size)
    return load_esm2_model(arguments.model, device, precision=arguments.precision, weights="random")[0]


def configuration_of(arguments: argparse.Namespace) -> Configuration:
    """Return the knobs."""
    return Configuration(
        num_workers=arguments.num_workers, token_budget=arguments.token_budget, buffer_size=arguments.buffer_size
    )


def without_writing(arguments: argparse.Namespace, fasta: FastaFile, model: Any, device: torch.device) -> Rates:
    """Run the file once and drop the vectors."""
    configuration = configuration_of(arguments)
    profiler = BatchProfiler(device=device)
    clock = CpuClock()
    started = time.monotonic()
    loader = create_async_dataloader(
        SequenceDataset(fasta),
        VarlenCollator(**configuration.arguments("collator")),
        pin_memory=device.type == "cuda",
        **configuration.arguments("loader"),
    )
    with profiler, loader, AsyncInferenceRunner(model, device, profiler=profiler) as runner:
        sequences = sum(len(result.positions) for result in runner.run(loader))
        elapsed = time.monotonic() - started
    steady = run_summary(profiler.result).get("steady_tokens_per_sec")
    return Rates(fasta.total_tokens() / elapsed, steady, sequences / elapsed, *clock.seconds())


def with_writing(
    arguments: argparse.Namespace, fasta: FastaFile, model: Any, device: torch.device, folder: Path
) -> Rates:
    """Run the file as a job, whose folder is removed afterwards."""
    configuration = configuration_of(arguments)
    shape = None if arguments.model == INSTANT else ARCHITECTURES[resolve_model_name(arguments.model)]
    job = EmbedJob(
        fasta=str(fasta.path),
        fingerprint=fasta.fingerprint,
        num_sequences=len(fasta),
        skip_invalid=False,
        max_residues=1022,
        model=arguments.model,
        num_layers=model.num_layers if shape is None else shape.num_layers,
        hidden_size=model.hidden_size,
        weights="random",
        precision=arguments.precision or "default",
        format=arguments.format,
        dtype=arguments.dtype,
        per_residue=False,
        num_shards=0,
        weights_option="random",
        num_workers=configuration.num_workers,
        prefetch_factor=configuration.prefetch_factor,
        token_budget=configuration.token_budget,
        buffer_size=configuration.buffer_size,
    )
    folder.mkdir()
    try:
        prepared = begin_job(prepare_job(folder, job, fasta), "random")
        clock = CpuClock()
        done = run_rank(
            prepared.job, folder, LocalQueue(prepared.left), fasta, model, device, configuration=configuration
        )
        cpu = clock.seconds()
    finally:
        shutil.rmtree(folder)
    return Rates(done.tokens / done.elapsed_s, None, done.sequences / done.elapsed_s, *cpu)


def claims(runner: list[Rates], embed: list[Rates]) -> list[Claim]:
    """Compare the medians."""
    whole = statistics.median(rates.whole for rates in embed)
    steady = [rates.steady for rates in runner if rates.steady is not None]
    end_to_end = whole / statistics.median(rates.whole for rates in runner)
    of_steady = whole / statistics.median(steady) if steady else None
    return [
        at_least(f"at least {STEADY_SHARE} x the runner's steady rate", of_steady, STEADY_SHARE, "{:.3f} x"),
        at_least(
            f"at least {END_TO_END_SHARE} x the runner's rate from end to end", end_to_end, END_TO_END_SHARE, "{:.3f} x"
        ),
    ]


if __name__ == "__main__":
    main()
