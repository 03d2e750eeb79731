# SPDX-License-Identifier: MIT
"""Measure how the cards of one host work side by side: alone and together, as one job, and when a rank is killed.

    python -m benchmarks.scaling [turns,jobs,launchers,cards,kills] [--model 650M] [--cpu N]

- **turns**: independent processes with a card each, alone and together in turns, with clocks, power and diagnosis.
- **jobs**: `embed` on one card and on more: efficiency, tail, energy, and what was predicted of them from one card.
- **launchers**: the same job by `--gpus`, torchrun and Ray: the same vectors, each sequence once.
- **cards**: CUDA_VISIBLE_DEVICES in reverse order and with UUIDs: each rank samples the card that it computes on.
- **kills**: SIGKILL for one rank in the middle of a job.

Without GPUs, or with `--cpu N`, the ranks compute on the CPU and share its cores, so that only what is equal, counted
or predicted says something there, not the efficiency.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from benchmarks.claim import Claim, at_least
from benchmarks.progress import say
from benchmarks.report import parser, print_table, publish, publish_claims
from benchmarks.scaling_jobs import (
    GPUS,
    RANKS,
    RAY,
    TORCHRUN,
    JobFigures,
    JobOptions,
    KilledJob,
    differences,
    kill_a_rank,
    predict,
    run_job,
)  # fmt: skip
from benchmarks.scaling_turns import HEADER as TURNS_HEADER
from benchmarks.scaling_turns import figures_of, rows_of, take_turns, workers
from benchmarks.throughput_workloads import GENERATORS
from virnuc_profiler.capture.target import visible_uuids
from virnuc_profiler.targets.knobs.configuration import Configuration

PARTS: Final = ("turns", "jobs", "launchers", "cards", "kills")
EFFICIENCY: Final = 97.0
"""Least efficiency of a job that is claimed, percent."""
POINTS: Final = 5.0
"""Largest difference of the predicted tail and efficiency that is claimed, percentage points."""
LOWEST_COSINE: Final = 0.9999
_JOB_HEADER: Final = (
    "started by", "ranks", "command", "run", "tokens/s", "efficiency", "predicted", "tail", "predicted", "energy",
)  # fmt: skip


def main() -> None:
    """Run the parts that were asked for, and print their tables and verdicts."""
    arguments = parse_arguments()
    cards: tuple[str | None, ...] = tuple(visible_uuids()) if arguments.cpu is None else (None,) * arguments.cpu
    cards = cards[: arguments.cards]
    figures: dict[str, Any] = {"cards": cards}
    claims: list[Claim] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "turns" in arguments.parts:
            measure_turns(arguments, cards, folder, figures)
        if set(arguments.parts) - {"turns"}:
            measure_jobs(arguments, cards, folder, figures, claims)
    publish(f"Scaling of {arguments.model}", ("part", "figures"), [(part, "above") for part in arguments.parts],
            figures, arguments.json)  # fmt: skip
    publish_claims(claims)


def parse_arguments() -> argparse.Namespace:
    """Read the options."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("parts", nargs="?", default=",".join(PARTS), help="some of the parts (default: all)")
    options.add_argument("--model", default="8M")
    options.add_argument("--cards", type=int, metavar="N", help="cards to use (default: all that are visible)")
    options.add_argument("--cpu", type=int, metavar="N", help="as many ranks on the CPU instead")
    options.add_argument("--seconds", type=float, default=30.0, help="each measurement of the turns (default: 30)")
    options.add_argument("--rounds", type=int, default=3, help="rounds of the turns (default: 3)")
    options.add_argument("--turn-sequences", type=int, default=2000, help="sequences of a pass of the turns")
    options.add_argument("--pin", action="store_true", help="bind each process of the turns to its part of the cores")
    options.add_argument("--workload", choices=GENERATORS, default="sweep")
    options.add_argument("--num-sequences", type=int, default=20_000, help="sequences of a job (default: 20,000)")
    options.add_argument("--num-workers", type=int, default=4)
    options.add_argument("--token-budget", type=int, default=16_384)
    options.add_argument("--buffer-size", type=int, default=2_000)
    options.add_argument("--shards", type=int, metavar="N", help="shards of a job (default: as embed chooses)")
    options.add_argument("--kills", type=int, default=3)
    options.add_argument("--seed", type=int, default=0)
    arguments = options.parse_args()
    arguments.parts = arguments.parts.split(",")
    if unknown := set(arguments.parts) - set(PARTS):
        options.error(f"no part {min(unknown)}; they are {', '.join(PARTS)}")
    if arguments.cpu is None and not visible_uuids():
        options.error("this process sees no GPU: give --cpu N for ranks on the CPU")
    return arguments


