# SPDX-License-Identifier: MIT
"""``virnuc-profiler doctor``: show what this machine can measure, what is missing, and the fix."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from virnuc_profiler.cli.heartbeat import Heartbeat
from virnuc_profiler.cli.options.arguments import DEVICES, device_name, file_path
from virnuc_profiler.cli.options.target_options import target_of_text
from virnuc_profiler.cli.terminal import say, terminal_width
from virnuc_profiler.errors import UsageError
from virnuc_profiler.reports.columns import filled

if TYPE_CHECKING:
    from virnuc_profiler.capture.calibration import Calibration
    from virnuc_profiler.capture.device_checks import Check
    from virnuc_profiler.capture.overhead import Overhead

_LONGEST: Final = 1000
_EXAMPLE_BATCH_MS: Final = 10.0
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
        metavar=DEVICES,
        help="device of --overhead or --target (default: auto)",
    )
    parser.add_argument(
        "--target",
        type=target_of_text,
        metavar="NAME",
        help="make a target, which may load its model, and show what it says of itself, instead of the checks",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--output-dir", type=file_path, metavar="DIR", help="folder that must be writable (default: .)")
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="measure and keep this GPU's ceilings (about 20 s), instead of the checks, so that reports show the MFU",
    )
    parser.add_argument("--debug", action="store_true", help="log everything, and show tracebacks")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; return 1 if a part without which nothing works is broken."""
    measures = arguments.overhead or arguments.calibrate
    if arguments.device is not None and not (arguments.overhead or arguments.target):
        raise UsageError("--device has no effect without --overhead or --target: leave it out")
    if arguments.target is not None and measures:
        raise UsageError("--target has no effect with --overhead or --calibrate: leave it out")
    if arguments.output_dir is not None and (measures or arguments.target):
        raise UsageError("--output-dir has no effect with --overhead, --calibrate or --target: leave it out")
    if measures:
        return _measure(arguments)
    checks = _checks_of_target(arguments) if arguments.target else _checks_of_machine(arguments)
    broken = any(check.state == "broken" for check in checks)
    if arguments.json:
        print(
            json.dumps({"schema_version": "1.0", "works": not broken, "checks": [asdict(c) for c in checks]}, indent=1)
        )
    else:
        print(render_checks(checks))
    return 1 if broken else 0


def _checks_of_machine(arguments: argparse.Namespace) -> Sequence[Check]:
    from virnuc_profiler.cli.options.checks import all_checks

    return all_checks(arguments.output_dir or Path())


def _checks_of_target(arguments: argparse.Namespace) -> Sequence[Check]:
    from virnuc_profiler.cli.options.measurement_request import resolve_device_here
    from virnuc_profiler.cli.options.target_checks import target_checks
    from virnuc_profiler.targets.contract import TargetOptions

    with Heartbeat(f"making {arguments.target}"):
        device = str(resolve_device_here(arguments.device or "auto", {}))
        return list(target_checks(arguments.target, TargetOptions(device)))


def _measure(arguments: argparse.Namespace) -> int:
    """Measure what was asked for, the overhead or the ceilings or both, and print it."""
    document: dict[str, object] = {}
    if arguments.overhead:
        from virnuc_profiler.capture.overhead import measure_overhead
        from virnuc_profiler.capture.target import resolve_target

        with Heartbeat("measuring the cost of profiling"):
            overhead = measure_overhead(resolve_target(arguments.device or "auto"))
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
    say("Measuring the ceilings of this GPU, about 20 s ...")
    with Heartbeat("measuring the ceilings of this GPU"):
        calibration = calibrate(
            target, TorchMeter(), driver_version=hardware["driver_version"], torch_version=hardware["torch_version"]
        )
    return calibration, save_calibration(calibration)


def render_overhead(overhead: Overhead) -> str:
    """Return a line for each cost, and their sum in a batch of a usual size."""
    from virnuc_profiler.capture.overhead import CALLS_PER_BATCH
    from virnuc_profiler.reports.figures import NOT_MEASURED

    batch_ns = overhead.host_ns_per_batch
    sampling = overhead.sampling_cpu
    lines = {
        "A mark (ends a stage, starts the next)": _ns(overhead.mark_ns),
        "  without NVTX": _ns(overhead.mark_without_nvtx_ns),
        "  without device events": _ns(overhead.mark_without_device_ns),
        "A stage as a context manager": _ns(overhead.scope_ns),
        "Beginning and ending a batch": _ns(overhead.batch_ns),
        f"A batch of the runner ({CALLS_PER_BATCH} marks)": (
            f"{_ns(batch_ns)}, {batch_ns / 1e4 / _EXAMPLE_BATCH_MS:.3f}% of a batch of {_EXAMPLE_BATCH_MS:g} ms"
        ),
        "Sampling threads at default rates": (
            f"{NOT_MEASURED} ({overhead.sampling_reason})" if sampling is None else f"{sampling:.2%} of one core"
        ),
    }
    width = max(map(len, lines))
    title = f"Host time that profiling costs on {overhead.device}"
    columns, indent = terminal_width(), " " * (width + 2)
    rows = [row for name, value in lines.items() for row in filled(f"{name:<{width}}  {value}", columns, indent)]
    return "\n".join([title, "=" * len(title), *rows])


def _ns(value: float) -> str:
    return f"{value:,.0f} ns"


def render_calibration(calibration: Calibration, path: Path) -> str:
    """Return what was measured and where it is kept, as text."""
    columns = terminal_width()
    lines = filled(f"{calibration.name} ({calibration.uuid}), matrix products of 8,192 cubed:", columns)
    for ceiling in calibration.ceilings.values():
        sustained, first = (rate / 1e12 for rate in (ceiling.flops_per_second, ceiling.first_flops_per_second))
        clock = "" if ceiling.sm_clock_mhz is None else f" at {ceiling.sm_clock_mhz:,.0f} MHz"
        lines.append(f"  {ceiling.precision:<5} {sustained:>8,.1f} TFLOP/s sustained{clock}, {first:,.1f} at first")
    lines.append(f"  copy  {calibration.copy_bytes_per_second / 1e9:>8,.1f} GB/s within its memory (1 GB = 10^9 bytes)")
    lines += filled(f"Kept in {path}; runs on this card, driver and PyTorch are measured against it.", columns)
    return "\n".join(lines)


def render_checks(checks: Sequence[Check], columns: int | None = None) -> str:
    """Return each check with the fix below where something is missing, wrapped under its own column.

    Args:
        checks: The checks.
        columns: Width of the text; None for that of the terminal.
    """
    from virnuc_profiler.telemetry.values import printable  # needs NumPy, which --help does not

    width = max(len(check.name) for check in checks)
    columns = terminal_width() if columns is None else columns
    lines = []
    for check in checks:
        start = f"{_MARKS[check.state]}  {check.name:<{width}}  "
        indent = " " * len(start)
        lines += filled(f"{start}{printable(check.found, _LONGEST)}".rstrip(), columns, indent)
        if check.fix:
            lines += filled(f"{indent}fix: {printable(check.fix, _LONGEST)}", columns, indent)
    missing = sum(check.state == "missing" for check in checks)
    broken = sum(check.state == "broken" for check in checks)
    lines += ["", f"{len(checks) - missing - broken} ok, {missing} missing (--), {broken} broken (!!)"]
    return "\n".join(lines)
