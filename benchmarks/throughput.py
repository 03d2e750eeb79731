# SPDX-License-Identifier: MIT
"""Measure tokens/s of ESM-2: fair-esm and Hugging Face over padded batches, our forward pass alone, and our pipeline.

All run on the same sequences, in turn, next to the rate of a large matrix product on the same GPU in the same run.
Rates and FLOPs count real tokens, including BOS and EOS and excluding padding. Weights are random.

    (a) fair-esm, fp16, length-sorted padded batches, tokens ready in pinned memory
    (b) Hugging Face's EsmModel with SDPA, bf16, on the same kind of batches; n/a without transformers
    (c) our forward pass and pooling, packs ready on the device, for each token budget
    (d) from the FASTA file to embeddings on the host, profiled, in the steady state: with the default settings, and
        with the budget that was best in (c). "Whole run" starts before the workers start, with the file already
        indexed; in FP8 it includes the comparison of the first embeddings with those in bf16 and fp32.

"First pass" is the rate over the batches that run before anything else is timed: all batches of (a) and (b), each of
which has a shape of its own, so that a single pass over this many sequences is as slow as that; the first three batches
of (c).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.claim import Claim
from benchmarks.end_to_end import Settings
from benchmarks.fp8_agreement import agreement
from benchmarks.progress import say
from benchmarks.report import parser, print_table, publish
from benchmarks.throughput_claims import compare_fp8, judge, judge_fp8
from benchmarks.throughput_contest import Contest, Models, describe, free_device_memory
from benchmarks.throughput_figures import HEADER, Table
from benchmarks.throughput_workloads import NAMES, Workload
from virnuc_profiler.inference.esm2.config import resolve_model_name
from virnuc_profiler.inference.placement import resolve_device
from virnuc_profiler.telemetry.files import write_json_atomically

TITLE: Final = "Throughput of ESM-2"
LETTERS: Final = "abcd"
DEFAULT_SETTINGS: Final = Settings(num_workers=4, prefetch_factor=4, token_budget=4096, buffer_size=2000)
SECONDS_TO_LOAD: Final = 15
"""Approximate time to load one architecture in all its forms, and other one-time costs of a model."""
SECONDS_OF_A_PADDED_PASS: Final = 8
"""Approximate time of one pass over all padded batches; twice that for the largest model, less for small ones."""
SECONDS_OF_WORKERS: Final = 1.5
"""Time to start and end the workers, for a turn and for its warm-up."""


def main() -> None:
    """Measure model by model. Print progress, a table for each workload, and the verdicts."""
    options = parse_arguments()
    device = resolve_device(options.device)
    precision = options.precision or ("bf16" if device.type == "cuda" else "fp32")
    if device.type == "cuda":
        torch.cuda.set_device(device)  # events are those of the current device
    say(f"about {estimated_seconds(options) / 60:.1f} minutes")
    tables: list[Table] = []
    notes: list[str] = []
    fp8_claims: list[Claim] = []
    with tempfile.TemporaryDirectory() as folder:
        workloads = [Workload(name, Path(folder), options.num_sequences) for name in options.workloads]
        for name in options.models:
            models = Models(name, device, precision)
            for workload in workloads:
                tables.append(Contest(models, workload, options).run())
                notes += compare_fp8(tables[-1])
                tell(tables[-1])
                keep(tables, notes, options.json)
            if options.fp8:
                note, lowest = fp8_precision(models, workloads[0])
                notes.append(f"{name}: {note}")
                say(notes[-1])
                fp8_claims += [claim for table in tables if table.model == name for claim in judge_fp8(table, lowest)]
            del models
            free_device_memory()
    claims = [*(claim for table in tables for claim in judge(table)), *fp8_claims]
    print("\n".join(["", *notes, ""]))
    publish(TITLE, ["", "claim", "measured"], claim_rows(claims), as_json(tables, notes, claims), options.json)


def parse_arguments() -> argparse.Namespace:
    """Parse the options. With the defaults, one model on one workload takes about 85 s."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--models", type=split, default="8M,150M,650M,3B")
    options.add_argument("--workloads", type=split, default=",".join(NAMES))
    options.add_argument("--token-budgets", type=split_numbers, default="4096,16384,65536")
    options.add_argument("--seconds", type=float, default=10.0, help="seconds of work per figure, over all rounds")
    options.add_argument("--warm-up-s", type=float, default=1.0, help="seconds of warm-up per figure, over all rounds")
    options.add_argument("--ceiling-s", type=float, default=2.0, help="seconds of matrix products, over all rounds")
    options.add_argument("--rounds", type=int, default=2, help="rounds in which all figures take turns")
    options.add_argument("--only", type=split, default="a,b,c,d", help="what to measure, from a,b,c,d; d includes c")
    options.add_argument(
        "--fp8", action="store_true", help="also measure (c) and the best (d) in FP8, and its deviation"
    )
    options.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu to try the script itself")
    options.add_argument("--precision", help="precision of our model (default: bf16, on the CPU fp32)")
    options.add_argument("--num-workers", type=int, default=4, help="workers of the best run of (d)")
    options.add_argument("--prefetch-factor", type=int, default=4)
    options.add_argument("--buffer-size", type=int, default=2000)
    smaller = options.add_argument_group("to try the script with less")
    smaller.add_argument(
        "--num-sequences", type=int, default=2000, help="sequences of (a) to (c); four times as many short ones"
    )
    smaller.add_argument(
        "--padded-tokens", type=int, default=4096, help="maximum tokens of a padded batch, padding included"
    )
    smaller.add_argument("--matrix", type=int, default=8192, help="size of the square matrix products")
    smaller.add_argument(
        "--default-settings",
        type=settings,
        default=DEFAULT_SETTINGS,
        help="workers,prefetch,budget,buffer, such as 4,4,4096,2000",
    )
    found = options.parse_args()
    found.only = set(found.only)
    for name in found.models:
        resolve_model_name(name)  # a misspelt one should not be found out after minutes
    if not set(found.workloads) <= set(NAMES) or not found.only <= set(LETTERS) or found.rounds < 1:
        options.error(f"workloads are {', '.join(NAMES)}, --only takes {', '.join(LETTERS)}, and rounds are at least 1")
    return found