def measure_turns(
    arguments: argparse.Namespace, cards: Sequence[str | None], folder: Path, figures: dict[str, Any]
) -> None:
    """Measure the cards alone and together."""
    options = [
        f"--model={arguments.model}",
        f"--device={'cuda' if cards[0] else 'cpu'}",
        f"--num-sequences={arguments.turn_sequences}",
        f"--num-workers={arguments.num_workers}",
        f"--token-budget={arguments.token_budget}",
    ]
    with workers(cards, folder, options, pin=arguments.pin) as started:
        turns = take_turns(started, arguments.rounds, arguments.seconds)
    figures["turns"] = figures_of(turns)
    print_table(TURNS_HEADER, rows_of(turns))
    diagnoses = {(turn.busy, turn.reading.bound_by): turn.reading.diagnosis for turn in turns}
    for (busy, _), sentence in diagnoses.items():
        print(f"{busy} busy: {sentence}")
    print()


def measure_jobs(
    arguments: argparse.Namespace,
    cards: tuple[str | None, ...],
    folder: Path,
    figures: dict[str, Any],
    claims: list[Claim],
) -> None:
    """Run the jobs of all parts but the turns."""
    configuration = Configuration(
        num_workers=arguments.num_workers, token_budget=arguments.token_budget, buffer_size=arguments.buffer_size
    )
    fasta = GENERATORS[arguments.workload](folder, arguments.num_sequences)
    options = JobOptions(fasta, arguments.model, configuration, cards, arguments.shards)
    local, count = GPUS if options.on_gpus else RANKS, len(cards)
    one, expected = run_job(options, folder / "one", local, 1)
    baseline = one.scaling["tokens_per_sec"]
    found = [one]
    say(f"one rank: {baseline:,.0f} tokens/s")
    launchers = [local, *_launchers()] if "launchers" in arguments.parts else [local]
    for launcher in launchers:
        job, vectors = run_job(options, folder / f"job_{len(found)}", launcher, count, baseline)
        found.append(replace(job, predicted=predict(options, folder / "one", count)))
        figures.setdefault("differences", {})[launcher] = differences(vectors, expected)
        claims.append(_same_vectors(launcher, figures["differences"][launcher]))
        say(f"{launcher}, {count} ranks: {job.scaling['tokens_per_sec']:,.0f} tokens/s")
    figures["jobs"] = [asdict(job) for job in found]
    print_table(_JOB_HEADER, [_job_row(job) for job in found])
    print()
    claims += _claims_of(found[1], on_gpus=options.on_gpus)
    if "cards" in arguments.parts and options.on_gpus:
        measure_visibility(options, folder, figures, claims)
    if "kills" in arguments.parts:
        source = random.Random(arguments.seed)
        kills = [kill_a_rank(options, folder / f"killed_{each}", count, source) for each in range(arguments.kills)]
        figures["kills"] = [asdict(kill) for kill in kills]
        claims.append(_after_kills(kills))


