# SPDX-License-Identifier: MIT
"""The parser of all commands, whose texts sphinx_argparse_cli reads as reStructuredText."""

import argparse
import re

from virnuc_profiler.cli.main import build_parser

_MARKUP = re.compile(r"([*`|_\\])")


def parser() -> argparse.ArgumentParser:
    """Return the parser with the marks of reStructuredText escaped in the help of its options."""
    whole = build_parser()
    _escape(whole)
    return whole


def _escape(part: argparse.ArgumentParser) -> None:
    for action in part._actions:
        if action.help and action.help != argparse.SUPPRESS:
            action.help = _MARKUP.sub(r"\\\1", action.help)
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _escape(command)