def estimated_seconds(options: argparse.Namespace) -> float:
    """Estimate the time of the whole benchmark."""
    forwards = len(options.token_budgets) * (2 if options.fp8 else 1) if {"c", "d"} & options.only else 0
    runs = (3 if options.fp8 else 2) if "d" in options.only else 0
    figures = len({"a", "b"} & options.only) + forwards + runs
    each = options.seconds + options.warm_up_s
    pipelines = runs * (options.seconds / 9 + SECONDS_OF_WORKERS * options.rounds)
    padded = SECONDS_OF_A_PADDED_PASS * len({"a", "b"} & options.only)
    contest = figures * each + pipelines + padded + options.ceiling_s + options.warm_up_s
    return len(options.models) * (SECONDS_TO_LOAD + len(options.workloads) * contest)


def tell(table: Table) -> None:
    """Print one table and its verdicts at once, because a run of minutes may be cut short."""
    print(f"\n{table.model}, {table.workload}\n")
    print_table(HEADER, table.rows)
    for cells in [*claim_rows(judge(table)), *([note] for note in compare_fp8(table))]:
        print(": ".join(cells))
    print(flush=True)


def fp8_precision(models: Models, workload: Workload) -> tuple[str, float | None]:
    """Return the deviation of FP8 in words and the lowest cosine similarity, or the reason why they are unknown."""
    try:
        found = agreement(models.ours, models.ours_fp8, workload)
    except Exception as error:  # the rates are worth having all the same
        return f"FP8 n/a, {describe(error)}", None
    return f"FP8 against {models.precision}, {found}", found.lowest


def claim_rows(claims: list[Claim]) -> list[list[str]]:
    """Return rows with the verdict first."""
    return [[claim.verdict, claim.text, claim.measured] for claim in claims]


def keep(tables: list[Table], notes: list[str], path: Path | None) -> None:
    """Write the results so far; `publish` replaces them at the end."""
    if path is not None:
        claims = [claim for table in tables for claim in judge(table)]
        so_far = as_json(tables, notes, claims)
        write_json_atomically(path, {"benchmark": TITLE, "unfinished": True, "figures": so_far})


def as_json(tables: list[Table], notes: list[str], claims: list[Claim]) -> dict[str, Any]:
    """Return everything, turn by turn."""
    told = [{"text": claim.text, "measured": claim.measured, "verdict": claim.verdict} for claim in claims]
    return {"tables": [table.as_dict() for table in tables], "claims": told, "notes": notes}


def split(text: str) -> list[str]:
    """Split words at commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def split_numbers(text: str) -> list[int]:
    """Split numbers at commas."""
    return [int(word) for word in split(text)]


def settings(text: str) -> Settings:
    """Parse workers, prefetch factor, token budget, and buffer size."""
    return Settings(*split_numbers(text))


if __name__ == "__main__":
    main()
