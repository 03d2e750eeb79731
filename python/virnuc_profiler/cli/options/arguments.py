# SPDX-License-Identifier: MIT
"""Options and their checks. Imports nothing heavy, so that ``--help`` and a mistyped option answer at once."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from virnuc_profiler.cli.options.live_options import add_metrics_option, add_quiet_option
from virnuc_profiler.cli.options.target_options import add_target_options
from virnuc_profiler.cli.terminal import say
from virnuc_profiler.errors import UsageError
from virnuc_profiler.inference.esm2.config import resolve_model_name
from virnuc_profiler.sweep.plan.steps import STEP_NAMES, TARGET_STEPS, default_values_text, in_order
from virnuc_profiler.sweep.plan.trial_length import PRECISION_TARGET, TRIAL_SECONDS
from virnuc_profiler.sweep.worker.deadlines import PROGRESS_TIMEOUT_S, START_TIMEOUT_S
from virnuc_profiler.targets.knobs.configuration import BUILTIN_KNOBS
from virnuc_profiler.targets.knobs.knob import parse_integer

EXIT_MISUSE = 2
DEVICES = "auto|cpu|cuda|cuda:N"
_MAX_NUMBER = 1e7
"""Upper bound of numbers: 115 days in seconds, and system clocks refuse to wait for much more."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence, and that accepts options between positional arguments.

    Where RUN is optional, argparse alone would assign the first argument of ``RUN --top 3 FILE`` to FILE.
    """

    _intermixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the options first, and then the positional arguments.

        Both are parsed together if a command follows, which has options of its own, or if ``--`` is among the
        arguments, because the two-step parse would drop it. A command refuses what it does not know.
        """
        if self._intermixing or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._intermixing = True  # some versions of Python call this method again
        try:
            parse = super().parse_known_args if "--" in (args or ()) else self.parse_known_intermixed_args
            known, unknown = parse(args, namespace)
        finally:
            self._intermixing = False
        if unknown:  # said here, because the parser of all commands would point to its own help
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, unknown

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write a message; argparse alone would hide that it cannot be written. An error fits the terminal."""
        if file is None or file is sys.stderr:
            say(message.rstrip("\n"))
        else:
            file.write(message)

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where help is, and exit."""
        self.exit(EXIT_MISUSE, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def add_measurement_options(parser: argparse.ArgumentParser, *, folder: str, sequences: str, lists: bool) -> None:
    """Add the options that ``sweep`` and ``profile`` share.

    Args:
        parser: Parser of the command.
        folder: Default folder of the results, in words.
        sequences: Default number of sequences, in words.
        lists: Whether the knobs take lists of values to try, rather than one value each.
    """
    add_target_options(parser, lists=lists)
    workload = parser.add_argument_group("workload")
    workload.add_argument(
        "--fasta", type=file_path, metavar="FILE",
        help="your own sequences, plain or compressed with gzip, bzip2, xz or zstd",
    )  # fmt: skip
    workload.add_argument(
        "--skip-invalid", action="store_true",
        help="leave out records of your file that are not valid, and list them in the folder of the results",
    )  # fmt: skip
    workload.add_argument(
        "--strict", action="store_true",
        help="refuse your file if it looks like something other than proteins: nucleotides, gaps, digits, text",
    )  # fmt: skip
    workload.add_argument(
        "--num-sequences", type=whole(1), metavar="N",
        help=f"number of sequences; of your own file, a random sample stratified by length (default: {sequences})",
    )  # fmt: skip
    workload.add_argument(
        "--first", action="store_true", help="take the first sequences of your file, instead of a random sample"
    )
    workload.add_argument(
        "--seed", type=whole(0), default=42, metavar="N",
        help="random seed of the generated workload, or of the sample of your file (default: 42)",
    )  # fmt: skip
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model", type=_model, metavar="NAME",
        help="8M, 35M, 150M, 650M, 3B, 15B or a full name; other targets may have names of their own (default: 3B on a "
        "GPU, 8M on a CPU)",
    )  # fmt: skip
    model.add_argument(
        "--weights", default="auto", metavar="auto|random|pretrained|PATH",
        help="auto: from PyTorch's hub cache if present, else random; pretrained: download if absent; PATH: a fair-esm "
        "checkpoint, a Hugging Face folder or a .safetensors file (default: auto)",
    )  # fmt: skip
    model.add_argument(
        "--min-cosine", type=number(at_least=-1, at_most=1), metavar="X",
        help="lowest cosine similarity of fp8 vectors to bf16 and fp32 ones; a run below it fails (default: 0.99)",
    )  # fmt: skip
    model.add_argument("--least-cosine", dest="min_cosine", type=number(at_least=-1, at_most=1), help=argparse.SUPPRESS)
    model.add_argument("--device", type=device_name, default="auto", metavar=DEVICES, help="device (default: auto)")
    model.add_argument(
        "--device-memory-gb", type=number(above=0), metavar="GB",
        help="limit this process's device memory (1 GB = 10^9 bytes), e.g. to share a card",
    )  # fmt: skip
    title = "grid: lists like 2,4,8" if lists else "configuration"
    _add_knobs(model, parser.add_argument_group(title), lists=lists)
    run = parser.add_argument_group("run")
    run.add_argument("--output-dir", type=file_path, metavar="DIR", help=f"folder of the results (default: {folder})")
    run.add_argument(
        "--cooldown", type=_seconds_or_auto, default="auto", metavar="SECONDS",
        help="pause after each configuration; auto: until it has left nothing behind, at most 2 s (default: auto)",
    )  # fmt: skip
    run.add_argument(
        "--timeout", type=number(above=0), metavar="SECONDS", help="time limit of each configuration (default: none)"
    )
    if lists:
        _add_repetition(run)
    run.add_argument(
        "--try-all", action="store_true",
        help="also run configurations that are predicted not to fit the device's memory",
    )  # fmt: skip
    if lists:
        add_metrics_option(run)
    add_quiet_option(run)
    run.add_argument("--debug", action="store_true", help="log everything, and show tracebacks")


