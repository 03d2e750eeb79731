# SPDX-License-Identifier: MIT
"""Print and write the results of a benchmark."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.claim import Claim
from virnuc_profiler import capture_hardware_info
from virnuc_profiler.telemetry.files import write_json_atomically


def parser(description: str) -> argparse.ArgumentParser:
    """Make a parser with the options that every benchmark has."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--json", type=Path, help="also write the figures to this file")
    return options


def publish(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], figures: Any, json_path: Path | None
) -> None:
    """Print a table under the machine's name, and write the figures if requested."""
    hardware = capture_hardware_info()
    machine = ", ".join([*hardware["gpu_models"], f"{hardware['cpu_model']} ({hardware['cpu_usable_cores']} cores)"])
    versions = f"Python {hardware['python_version']}, PyTorch {hardware['torch_version']}"
    print(f"{title}\n{machine}; {versions}\n")
    print_table(header, rows)
    if json_path is not None:
        write_json_atomically(json_path, {"benchmark": title, "hardware": hardware, "figures": figures})


def publish_claims(claims: Sequence[Claim]) -> None:
    """Print what is claimed, what was measured, and the verdicts, below the table of the figures."""
    print()
    print_table(("claim", "measured", "verdict"), [(one.text, one.measured, one.verdict) for one in claims])


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns as wide as their widest cell."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
