# SPDX-License-Identifier: MIT
"""The JSON documents that ``correlate`` writes. Times are in ns; None means not measured.

Long lists are iterators: `telemetry.files` writes their entries one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any, Final, TypeVar

from virnuc_profiler.analysis.nsys.correlation import Correlation, StageComparison, StageCorrelation
from virnuc_profiler.analysis.nsys.gpu_capture import GpuCapture
from virnuc_profiler.analysis.nsys.gpu_work import GpuWork
from virnuc_profiler.analysis.nsys.operator_totals import OperatorTotals, SelfTimes, divide_self_time
from virnuc_profiler.analysis.nsys.projection import Projection
from virnuc_profiler.analysis.nsys.totals import DeviceTotal, RangeTotal, RangeTotals
from virnuc_profiler.telemetry.run_result import RunResult

_T = TypeVar("_T")

CORRELATION_KIND: Final = "virnuc_profiler correlation"
SCHEMA_VERSION: Final = "1.1"
"""1.1 added `gpu_work` and `warnings`; later `operators` and `self_times`, which older readers ignore."""


def run_document(
    run: RunResult, correlation: Correlation, capture: dict[str, Any], work: GpuWork, warnings: Sequence[str]
) -> dict[str, Any]:
    """Return the document of a run and its capture: counts, totals and agreement by stage, and every batch.

    Args:
        run: The run.
        correlation: Comparison of the run with its capture.
        capture: Description of the capture, from :func:`capture_document`.
        work: GPU work of the capture, divided by the ranges of the stages.
        warnings: Warnings about the capture.
    """
    return {
        "kind": CORRELATION_KIND,
        "schema_version": SCHEMA_VERSION,
        "capture": capture,
        "run": {
            "run_id": run.run_id,
            "started_at": run.started_at,
            "device": run.device.name,
            "alignment_uncertainty_ns": run.device.alignment_uncertainty_ns,
        },
        "batches": {
            "in_run": correlation.batches_in_run,
            "in_capture": correlation.batches_in_capture,
            "matched": correlation.batches_matched,
        },
        "clock": None if correlation.clock is None else asdict(correlation.clock),
        "busy": None if correlation.busy is None else asdict(correlation.busy),
        "gpu_work": asdict(work),
        "warnings": list(warnings),
        "stages": [_stage(stage) for stage in correlation.stages],
    }


def ranges_document(
    totals: RangeTotals,
    operators: OperatorTotals,
    devices: Sequence[DeviceTotal],
    capture: dict[str, Any],
    work: GpuWork,
    warnings: Sequence[str],
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Return the document of a capture of any program: totals by range name and by device, and every range.

    Args:
        totals: Totals by range name.
        operators: Totals by operator.
        devices: Totals by device.
        capture: Description of the capture, from :func:`capture_document`.
        work: GPU work of the capture, divided by the ranges.
        warnings: Warnings about the capture.
        progress: Receives a few words on what is being written, many times.
    """
    return {
        "kind": CORRELATION_KIND,
        "schema_version": SCHEMA_VERSION,
        "capture": capture,
        "run": None,
        "devices": [_total(total) for total in devices],
        "gpu_work": asdict(work),
        "warnings": list(warnings),
        "self_times": _self_times(divide_self_time(operators, 0)),
        "operators": map(asdict, operators),
        "ranges": _counted(map(_total, totals), "names", progress),
        "projections": _counted(map(_range, totals.work.projections), "ranges", progress),
    }


def capture_document(path: str, capture: GpuCapture) -> dict[str, Any]:
    """Return a description of a capture: its origin, its size, and how many ranges were left out.

    Args:
        path: Path of the file, as the user gave it.
        capture: The capture.
    """
    return {
        "path": path,
        "nsys_version": capture.tracer_version,
        "utc_epoch_ns": capture.utc_epoch_ns,
        "ranges": len(capture.ranges),
        "operations": len(capture.operations),
        "crossing_ranges": capture.crossing_ranges,
        "unended_ranges": capture.unended_ranges,
    }


def _self_times(times: SelfTimes) -> dict[str, Any]:
    """Return the GPU time of each device, in the ranges shown, in others only, and in no range."""
    return {
        "devices": list(times.devices),
        "ranges_ns": times.more_operators.tolist(),
        "other_ranges_ns": times.other_ranges.tolist(),
        "no_range_ns": times.no_range.tolist(),
        "all_ns": times.all.tolist(),
    }


def _counted(entries: Iterable[_T], what: str, progress: Callable[[str], None]) -> Iterator[_T]:
    for number, entry in enumerate(entries):
        if number % 1000 == 0:
            progress(f"writing {what}, {number:,} so far")
        yield entry


def _stage(stage: StageCorrelation) -> dict[str, Any]:
    return {
        "name": stage.name,
        "counts": asdict(stage.counts),
        "gpu": _total(stage.total),
        "median_device_ns": stage.median_device_ns,
        "agreement": None if stage.agreement is None else asdict(stage.agreement),
        "batches": map(_comparison, stage.batches),
    }


def _total(total: RangeTotal | DeviceTotal) -> dict[str, Any]:
    """Convert field by field; ``asdict`` copies deeply and takes a second for 16,000 names."""
    document = {field.name: getattr(total, field.name) for field in fields(total)}
    return {**document, "kernels": [asdict(kernel) for kernel in total.kernels]}


def _range(projection: Projection) -> dict[str, Any]:
    return {**projection.range._asdict(), "gpu": _projection(projection)}


def _comparison(comparison: StageComparison) -> dict[str, Any]:
    return {
        "batch": comparison.batch,
        "host_ns": comparison.host_ns,
        "device_ns": comparison.device_ns,
        "gpu": _projection(comparison.projection),
        "difference_ns": comparison.difference_ns,
        "start_difference_ns": comparison.start_difference_ns,
        "end_difference_ns": comparison.end_difference_ns,
        "clock_offset_ns": comparison.clock_offset_ns,
        "agrees": comparison.agrees,
    }


def _projection(projection: Projection) -> dict[str, Any] | None:
    """Return None for a range that launched nothing, because it has no GPU times."""
    if not projection.operations:
        return None
    return {
        "operations": len(projection.operations),
        "total_ns": projection.total_ns,
        "kernel_ns": projection.kernel_ns,
        "busy_ns": projection.busy_ns,
        "gpu_start_ns": projection.start_ns,
        "gpu_end_ns": projection.end_ns,
        "span_ns": projection.span_ns,
        "idle_ns": projection.idle_ns,
        "gaps": projection.gaps,
        "longest_gap_ns": projection.longest_gap_ns,
        "launch_delay_ns": projection.launch_delay_ns,
        "devices": list(projection.devices),
    }
