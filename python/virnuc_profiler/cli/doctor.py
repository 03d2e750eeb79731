# SPDX-License-Identifier: MIT
"""``virnuc-profiler doctor``: show what this machine can measure, what is missing, and the fix."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from virnuc_profiler.cli.options.arguments import DEVICES, device_name
from virnuc_profiler.cli.wrapping import terminal_columns, wrapped

if TYPE_CHECKING:
    from virnuc_profiler.capture.calibration import Calibration
    from virnuc_profiler.capture.device_checks import Check

_LONGEST: Final = 1000
_MARKS: Final = {"ok": "ok", "missing": "--", "broken": "!!"}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "doctor",
        help="show what this machine can measure and what is missing",
        description="Check driver, NVML, devices, PyTorch, attention kernels, worker processes and folders. "
        "The exit code is 1 only if nothing at all can be measured here.",
    )
    parser.add_argument(
        "--overhead",
        action="store_true",
        help="measure what profiling costs on this machine, instead of the checks",
    )
    parser.add_argument(
        "--device",
        type=device_name,
        default="auto",
        metavar=DEVICES,
        help="device of --overhead (default: auto)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--output-dir", type=Path, default=Path(), metavar="DIR", help="folder that must be writable (default: .)"
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="measure and keep this GPU's ceilings (about 20 s), instead of the checks, so that reports show the MFU",
    )
    parser.add_argument("--debug", action="store_true", help="log everything, and show tracebacks")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; return 1 if a part without which nothing works is broken."""
    if arguments.overhead or arguments.calibrate:
        return _measure(arguments)
    from virnuc_profiler.cli.options.checks import all_checks

    checks = all_checks(arguments.output_dir)
    broken = any(check.state == "broken" for check in checks)
    if arguments.json:
        print(
            json.dumps({"schema_version": "1.0", "works": not broken, "checks": [asdict(c) for c in checks]}, indent=1)
        )
    else:
        print(render_checks(checks))
    return 1 if broken else 0


def _measure(arguments: argparse.Namespace) -> int:
    """Measure what was asked for, the overhead or the ceilings or both, and print it."""
    document: dict[str, object] = {}
    if arguments.overhead:
        from virnuc_profiler.capture.overhead import measure_overhead
        from virnuc_profiler.capture.target import resolve_target
        from virnuc_profiler.cli.overhead_table import render_overhead

        overhead = measure_overhead(resolve_target(arguments.device))
        figures = {**asdict(overhead), "host_ns_per_batch": overhead.host_ns_per_batch}
        document = {"schema_version": "1.0", "overhead": figures}
        if not arguments.json:
            print(render_overhead(overhead), flush=True)
    if arguments.calibrate:
        calibration, path = _calibrate()
        found = asdict(calibration)
        document = {**document, "calibration": found} if document else found
        if not arguments.json:
            print("\n" if arguments.overhead else "", render_calibration(calibration, path), sep="")
    if arguments.json:
        print(json.dumps(document, indent=1))
    return 0


def _calibrate() -> tuple[Calibration, Path]:
    from virnuc_profiler.capture.calibration import TorchMeter, calibrate, resolve_calibration_target
    from virnuc_profiler.capture.calibration_store import save_calibration
    from virnuc_profiler.capture.hardware import capture_hardware_info

    target = resolve_calibration_target()
    hardware = capture_hardware_info()  # PyTorch is loaded by now, so its full version is known
    calibration = calibrate(
        target, TorchMeter(), driver_version=hardware["driver_version"], torch_version=hardware["torch_version"]
    )
    return calibration, save_calibration(calibration)


def render_calibration(calibration: Calibration, path: Path) -> str:
    """Return what was measured and where it is kept, as text."""
    columns = terminal_columns()
    lines = wrapped("", f"{calibration.name} ({calibration.uuid}), matrix products of 8,192 cubed:", columns)
    for ceiling in calibration.ceilings.values():
        sustained, first = (rate / 1e12 for rate in (ceiling.flops_per_second, ceiling.first_flops_per_second))
        clock = "" if ceiling.sm_clock_mhz is None else f" at {ceiling.sm_clock_mhz:,.0f} MHz"
        lines.append(f"  {ceiling.precision:<5} {sustained:>8,.1f} TFLOP/s sustained{clock}, {first:,.1f} at first")
    lines.append(f"  copy  {calibration.copy_bytes_per_second / 1e9:>8,.1f} GB/s within its memory (1 GB = 10^9 bytes)")
    lines += wrapped("", f"Kept in {path}; runs on this card, driver and PyTorch are measured against it.", columns)
    return "\n".join(lines)


def render_checks(checks: Sequence[Check], columns: int | None = None) -> str:
    """Return each check with the fix below where something is missing, wrapped under its own column.

    Args:
        checks: The checks.
        columns: Width of the text; None for that of the terminal, at most 120.
    """
    from virnuc_profiler.telemetry.values import printable  # needs NumPy, which --help does not

    width = max(len(check.name) for check in checks)
    columns = terminal_columns() if columns is None else columns
    lines = []
    for check in checks:
        start = f"{_MARKS[check.state]}  {check.name:<{width}}  "
        lines += wrapped(start, printable(check.found, _LONGEST), columns)
        if check.fix:
            lines += wrapped(" " * len(start), f"fix: {printable(check.fix, _LONGEST)}", columns)
    missing = sum(check.state == "missing" for check in checks)
    broken = sum(check.state == "broken" for check in checks)
    lines += ["", f"{len(checks) - missing - broken} ok, {missing} missing (--), {broken} broken (!!)"]
    return "\n".join(lines)