def _add_repetition(run: argparse._ArgumentGroup) -> None:
    """Add the options on how long each configuration is measured."""
    run.add_argument(
        "--trial-seconds", type=number(at_least=0), default=TRIAL_SECONDS, metavar="SECONDS",
        help="each configuration runs its sequences again and again, always to the end, until this many seconds have "
        f"passed after start-up; 0: runs them once (default: {TRIAL_SECONDS:g})",
    )  # fmt: skip
    run.add_argument(
        "--precision-target", type=number(above=0, at_most=1), default=PRECISION_TARGET, metavar="P",
        help="a configuration is measured for less time once the interval of its steady rate is within this share of "
        f"the rate to either side (default: {PRECISION_TARGET:g})",
    )  # fmt: skip


def _add_knobs(model: argparse._ArgumentGroup, others: argparse._ArgumentGroup, *, lists: bool) -> None:
    """Add an option for each knob.

    Args:
        model: Group of the knobs that need a model of their own.
        others: Group of the other knobs.
        lists: Whether the options take lists of values to try.
    """
    for name, knob in BUILTIN_KNOBS.items():
        group = model if knob.needs_new_model else others
        default = default_values_text(name) if lists else knob.text(knob.default)
        varies = ""
        if lists and knob.needs_new_model:
            varies = "; the baseline uses the first of a list, the other steps try all"
        group.add_argument(
            knob.option,
            type=reader(knob.parse_list if lists else knob.parse),
            default=None if lists else knob.default,
            metavar="LIST" if lists else knob.metavar,
            help=knob.full_help(default) + varies,
        )


def reader(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a parser's argument type whose errors argparse shows as they are."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def file_path(text: str) -> Path:
    """Read the path of a file or folder; an empty one would mean the working folder."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def _seconds_or_auto(text: str) -> float | str:
    return "auto" if text == "auto" else number(at_least=0)(text)


def add_isolation_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the supervision of trials."""
    group = parser.add_argument_group("supervision")
    group.add_argument(
        "--isolation", choices=("process", "none"), default="process",
        help="process: the model runs in a process of its own, which is replaced after a failure; none: everything "
        "runs in one process, e.g. for a debugger (default: process)",
    )  # fmt: skip
    for option, default, what in (
        ("--start-timeout", START_TIMEOUT_S, "time limit of loading the model"),
        ("--progress-timeout", PROGRESS_TIMEOUT_S, "longest time without a finished batch"),
    ):
        group.add_argument(
            option, type=number(above=0), default=default, metavar="SECONDS",
            help=f"{what}; not with --isolation none (default: {default:g})",
        )  # fmt: skip


def set_defaults_aside(parser: argparse.ArgumentParser, *others: str) -> None:
    """Make a parser leave out what was not given, since some options are refused only if they were.

    Args:
        parser: Parser of a command.
        others: Names of arguments that are no options of a measurement.
    """
    names = [
        name
        for name in vars(parser.parse_args([]))
        if name not in (*others, "command", "run", "debug", "quiet", "metrics")
    ]
    parser.set_defaults(defaults={name: parser.get_default(name) for name in names}, **dict.fromkeys(names))


def take_given_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options that were given, and fill in the defaults of the others.

    Args:
        arguments: What a parser has read whose defaults were set aside.
    """
    given = {name: value for name in arguments.defaults if (value := getattr(arguments, name)) is not None}
    vars(arguments).update({**arguments.defaults, **given})
    return given


def steps(text: str) -> tuple[str, ...]:
    """Read a list of steps, which run in their own order."""
    try:
        return in_order([part.strip() for part in text.split(",")])
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


STEPS_HELP = (
    f"some of {','.join(STEP_NAMES)}; with another --target than builtin, of {','.join(TARGET_STEPS)} (default: all)"
)


def whole(smallest: int) -> Callable[[str], int]:
    """Return a reader of whole numbers that are at least `smallest`."""

    def read(text: str) -> int:
        value = int(reader(parse_integer)(text))
        if value < smallest:
            raise argparse.ArgumentTypeError(f"{value} is too small; it must be at least {smallest}")
        return value

    return read


def number(
    *, above: float | None = None, at_least: float | None = None, at_most: float = _MAX_NUMBER
) -> Callable[[str], float]:
    """Return a reader of numbers within bounds.

    Args:
        above: Number that a value must exceed; None for none.
        at_least: Smallest value; None for none.
        at_most: Largest value.
    """

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number")
        if above is not None and value <= above:
            raise argparse.ArgumentTypeError(f"{text} is too small; it must be more than {above:g}")
        if at_least is not None and value < at_least:
            raise argparse.ArgumentTypeError(f"{text} is too small; it must be at least {at_least:g}")
        if value > at_most:
            raise argparse.ArgumentTypeError(f"{text} is too large; it must be at most {at_most:,.0f}")
        return value

    return read


def model_name(text: str) -> str:
    """Read the name of a model of the built-in target, short or full."""
    try:
        return resolve_model_name(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _model(text: str) -> str:
    """Read the name of a model, which the target knows or not."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    return text


def device_name(text: str) -> str:
    """Read the name of a device, whether it is present or not."""
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,4})?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(DEVICES.split('|'))}")
    return text
