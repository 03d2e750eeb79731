# SPDX-License-Identifier: MIT
"""Options and their checks. Imports nothing heavy: ``--help`` and a mistyped option answer at once."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from virnuc_profiler.errors import UsageError
from virnuc_profiler.inference.esm2.config import resolve_model_name
from virnuc_profiler.sweep.plan.configuration import RANGES, check_setting
from virnuc_profiler.sweep.plan.steps import STEP_NAMES, in_order
from virnuc_profiler.sweep.worker.deadlines import PROGRESS_TIMEOUT_S, START_TIMEOUT_S

EXIT_MISUSE = 2
DEVICES = "auto|cpu|cuda|cuda:N"
_MAX_NUMBER = 1e7
"""In seconds 115 days; the system's clocks refuse to wait for much more."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence, and that takes options between positional arguments.

    argparse alone would give the first of ``RUN --top 3 FILE`` to FILE where RUN may be left out.
    """

    _intermixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Options first and then what remains.

        At once where a command follows, which has options of its own, and
        where ``--`` says what is no option, which would be forgotten.
        """
        if self._intermixing or self._subparsers is not None or "--" in (args or ()):
            return super().parse_known_args(args, namespace)
        self._intermixing = True  # in some versions of Python it comes back here
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixing = False

    def error(self, message: str) -> NoReturn:
        """Says what is wrong and where help is."""
        self.exit(EXIT_MISUSE, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def add_measurement_options(parser: argparse.ArgumentParser, *, folder: str, sequences: str) -> None:
    """The options that ``sweep`` and ``profile`` share; `folder` and `sequences` are their defaults in words."""
    workload = parser.add_argument_group("workload")
    workload.add_argument("--fasta", type=Path, metavar="FILE", help="your own sequences, plain or gzip'd")
    workload.add_argument(
        "--num-sequences", type=whole(1), metavar="N",
        help=f"how many sequences; of your own file the first N (default: {sequences})",
    )  # fmt: skip
    workload.add_argument(
        "--seed", type=whole(0), default=42, metavar="N", help="of the generated sequences (default: 42)"
    )
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model", type=_model, metavar="NAME",
        help="8M, 35M, 150M, 650M, 3B, 15B or a full name (default: 3B on a GPU, 8M on a CPU)",
    )  # fmt: skip
    model.add_argument(
        "--weights", default="auto", metavar="auto|random|pretrained|PATH",
        help="auto: from PyTorch's hub cache if they are there, else random; pretrained: download (default: auto)",
    )  # fmt: skip
    model.add_argument(
        "--precision", choices=("fp16", "bf16", "fp32", "fp8"), help="default: fp16 on a GPU, fp32 on a CPU"
    )
    model.add_argument(
        "--min-cosine", type=_number(at_least=-1), metavar="X",
        help="least similarity of vectors in fp8 to those in bf16 and fp32; less is refused (default: 0.99)",
    )  # fmt: skip
    model.add_argument("--device", type=device_name, default="auto", metavar=DEVICES, help="default: auto")
    model.add_argument(
        "--device-memory-gb", type=_number(above=0), metavar="GB",
        help="limit this process's device memory (1 GB = 10^9 bytes), e.g. to share a card",
    )  # fmt: skip
    run = parser.add_argument_group("run")
    run.add_argument("--output-dir", type=Path, metavar="DIR", help=f"folder of the results (default: {folder})")
    run.add_argument(
        "--cooldown", type=_seconds_or_auto, default=2.0, metavar="SECONDS",
        help="pause after each configuration; auto: until nothing of it is left, 2 s at most (default: 2)",
    )  # fmt: skip
    run.add_argument(
        "--timeout", type=_number(above=0), metavar="SECONDS", help="time limit of a configuration (default: none)"
    )
    run.add_argument(
        "--try-all", action="store_true",
        help="try also what is predicted not to fit the device's memory",
    )  # fmt: skip
    run.add_argument("--debug", action="store_true", help="log everything, and show tracebacks")


def _seconds_or_auto(text: str) -> float | str:
    return "auto" if text == "auto" else _number(at_least=0)(text)


def add_isolation_options(parser: argparse.ArgumentParser) -> None:
    """The options of what supervises the trials."""
    group = parser.add_argument_group("supervision")
    group.add_argument(
        "--isolation", choices=("process", "none"), default="process",
        help="process: the model runs in a process of its own, which is replaced after a failure; none: all in one "
        "process, e.g. for a debugger (default: process)",
    )  # fmt: skip
    for option, default, what in (
        ("--start-timeout", START_TIMEOUT_S, "time limit of loading the model"),
        ("--progress-timeout", PROGRESS_TIMEOUT_S, "longest time without a finished batch"),
    ):
        group.add_argument(
            option, type=_number(above=0), default=default, metavar="SECONDS",
            help=f"{what}; not with --isolation none (default: {default:g})",
        )  # fmt: skip


def setting(name: str) -> Callable[[str], int]:
    """Reads one value of a setting of :class:`Configuration`."""

    def read(text: str) -> int:
        try:
            if "," in text:
                raise argparse.ArgumentTypeError(f"{text!r} is not a whole number; lists are for sweep")
            return check_setting(name, _integer(text))
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def settings(name: str) -> Callable[[str], tuple[int, ...]]:
    """Reads a list like ``2,4,8`` of values of a setting; none may occur twice."""
    read_one = setting(name)

    def read(text: str) -> tuple[int, ...]:
        values = tuple(read_one(part) for part in text.split(","))
        for number, value in enumerate(values):
            if value in values[:number]:
                raise argparse.ArgumentTypeError(f"{text!r} names {value} twice")
        return values

    return read


def steps(text: str) -> tuple[str, ...]:
    """Reads a list of steps; they run in their own order."""
    try:
        return in_order([part.strip() for part in text.split(",")])
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def setting_help(name: str, default: str) -> str:
    """Help for the option of a setting."""
    meaning = {
        "num_workers": "DataLoader processes, 0 for none",
        "prefetch_factor": "chunks that each worker keeps ready",
        "token_budget": "most tokens of a packed batch",
        "buffer_size": "sequences collected before they are packed",
    }
    return f"{meaning[name]}, {RANGES[name][0]} or more (default: {default})"


STEPS_HELP = f"some of {','.join(STEP_NAMES)} (default: all)"


def _integer(text: str) -> int:
    # int() would also take "1_000", " 4" and digits of other scripts, and refuse thousands of digits with advice.
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def whole(smallest: int) -> Callable[[str], int]:
    """Reads a whole number that is not too small."""

    def read(text: str) -> int:
        value = _integer(text)
        if value < smallest:
            raise argparse.ArgumentTypeError(f"{value} is too small; it must be at least {smallest}")
        return value

    return read


def _number(*, above: float | None = None, at_least: float | None = None) -> Callable[[str], float]:
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
        if value > _MAX_NUMBER:
            raise argparse.ArgumentTypeError(f"{text} is too large; it must be at most {_MAX_NUMBER:,.0f}")
        return value

    return read


def _model(text: str) -> str:
    try:
        return resolve_model_name(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def device_name(text: str) -> str:
    """Reads the name of a device, whether it is there or not."""
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,4})?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(DEVICES.split('|'))}")
    return text
