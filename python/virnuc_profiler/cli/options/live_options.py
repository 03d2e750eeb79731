# SPDX-License-Identifier: MIT
"""The options on what is shown while a command runs."""

from __future__ import annotations

import argparse
from pathlib import Path

_Group = argparse._ArgumentGroup | argparse.ArgumentParser


def _file(text: str) -> Path:
    if not text or text.endswith("/"):
        raise argparse.ArgumentTypeError(f"{text!r} names no file")
    return Path(text)


def add_quiet_option(group: _Group) -> None:
    """Add the option that turns the progress off.

    Args:
        group: Group or parser to add it to.
    """
    group.add_argument(
        "--quiet", action="store_true", help="show no progress; warnings, errors and results are printed"
    )


def add_metrics_option(group: _Group) -> None:
    """Add the option that writes the state to a file for a monitoring system.

    Args:
        group: Group or parser to add it to.
    """
    group.add_argument(
        "--metrics", type=_file, metavar="FILE",
        help="write rate, time left and state every 5 s: to FILE.prom in the format of the textfile collector of "
        "Prometheus' node exporter, to any other FILE in OpenMetrics; each of several ranks writes a file of its own",
    )  # fmt: skip
