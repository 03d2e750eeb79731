# SPDX-License-Identifier: MIT
"""The tracks that a trace shows of one run: host, device, readings of the GPU, start-up, and idle time with its causes.

A saved run names stages, not threads and streams. Stages of the loop follow each other on its thread; ``collate`` is
the work of the loader beside it. On the device, copies to and from it and all other stages are three tracks, since
pipelines copy on streams of their own. Stages of one track that overlap are shown in rows below each other. Names are
chosen so that tracks that belong together stay so in Perfetto's UI, which sorts those of a process by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from virnuc_profiler.analysis.diagnosis.bottlenecks import LABELS, LEAD_IN, TAIL
from virnuc_profiler.analysis.timeline.idle_causes import IDLE_CAUSES, idle_time
from virnuc_profiler.analysis.timeline.sampled_curves import gpu_curves, throttling
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.reports.export.trace_tracks import CounterTrack, Slices, SliceTrack, TraceProcess
from virnuc_profiler.telemetry.batch_table import HAS_PACKING, BatchTable
from virnuc_profiler.telemetry.run_result import RunResult
from virnuc_profiler.telemetry.stage_columns import Column, Mask, StageColumns

_COLLATE: Final = frozenset({"collate"})
_COPIES: Final = ("h2d", "d2h")
_MAX_CONFIGURATION: Final = 32


def trace_process(
    run: RunResult, name: str, *, rank: int = 0, later_ns: int = 0, partial: bool = False
) -> TraceProcess:
    """Return what a trace shows of a run.

    Args:
        run: The run.
        name: Name of the process in the trace.
        rank: Number of the run in the trace, which tells its arrows from those of other runs.
        later_ns: Time to add to all times of the run, so that runs of several machines have one clock.
        partial: Whether the run is a part, before and after which the device worked on other batches.
    """
    tracks = (_moved(track, later_ns) for track in _tracks(run, rank, partial))
    return TraceProcess(name, tracks, _earliest_ns(run) + later_ns, run.device.name)


def _tracks(run: RunResult, rank: int, partial: bool) -> Iterator[SliceTrack | CounterTrack]:
    yield _run_track(run)
    yield from _start_up_tracks(run)
    yield from _host_tracks(run.batches, rank)
    yield from _device_tracks(run.batches, rank)
    yield from _idle_tracks(run, partial)
    yield from _batch_tracks(run.batches)
    yield from _throttling_tracks(run)
    yield from _stop_tracks(run)
    yield from _counter_tracks(run)


def _earliest_ns(run: RunResult) -> int:
    stages, record = run.batches.stages, run.start_up
    device = stages.device_start_ns[stages.on_device]
    columns = (run.batches.columns["host_start_ns"], stages.host_start_ns, device)
    moments = [int(starts.min()) for starts in columns if len(starts)]
    moments += [stop.start_ns for stop in run.stops or ()]
    if record is not None:
        moments += [part.start_ns for part in record.parts]
        moments += [] if record.process_start_ns is None else [record.process_start_ns]
    return min([run.host_start_ns, *moments])


def _moved(track: SliceTrack | CounterTrack, later_ns: int) -> SliceTrack | CounterTrack:
    if not later_ns:
        return track
    if isinstance(track, CounterTrack):
        return CounterTrack(track.name, track.unit, track.at_ns + later_ns, track.values)
    own = track.slices
    moved = Slices(own.start_ns + later_ns, own.end_ns + later_ns, own.names, own.name, own.arguments, own.flow)
    return SliceTrack(track.name, moved, track.facts, track.thread)


def run_facts(run: RunResult) -> Mapping[str, str]:
    """Return what a reader of a trace or table should know of the run: how it was made, and what was not measured.

    Args:
        run: The run.
    """
    metadata, device = run.metadata, run.device
    facts = {
        "run id": run.run_id,
        "started at": run.started_at,
        "device": device.name,
        "device times": "measured" if device.timed else f"not measured: {device.reason}",
    }
    if device.timed and device.reason:
        facts["device times end early"] = device.reason
    if device.dropped_batches:
        facts["batches without all device times"] = f"{device.dropped_batches:,}"
    if device.alignment_uncertainty_ns is not None:
        facts["error of device times on the host's clock"] = f"{device.alignment_uncertainty_ns / 1e3:,.1f} us"
    if run.gpu is None:
        facts["GPU readings"] = f"none: {device.sampling_reason or 'not sampled'}"
    for key in ("status", "model_name", "precision", "attention_backend"):
        if isinstance(value := metadata.get(key), str):
            facts[key.replace("_", " ")] = value
    if isinstance(configuration := metadata.get("config"), Mapping):
        facts |= {str(key): str(value) for key, value in list(configuration.items())[:_MAX_CONFIGURATION]}
    return facts


def _run_track(run: RunResult) -> SliceTrack:
    return SliceTrack("run", _intervals([("run", (run.host_start_ns, run.host_end_ns))]), run_facts(run))


def _intervals(named: list[tuple[str, Interval]]) -> Slices:
    names = list(dict.fromkeys(name for name, _ in named))
    return Slices(
        np.array([start for _, (start, _) in named], np.int64),
        np.array([end for _, (_, end) in named], np.int64),
        names,
        np.array([names.index(name) for name, _ in named], np.int64),
    )


def _start_up_tracks(run: RunResult) -> Iterator[SliceTrack]:
    record = run.start_up
    if record is None:
        return
    named = [(LABELS.get(part.name, part.name), (part.start_ns, part.end_ns)) for part in record.parts]
    if record.first_run and record.process_start_ns is not None:
        named.append(("process before the run", (record.process_start_ns, run.host_start_ns)))
    if named:
        yield SliceTrack("start-up", _intervals(named))


def _host_tracks(batches: BatchTable, rank: int) -> Iterator[SliceTrack]:
    stages = batches.stages
    collating = stages.named(_COLLATE)
    rows, beside = np.flatnonzero(~collating), np.flatnonzero(collating)
    if len(rows):  # stages without a device interval have numbers that no slice shares, and so no arrow
        slices = _stage_slices(batches, stages, rows, stages.host_start_ns, stages.host_end_ns)
        yield SliceTrack("loop", _with_flow(slices, _flow(stages, rank)[rows]), thread=True)
    if len(beside):
        slices = _stage_slices(batches, stages, beside, stages.host_start_ns, stages.host_end_ns)
        yield SliceTrack("collating", slices)


def _device_tracks(batches: BatchTable, rank: int) -> Iterator[SliceTrack]:
    stages = batches.stages
    flow = _flow(stages, rank)
    copies = {name: stages.named({name}) for name in _COPIES}
    other = ~np.logical_or.reduce(list(copies.values()))
    for name, chosen in (
        ("CUDA stream h2d", copies["h2d"]),
        ("CUDA stream", other),
        ("CUDA stream d2h", copies["d2h"]),
    ):
        rows = np.flatnonzero(chosen & stages.on_device)
        if len(rows):
            slices = _stage_slices(batches, stages, rows, stages.device_start_ns, stages.device_end_ns)
            yield SliceTrack(name, _with_flow(slices, flow[rows]))


def _flow(stages: StageColumns, rank: int) -> Column:
    """Return the number of the arrow from each stage's launch to its execution."""
    return np.arange(1, len(stages) + 1) + (rank << 40)


