# SPDX-License-Identifier: MIT
"""A reader for the SQLite files of ``nsys export --type sqlite``, from Nsight Systems 2022 to 2026."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from virnuc_profiler.analysis.nsys.gpu_records import (
    DEFAULT_DOMAIN,
    NAMELESS_DOMAIN,
    ApiCall,
    GpuCapture,
    GpuOperation,
    NvtxRange,
    process_of,
)
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.reports.sqlite_tables import Tables, open_tables

# Values of the exporter's ENUM_NSYS_EVENT_TYPE.
_PUSH_POP: Final = 59
_START_END: Final = 60
_DOMAIN_CREATE: Final = 75

_API_TABLES: Final = ("CUPTI_ACTIVITY_KIND_RUNTIME", "CUPTI_ACTIVITY_KIND_DRIVER")  # older exports use only RUNTIME
_UNKNOWN_ID: Final = -1
_PAYLOADS: Final = ("uint64Value", "int64Value", "uint32Value", "int32Value")


def read_nsys_export(path: str | os.PathLike[str]) -> GpuCapture:
    """Read the ranges, calls and operations of a capture.

    Args:
        path: File to read.

    Raises:
        TelemetryFormatError: The file cannot be read, is damaged, or is not an export of Nsight Systems.
    """
    path = Path(path)
    with open_tables(path) as tables:
        if "StringIds" not in tables:
            raise TelemetryFormatError(f"{path} is an SQLite file, but not an export of Nsight Systems")
        try:
            return _read(tables)
        except TelemetryFormatError as error:
            raise TelemetryFormatError(f"{path}: {error}") from error


def _read(tables: Tables) -> GpuCapture:
    strings: dict[int, str | None] = dict(tables.rows("StringIds", ("id",), texts=("value",)))
    ranges, crossing, unended = _ranges(tables, strings)
    meta = dict(tables.rows("META_DATA_EXPORT", texts=("name", "value")))
    epochs = [epoch for (epoch,) in tables.rows("TARGET_INFO_SESSION_START_TIME", optional=("utcEpochNs",))]
    operations = tuple(_operations(tables, strings))
    return GpuCapture(
        ranges=tuple(ranges),
        calls=tuple(_launching_calls(tables, operations)),
        operations=operations,
        tracer_version=meta.get("EXPORT_PRODUCT_VERSION"),
        utc_epoch_ns=epochs[0] if epochs else None,
        crossing_ranges=crossing,
        unended_ranges=unended,
    )


def _ranges(tables: Tables, strings: Mapping[int, str | None]) -> tuple[list[NvtxRange], int, int]:
    """Return the ranges of single threads, and the numbers of ranges that cross threads and that never ended."""
    events = list(
        tables.rows(
            "NVTX_EVENTS",
            ("start", "eventType"),
            ("end", "globalTid", "endGlobalTid", "domainId", "textId", *_PAYLOADS),
            ("text",),
        )
    )
    domains = {
        (process_of(thread), domain): _text(strings, text_id, text)
        for _, kind, _, thread, _, domain, text_id, *_, text in events
        if kind == _DOMAIN_CREATE and thread is not None and (text or text_id is not None)
    }
    ranges: list[NvtxRange] = []
    crossing = unended = 0
    for start, kind, end, thread, end_thread, domain, text_id, *values, text in events:
        if kind not in (_PUSH_POP, _START_END) or thread is None:
            continue
        if end is None:
            unended += 1
        elif end_thread is not None and end_thread != thread:
            crossing += 1
        else:
            payload = next((value for value in values if value is not None), None)
            domain_name = _domain_name(domains, thread, domain)
            ranges.append(NvtxRange(domain_name, _text(strings, text_id, text), payload, thread, start, end))
    return ranges, crossing, unended


def _domain_name(domains: Mapping[tuple[int, int], str], thread: int, domain: int | None) -> str:
    if not domain:
        return DEFAULT_DOMAIN
    # The name of a domain that was created before the capture began may be missing.
    return domains.get((process_of(thread), domain), f"{NAMELESS_DOMAIN}{domain}")


def _text(strings: Mapping[int, str | None], text_id: int | None, text: str | None) -> str:
    registered = None if text_id is None else strings.get(text_id)
    return registered or text or "(no name)"


def _launching_calls(tables: Tables, operations: Iterable[GpuOperation]) -> Iterator[ApiCall]:
    """Yield the calls that launched operations; most calls, such as queries and event records, did not."""
    launches: dict[int, set[int]] = defaultdict(set)  # by process: a set of pairs would need a tuple for each
    for operation in operations:
        launches[operation.process].add(operation.correlation)
    for table in _API_TABLES:
        for start, end, thread, correlation in tables.rows(table, ("start", "end"), ("globalTid", "correlationId")):
            if thread is not None and correlation in launches.get(process_of(thread), ()):
                yield ApiCall(thread, correlation, start, end)


def _operations(tables: Tables, strings: Mapping[int, str | None]) -> Iterator[GpuOperation]:
    for *where, demangled, short in _work(tables, "KERNEL", "demangledName", "shortName"):
        yield _operation(where, "kernel", strings.get(demangled) or strings.get(short) or "(no name)")
    copy_kinds = dict(tables.rows("ENUM_CUDA_MEMCPY_OPER", ("id",), texts=("label",)))
    for *where, copy_kind in _work(tables, "MEMCPY", "copyKind"):
        yield _operation(where, "memcpy", f"memcpy {copy_kinds.get(copy_kind) or f'of kind {copy_kind}'}")
    for row in _work(tables, "MEMSET"):
        yield _operation(row, "memset", "memset")
    for *where, graph in _work(tables, "GRAPH_TRACE", "graphId"):
        yield _operation(where, "graph", f"CUDA graph {graph}")


def _work(tables: Tables, kind: str, *more: str) -> Iterator[tuple[Any, ...]]:
    """Return the rows of one kind of operation: device, start, end, process, correlation, and further columns."""
    columns = ("globalPid", "correlationId", *more)
    return tables.rows(f"CUPTI_ACTIVITY_KIND_{kind}", ("deviceId", "start", "end"), columns)


def _operation(where: Sequence[Any], kind: str, name: str) -> GpuOperation:
    """Build an operation. Without process or correlation it gets ids that no call has."""
    device, start, end, process, correlation = where
    if process is None or correlation is None:
        process = correlation = _UNKNOWN_ID
    return GpuOperation(process, correlation, device, start, max(start, end), kind, name)
