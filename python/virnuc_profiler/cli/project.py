# SPDX-License-Identifier: MIT
"""``virnuc-profiler project``: how long a job takes, from an earlier run or sweep."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from virnuc_profiler.cli.options.arguments import file_path, whole
from virnuc_profiler.cli.options.measurement_request import shown_path
from virnuc_profiler.cli.terminal import terminal_width
from virnuc_profiler.errors import UsageError
from virnuc_profiler.telemetry.rates import PROJECTED_SEQUENCES

if TYPE_CHECKING:
    from virnuc_profiler.analysis.projection.extrapolation import Job


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "project",
        help="project how long a job takes, with an interval",
        description="Project how long a job takes from a saved run, a telemetry file with its run beside it, a result "
        "file of a sweep, or the folder of a sweep or of a run, and say what the projection assumes.",
    )
    parser.add_argument("path", type=file_path, metavar="RUN_OR_SWEEP", help="a file, or a folder")
    parser.add_argument(
        "--fasta", type=file_path, metavar="FILE",
        help="the job's sequences, of which only the lengths are used (default: sequences like the measured ones)",
    )  # fmt: skip
    parser.add_argument(
        "--sequences", type=whole(1), metavar="N",
        help=f"number of sequences of the job (default: all of --fasta, else {PROJECTED_SEQUENCES:,})",
    )  # fmt: skip
    parser.add_argument("--skip-invalid", action="store_true", help="leave out records of --fasta that are not valid")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the projection."""
    from virnuc_profiler.reports.projection_text import project_source, projection_json, render_projection
    from virnuc_profiler.sweep.results.projection_source import read_source

    if arguments.skip_invalid and arguments.fasta is None:
        raise UsageError("--skip-invalid has no effect without --fasta: leave it out")
    source = read_source(arguments.path)
    job, name, sequences = None, "like the measured ones", arguments.sequences or PROJECTED_SEQUENCES
    if arguments.fasta is not None:
        job = _job(arguments.fasta, arguments.skip_invalid)
        sequences = arguments.sequences or job.lengths.total_sequences
        name = f"{'of' if sequences == job.lengths.total_sequences else 'like those of'} {shown_path(arguments.fasta)}"
    projected = project_source(source, job, name, sequences)
    if arguments.json:
        print(json.dumps(projection_json(projected), indent=2))
    else:
        print(render_projection(projected, terminal_width()), end="")
    return 0


def _job(path: Path, skip_invalid: bool) -> Job:
    from virnuc_profiler.analysis.projection.extrapolation import Job
    from virnuc_profiler.analysis.projection.length_strata import strata_of
    from virnuc_profiler.inference.sequences.fasta import FastaFile
    from virnuc_profiler.sweep.plan.workload import token_counts

    fasta = FastaFile.open(path, skip_invalid=skip_invalid)
    if not len(fasta):
        raise UsageError(f"{path} holds no sequences")
    return Job(strata_of(token_counts(fasta)), fasta.fingerprint)
