# SPDX-License-Identifier: MIT
"""Options that were given but change nothing: refused, so that what is measured is what was asked for."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from virnuc_profiler.cli.options.target_options import option_of
from virnuc_profiler.errors import UsageError
from virnuc_profiler.sweep.plan.steps import Grid, Step
from virnuc_profiler.targets.knobs.configuration import KnobSet

_OF_A_PROCESS: Final = ("start_timeout", "progress_timeout")
_OF_OWN_FILES: Final = ("skip_invalid", "strict", "first")


def refuse_idle_options(arguments: argparse.Namespace, given: Mapping[str, Any], fasta: Path | None) -> None:
    """Refuse options of a new measurement that change nothing.

    Args:
        arguments: All options.
        given: Options that were given, by name.
        fasta: The user's file of sequences; None if they are generated.

    Raises:
        UsageError: An option has no effect beside the others.
    """
    refuse_idle_limits(given)
    whole_file = arguments.command == "profile" and arguments.num_sequences is None
    if fasta is not None and "seed" in given and (whole_file or arguments.first):
        which = "sequences" if whole_file else "first sequences"
        raise UsageError(f"--seed has no effect on the {which} of {fasta}: leave it out")
    if fasta is not None and "first" in given and whole_file:
        raise UsageError(f"--first has no effect without --num-sequences: all sequences of {fasta} are run")
    for name in _OF_OWN_FILES:
        if fasta is None and name in given:
            raise UsageError(f"{_option(name)} has no effect on generated sequences: give your own with --fasta")
    if "precision_target" in given and arguments.trial_seconds == 0:
        raise UsageError("--precision-target has no effect with --trial-seconds 0, which runs the sequences once")
    precision = arguments.precision
    if "min_cosine" in given and "fp8" not in (precision if isinstance(precision, tuple) else (precision,)):
        raise UsageError("--min-cosine has no effect without fp8: add --precision fp8, or leave it out")


def refuse_idle_limits(given: Mapping[str, Any]) -> None:
    """Refuse time limits of a process that ``--isolation none`` does not start.

    Args:
        given: Options that were given, by name.

    Raises:
        UsageError: There is such a limit.
    """
    for name in _OF_A_PROCESS:
        if given.get("isolation") == "none" and name in given:
            raise UsageError(
                f"{_option(name)} has no effect with --isolation none, which starts no process that it could limit: "
                "leave one of them out"
            )


def idle_lists(lists: Grid, knobs: KnobSet, steps: Iterable[Step]) -> str:
    """Return a sentence on lists that no chosen step of a sweep varies; empty if there are none.

    Args:
        lists: Lists of values that were given, by the name of the knob.
        knobs: Knobs of the target.
        steps: The chosen steps.
    """
    varied = {name for step in steps for name in step.grid}
    held = {name for name, values in lists.items() if len(values) == 1 and not knobs.is_builtin}
    idle = [
        option_of(knobs, name) for name in lists if not knobs[name].needs_new_model and name not in (*varied, *held)
    ]
    if not idle:
        return ""
    return f"no chosen step varies {', '.join(idle)}, so these values are not used"


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
