# SPDX-License-Identifier: MIT
"""``virnuc-profiler doctor``: show what this machine can measure, what is missing, and the fix."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from virnuc_profiler.cli.arguments import DEVICES, device_name

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
    if arguments.overhead:
        return _overhead(arguments)
    if arguments.calibrate:
        return _calibrate(as_json=arguments.json)
    from virnuc_profiler.cli.checks import all_checks

    checks = all_checks(arguments.output_dir)
    broken = any(check.state == "broken" for check in checks)
    if arguments.json:
        print(
            json.dumps({"schema_version": "1.0", "works": not broken, "checks": [asdict(c) for c in checks]}, indent=1)
        )
    else:
        print(render_checks(checks))
    return 1 if broken else 0


def _overhead(arguments: argparse.Namespace) -> int:
    from virnuc_profiler.capture.overhead import measure_overhead
    from virnuc_profiler.capture.target import resolve_target
    from virnuc_profiler.cli.overhead_table import render_overhead

    overhead = measure_overhead(resolve_target(arguments.device))
    if arguments.json:
        figures = {**asdict(overhead), "host_ns_per_batch": overhead.host_ns_per_batch}
        print(json.dumps({"schema_version": "1.0", "overhead": figures}, indent=1))
    else:
        print(render_overhead(overhead))
    return 0


def _calibrate(*, as_json: bool) -> int:
    from virnuc_profiler.capture.calibration import TorchMeter, calibrate, resolve_calibration_target
    from virnuc_profiler.capture.calibration_store import save_calibration
    from virnuc_profiler.capture.hardware import capture_hardware_info

    target = resolve_calibration_target()
    hardware = capture_hardware_info()  # PyTorch is loaded by now, so its full version is known
    calibration = calibrate(
        target, TorchMeter(), driver_version=hardware["driver_version"], torch_version=hardware["torch_version"]
    )
    path = save_calibration(calibration)
    print(json.dumps(asdict(calibration), indent=1) if as_json else render_calibration(calibration, path))
    return 0


def render_calibration(calibration: Calibration, path: Path) -> str:
    """Return what was measured and where it is kept, as text."""
    lines = [f"{calibration.name} ({calibration.uuid}), matrix products of 8,192 cubed:"]
    for ceiling in calibration.ceilings.values():
        sustained, first = (rate / 1e12 for rate in (ceiling.flops_per_second, ceiling.first_flops_per_second))
        clock = "" if ceiling.sm_clock_mhz is None else f" at {ceiling.sm_clock_mhz:,.0f} MHz"
        lines.append(f"  {ceiling.precision:<5} {sustained:>8,.1f} TFLOP/s sustained{clock}, {first:,.1f} at first")
    lines.append(f"  copy  {calibration.copy_bytes_per_second / 1e9:>8,.1f} GB/s within its memory (1 GB = 10^9 bytes)")
    lines.append(f"Kept in {path}; runs on this card, driver and PyTorch are measured against it.")
    return "\n".join(lines)


def render_checks(checks: Sequence[Check]) -> str:
    """Return a line for each check, with the fix below where something is missing."""
    from virnuc_profiler.telemetry.values import printable  # needs NumPy, which --help does not

    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{_MARKS[check.state]}  {check.name:<{width}}  {printable(check.found, _LONGEST)}")
        if check.fix:
            lines.append(f"    {'':<{width}}  fix: {printable(check.fix, _LONGEST)}")
    missing = sum(check.state == "missing" for check in checks)
    broken = sum(check.state == "broken" for check in checks)
    lines += ["", f"{len(checks) - missing - broken} ok, {missing} missing (--), {broken} broken (!!)"]
    return "\n".join(lines)