def measure_visibility(options: JobOptions, folder: Path, figures: dict[str, Any], claims: list[Claim]) -> None:
    """Run jobs with cards named in reverse order, by UUID and by index, and compare the cards that were sampled."""
    indices = _physical_indices(options.cards)
    named = {"UUIDs in reverse": options.cards[::-1], "indices in reverse": indices[::-1]}
    for name, cards in named.items():
        job, _ = run_job(replace(options, cards=cards), folder / name.replace(" ", "_"), GPUS, len(cards))
        expected = set(options.cards)
        figures[name] = asdict(job)
        right = set(job.uuids) == expected and None not in job.watts
        shown = ", ".join(f"{uuid}: {watts or 0:.0f} W" for uuid, watts in zip(job.uuids, job.watts, strict=True))
        claims.append(Claim(f"{name}: each rank samples its own card", shown, right))


def _physical_indices(uuids: Sequence[str | None]) -> tuple[str | None, ...]:
    """Return the index of each card as nvidia-smi counts; empty without it."""
    listed = subprocess.run(
        ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"], capture_output=True, text=True, check=True
    ).stdout
    index = {uuid.strip(): number.strip() for number, uuid in (line.split(",") for line in listed.splitlines())}
    return tuple(index[str(uuid)] for uuid in uuids)


def _launchers() -> list[str]:
    """Return the launchers beside ours that are installed."""
    return [TORCHRUN, *([RAY] if find_spec("ray") else [])]


def _same_vectors(launcher: str, found: dict[str, float]) -> Claim:
    text = f"{launcher}: the vectors of one rank, each sequence once"
    if found["missing"]:
        return Claim(text, f"{found['missing']:.0f} missing", False)
    shown = f"{found['equal_share']:.1%} equal, lowest cosine {found['lowest_cosine']:.6f}"
    return Claim(text, shown, found["lowest_cosine"] >= LOWEST_COSINE)


def _claims_of(job: JobFigures, *, on_gpus: bool) -> list[Claim]:
    """Return what is claimed of the job on all cards."""
    efficiency, tail = job.scaling["efficiency_percent"], 100 * job.scaling["tail_share"]
    predicted = job.predicted or {}
    apart = max(abs(efficiency - predicted["efficiency_percent"]), abs(tail - 100 * predicted["tail_share"]))
    reached = at_least(f"efficiency of {job.ranks} ranks at least {EFFICIENCY:g} %", efficiency, EFFICIENCY, "{:.1f} %")
    return [
        reached if on_gpus else replace(reached, holds=None),  # ranks on a CPU share its cores
        Claim(
            f"tail and efficiency are predicted within {POINTS:g} points",
            f"within {apart:.1f}",
            apart <= POINTS if on_gpus else None,
        ),
    ]


def _after_kills(kills: Sequence[KilledJob]) -> Claim:
    text = f"{len(kills)} jobs with a killed rank come to their end, no shard twice"
    right = all(kill.exit_code == 0 and not kill.repeated for kill in kills)
    again = sum(kill.resumed for kill in kills)
    return Claim(text, f"{sum(kill.repeated for kill in kills)} twice, {again} commands started again", right)


def _job_row(job: JobFigures) -> tuple[str, ...]:
    scaling, predicted = job.scaling, job.predicted or {}
    efficiency, joules = scaling["efficiency_percent"], scaling["joules"]
    return (
        job.launcher,
        str(job.ranks),
        f"{job.command_s:.1f} s",
        f"{scaling['seconds']:.1f} s",
        f"{scaling['tokens_per_sec']:,.0f}",
        "" if efficiency is None else f"{efficiency:.1f} %",
        f"{predicted['efficiency_percent']:.1f} %" if predicted else "",
        f"{100 * scaling['tail_share']:.1f} %",
        f"{100 * predicted['tail_share']:.1f} %" if predicted else "",
        "n/a" if joules is None else f"{joules / 1000:.2f} kJ",
    )


if __name__ == "__main__":
    main()