def _with_flow(slices: Slices, flow: Column) -> Slices:
    return Slices(slices.start_ns, slices.end_ns, slices.names, slices.name, slices.arguments, flow)


def _stage_slices(batches: BatchTable, stages: StageColumns, rows: Column, starts: Column, ends: Column) -> Slices:
    index = batches.columns["index"][stages.batch[rows]]
    arguments = {"batch": index} if np.all(index >= 0) else {}
    return Slices(starts[rows], ends[rows], stages.names, stages.name[rows], arguments)


def _idle_tracks(run: RunResult, partial: bool) -> Iterator[SliceTrack]:
    idle = idle_time(run)
    if not len(idle.gap):
        return
    until = np.cumsum(idle.cause_ns)
    before = until - idle.cause_ns
    first = np.searchsorted(idle.gap, np.arange(len(idle.start_ns)))
    starts = idle.start_ns[idle.gap] + before - before[first[idle.gap]]
    names = [LABELS.get(cause, cause) for cause in IDLE_CAUSES]
    slices = Slices(starts, starts + idle.cause_ns, names, idle.cause)
    if partial:
        ends = [IDLE_CAUSES.index(cause) for cause in (LEAD_IN, TAIL)]
        slices = slices[~np.isin(idle.cause, ends)]
    yield SliceTrack("CUDA streams: outside of stages", slices)


def _batch_tracks(batches: BatchTable) -> Iterator[SliceTrack]:
    columns, packed = batches.columns, batches.flagged(HAS_PACKING)
    for chosen in (packed, ~packed):
        if np.any(chosen):
            yield SliceTrack("batches in flight", _batch_slices(columns, np.flatnonzero(chosen), packed))


def _batch_slices(columns: Mapping[str, Column], rows: Column, packed: Mask) -> Slices:
    labels = {"batch": "index"}
    if packed[rows[0]]:
        labels |= {
            "sequences": "sequences",
            "tokens": "tokens",
            "longest": "max_length",
            "token budget": "token_budget",
        }
    arguments = {label: columns[field][rows] for label, field in labels.items()}
    return Slices(
        columns["host_start_ns"][rows],
        columns["host_end_ns"][rows],
        ["batch"],
        np.zeros(len(rows), np.int64),
        {label: values for label, values in arguments.items() if np.all(values >= 0)},
    )


def _throttling_tracks(run: RunResult) -> Iterator[SliceTrack]:
    for found in throttling(run.gpu, (run.host_start_ns, run.host_end_ns)):
        named = [(found.reason, interval) for interval in found.intervals]
        if named:
            yield SliceTrack(f"GPU clocks lowered: {found.reason}", _intervals(named))


def _stop_tracks(run: RunResult) -> Iterator[SliceTrack]:
    named = [(f"{stop.what} stopped", (stop.start_ns, stop.end_ns)) for stop in run.stops or ()]
    if named:
        yield SliceTrack("stopped", _intervals(named))


def _counter_tracks(run: RunResult) -> Iterator[CounterTrack]:
    for curve in gpu_curves(run.gpu, (run.host_start_ns, run.host_end_ns)):
        yield CounterTrack(f"GPU {curve.quantity.label}", curve.quantity.unit, curve.start_ns, curve.values)
