# SPDX-License-Identifier: MIT
"""``virnuc-profiler compare``: tell whether a build, machine or configuration is faster than another."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from virnuc_profiler.cli.options.arguments import file_path
from virnuc_profiler.cli.options.result_folder import refuse_result
from virnuc_profiler.cli.terminal import say, terminal_width
from virnuc_profiler.errors import UsageError
from virnuc_profiler.telemetry.number_text import counted

if TYPE_CHECKING:
    from virnuc_profiler.analysis.comparison.compared import Compared
    from virnuc_profiler.analysis.comparison.measured_run import Side

EXIT_FAILED_ON: Final = 3
"""Exit code if the comparison was made and has what ``--fail-on`` names."""

_MAX_PERCENT: Final = 50.0
_FAILURES: Final = ("slower", "worse", "cannot-tell")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "compare",
        help="tell whether one sweep or run is faster than another",
        description="Compare a candidate with a reference, each a telemetry file, a saved run, the folder of a sweep, "
        "or a folder of repeated runs: compare REFERENCE CANDIDATE, compare REFERENCE ... --with CANDIDATE ..., or "
        "compare --against NAME CANDIDATE ... Exit codes: 0, compared; 2, the two cannot be compared; "
        f"{EXIT_FAILED_ON}, compared, and --fail-on holds.",
    )
    parser.add_argument("paths", type=file_path, nargs="+", metavar="PATH", help="reference and candidate, or repeats")
    parser.add_argument(
        "--with", type=file_path, nargs="+", dest="candidates", metavar="PATH",
        help="repeats of the candidate; those of the reference come first",
    )  # fmt: skip
    parser.add_argument("--against", metavar="NAME", help="take a saved baseline as the reference")
    add_baselines_option(parser)
    parser.add_argument(
        "--threshold", type=_percent, default=2.0, metavar="PERCENT",
        help="smallest difference that matters (default: 2)",
    )  # fmt: skip
    parser.add_argument(
        "--run-noise", type=_percent, default=0.0, metavar="PERCENT",
        help="standard deviation from run to run, if you know it, for comparisons of one run each (default: 0)",
    )  # fmt: skip
    parser.add_argument(
        "--anyway", action="store_true", help="compare what cannot sensibly be compared, with a warning"
    )
    parser.add_argument(
        "--fail-on", choices=_FAILURES, action="append", default=[],
        help=f"exit with {EXIT_FAILED_ON} if the rate, or that of a configuration, is slower; if any metric is worse; "
        "or if the verdict is CANNOT TELL; may be repeated",
    )  # fmt: skip
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--markdown", action="store_true", help="print Markdown, for a pull request")
    output.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--output", type=file_path, metavar="FILE", help="also write what is printed to this file")
    parser.add_argument(
        "--html", type=file_path, metavar="FILE",
        help="write the comparison as one HTML file that needs no network, beside what is printed; an earlier report "
        "of that name is replaced, no other file",
    )  # fmt: skip
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(run=run)


def _percent(text: str) -> float:
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = math.nan
    if not 0 <= value <= _MAX_PERCENT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage from 0 to {_MAX_PERCENT:g}")
    return value


def add_baselines_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the folder of the baselines.

    Args:
        parser: Parser of a command.
    """
    parser.add_argument(
        "--baselines", type=file_path, metavar="DIR",
        help="folder of the baselines (default: $VIRNUC_PROFILER_BASELINES, else the user's data folder)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Print the comparison; return :data:`EXIT_FAILED_ON` if ``--fail-on`` holds."""
    from virnuc_profiler.analysis.comparison.effects import Rule
    from virnuc_profiler.analysis.comparison.sides import compare_sides
    from virnuc_profiler.telemetry.files import write_text_atomically

    if arguments.output is not None:
        refuse_result(arguments.output, "--output")
        if arguments.output.resolve() in [path.resolve() for path in (*arguments.paths, *(arguments.candidates or ()))]:
            raise UsageError(f"--output {arguments.output} is a file that is compared; choose another one")
    if arguments.html is not None:
        from virnuc_profiler.cli.pages.html_report import require_replaceable

        require_replaceable(arguments.html, [*arguments.paths, *(arguments.candidates or ())])
    reference, candidate = _sides(arguments)
    rule = Rule(threshold=arguments.threshold / 100, run_noise=arguments.run_noise / 100)
    compared = compare_sides(reference, candidate, rule, anyway=arguments.anyway)
    text = _rendered(compared, arguments)
    if arguments.output is not None:
        write_text_atomically(arguments.output, text)
    print(text, end="", flush=True)
    if arguments.html is not None:
        _write_html(arguments.html, compared)
    failed = [name for name in dict.fromkeys(arguments.fail_on) if _holds(name, compared)]
    if failed:
        say(f"virnuc-profiler: --fail-on {' and '.join(failed)} holds")
    return EXIT_FAILED_ON if failed else 0


def _sides(arguments: argparse.Namespace) -> tuple[Side, Side]:
    """Read reference and candidate.

    Raises:
        UsageError: The arguments do not say which is which, or a side cannot be read.
    """
    from virnuc_profiler.reports.comparison.baseline_store import baselines_folder, load_baseline
    from virnuc_profiler.reports.comparison.sources import read_side

    paths: list[Path] = arguments.paths
    if arguments.against is not None:
        if arguments.candidates is not None:
            raise UsageError("--against names the reference, so --with has no effect: give the candidate's runs alone")
        baseline = load_baseline(arguments.baselines or baselines_folder(), arguments.against)
        return baseline.side, read_side(paths)
    if arguments.baselines is not None:
        raise UsageError("--baselines has no effect without --against: leave it out")
    if arguments.candidates is not None:
        return read_side(paths), read_side(arguments.candidates)
    if len(paths) != 2:
        raise UsageError(
            f"compare takes a reference and a candidate, not {counted(len(paths), 'path')}; repeats are given as "
            "compare REFERENCE ... --with CANDIDATE ..."
        )
    return read_side(paths[:1]), read_side(paths[1:])


def _rendered(compared: Compared, arguments: argparse.Namespace) -> str:
    from virnuc_profiler.reports.comparison.comparison_markdown import render_comparison_markdown
    from virnuc_profiler.reports.comparison.comparison_text import render_comparison

    if arguments.json:
        return json.dumps(compared.to_json(), indent=1) + "\n"
    return render_comparison_markdown(compared) if arguments.markdown else render_comparison(compared, terminal_width())


def _write_html(path: Path, compared: Compared) -> None:
    """Write the page; where it is goes to stderr, since what is printed may be JSON that a program reads."""
    from contextlib import redirect_stdout

    from virnuc_profiler.cli.pages.html_report import write_page
    from virnuc_profiler.reports.html.comparison_page import render_comparison_page

    with redirect_stdout(sys.stderr):
        write_page(path, render_comparison_page(compared))


def _holds(failure: str, compared: Compared) -> bool:
    if failure == "cannot-tell":
        return compared.main_effect is None or compared.main_effect.verdict == "CANNOT TELL"
    return compared.is_slower or (failure == "worse" and compared.is_worse)
