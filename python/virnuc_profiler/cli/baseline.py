# SPDX-License-Identifier: MIT
"""``virnuc-profiler baseline``: keep runs under a name, to compare later ones with."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from virnuc_profiler import __version__
from virnuc_profiler.cli.compare import add_baselines_option
from virnuc_profiler.cli.options.arguments import file_path
from virnuc_profiler.cli.terminal import safe, terminal_width
from virnuc_profiler.errors import TelemetryFormatError

if TYPE_CHECKING:
    from virnuc_profiler.reports.comparison.baseline_store import Baseline

_log = logging.getLogger(__name__)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "baseline",
        help="keep runs under a name, to compare later ones with",
        description="Save, list, show and remove named baselines, which compare --against NAME takes as its reference. "
        "A baseline is a small file that holds what a comparison needs, so it may be kept in a repository.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(parser))
    _add_action(actions, "save", "save a run, its repeats, or a sweep under a name", _save, named=True, saves=True)
    _add_action(actions, "list", "list the baselines", _list)
    _add_action(actions, "show", "show what a baseline holds", _show, named=True)
    _add_action(actions, "remove", "remove a baseline", _remove, named=True)


def _add_action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    help_text: str,
    run: Callable[[argparse.Namespace], int],
    *,
    named: bool = False,
    saves: bool = False,
) -> None:
    parser = actions.add_parser(name, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}.")
    if named:
        parser.add_argument("name", metavar="NAME", help="name of the baseline")
    if saves:
        parser.add_argument(
            "paths", type=file_path, nargs="+", metavar="RUN",
            help="telemetry files, saved runs, folders of sweeps or folders of repeated runs",
        )  # fmt: skip
        parser.add_argument("--replace", action="store_true", help="replace a baseline of that name")
    add_baselines_option(parser)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(run=run)


def _save(arguments: argparse.Namespace) -> int:
    from virnuc_profiler.analysis.comparison.sides import require_usable
    from virnuc_profiler.reports.comparison.baseline_store import baselines_folder, save_baseline
    from virnuc_profiler.reports.comparison.comparison_rows import side_text
    from virnuc_profiler.reports.comparison.sources import read_side

    side = read_side(arguments.paths)
    require_usable(side)
    folder = arguments.baselines or baselines_folder()
    path = save_baseline(folder, arguments.name, side, __version__, replaces=arguments.replace)
    print(safe(f"Saved: {side_text(side)} as {path}"))
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from virnuc_profiler.reports.comparison.baseline_store import baseline_names, baselines_folder
    from virnuc_profiler.reports.comparison.baseline_text import render_baselines

    folder = arguments.baselines or baselines_folder()
    baselines = [baseline for name in baseline_names(folder) if (baseline := _readable(folder, name)) is not None]
    print(render_baselines(baselines, terminal_width()) if baselines else safe(f"No baselines in {folder}"))
    return 0


def _readable(folder: Path, name: str) -> Baseline | None:
    """Read a baseline; None, after a warning, if its file is damaged, so that it does not hide the others."""
    from virnuc_profiler.reports.comparison.baseline_store import load_baseline

    try:
        return load_baseline(folder, name)
    except TelemetryFormatError as error:
        _log.warning("%s", error)
        return None


def _show(arguments: argparse.Namespace) -> int:
    from virnuc_profiler.reports.comparison.baseline_store import baselines_folder, load_baseline
    from virnuc_profiler.reports.comparison.baseline_text import render_baseline_file

    baseline = load_baseline(arguments.baselines or baselines_folder(), arguments.name)
    print(render_baseline_file(baseline, terminal_width()))
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    from virnuc_profiler.reports.comparison.baseline_store import baselines_folder, remove_baseline

    print(safe(f"Removed: {remove_baseline(arguments.baselines or baselines_folder(), arguments.name)}"))
    return 0
