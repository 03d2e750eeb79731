# SPDX-License-Identifier: MIT
"""A reader for the SQLite files of ``nsys export --type sqlite``, from Nsight Systems 2022 to 2026.

Rows become columns some thousands at a time, so that reading takes little more memory than the capture that it returns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from virnuc_profiler.analysis.nsys.gpu_capture import KINDS, UNKNOWN_ID, Calls, Codes, GpuCapture, Operations, Ranges
from virnuc_profiler.analysis.nsys.gpu_records import DEFAULT_DOMAIN, NAMELESS_DOMAIN, process_of
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.reports.captures.export_names import NO_NAME, Names
from virnuc_profiler.reports.captures.sqlite_tables import Tables, open_tables
from virnuc_profiler.telemetry.stage_columns import NOT_MEASURED, Column, Mask

# Values of the exporter's ENUM_NSYS_EVENT_TYPE.
_PUSH_POP: Final = 59
_START_END: Final = 60
_DOMAIN_CREATE: Final = 75

_API_TABLES: Final = ("CUPTI_ACTIVITY_KIND_RUNTIME", "CUPTI_ACTIVITY_KIND_DRIVER")  # older exports use only RUNTIME
NO_TEXT: Final = "(no name)"
"""Name of what has none."""

_WORK_TABLES: Final = ("KERNEL", "MEMCPY", "MEMSET", "GRAPH_TRACE")
_WORK_COLUMNS: Final = (("demangledName", "shortName"), ("copyKind",), (), ("graphId",))
"""Columns that name an operation. Like the tables, they are in the order of `KINDS`."""

_PAYLOADS: Final = ("uint64Value", "int64Value", "uint32Value", "int32Value")

_MAX_NS: Final = 2**61
"""Limit of times, and of the sum of durations: 73 years. With larger ones, sums might not fit into 64 bits."""

Progress = Callable[[str], None]
"""Receives a few words on what is being done."""


def read_nsys_export(path: str | os.PathLike[str], progress: Progress = lambda _: None) -> GpuCapture:
    """Read the ranges, calls and operations of a capture.

    Args:
        path: File to read.
        progress: Called many times while the file is read.

    Raises:
        TelemetryFormatError: The file cannot be read, is damaged, or is not an export of Nsight Systems.
    """
    path = Path(path)
    with open_tables(path) as tables:
        if "StringIds" not in tables:
            raise TelemetryFormatError(f"{path} is an SQLite file, but not an export of Nsight Systems")
        try:
            return _read(tables, progress)
        except TelemetryFormatError as error:
            raise TelemetryFormatError(f"{path}: {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class _Events:
    """Rows of the table of events that are ranges, as columns, and what else it contains.

    Attributes:
        ranges: Start, end, thread, domain, payload, and id of the name.
        text: Code of the text in the row.
        domains: Process, domain, id of the name, and code of the text for each domain that was named.
        crossing: Number of ranges that end on another thread.
        unended: Number of ranges without an end.
    """

    ranges: list[Column]
    text: Codes
    domains: list[Column]
    crossing: int
    unended: int


def _read(tables: Tables, progress: Progress) -> GpuCapture:
    meta = dict(tables.rows("META_DATA_EXPORT", texts=("name", "value")))
    epochs = [epoch for (epoch,) in tables.rows("TARGET_INFO_SESSION_START_TIME", optional=("utcEpochNs",))]
    names = Names()
    events = _read_events(tables, names, progress)
    work = [_read_work(tables, number, progress) for number in range(len(KINDS))]
    names.expect([events.ranges[5], events.domains[2], *work[0][5:]])
    for (ids,), (words,) in _chunks(tables, progress, "StringIds", ("id",), texts=("value",)):
        names.register(ids, words)
    domain, name = _domain_codes(events, names), _name_codes(events, names)
    work_names = [_operation_codes(tables, names, number, columns[5:]) for number, columns in enumerate(work)]
    texts, counts = names.texts, (events.crossing, events.unended)
    start_ns, end_ns, thread, _, payload, _ = events.ranges
    del names, events
    ranges = Ranges(texts, domain, name, payload, thread, start_ns, end_ns)
    operations = _operations(texts, work, work_names)
    calls = _launching_calls(tables, operations, progress)
    version, epoch = meta.get("EXPORT_PRODUCT_VERSION"), epochs[0] if epochs else None
    return GpuCapture(ranges, calls, operations, version, epoch, *counts)


def _chunks(
    tables: Tables,
    progress: Progress,
    table: str,
    integers: Sequence[str],
    optional: Sequence[str] = (),
    texts: Sequence[str] = (),
) -> Iterator[tuple[list[Column], list[tuple[str | None, ...]]]]:
    """Yield the rows of a table as columns, and say how many have been read."""
    rows = 0
    for columns, words in tables.chunks(table, integers, optional, texts):
        yield columns, words
        rows += len(columns[0])
        progress(f"reading {table}, {rows:,} rows so far")


def _read_events(tables: Tables, names: Names, progress: Progress) -> _Events:
    ranges, texts, domains = [[np.empty(0, np.int64)] * 6], [np.empty(0, np.int32)], [[np.empty(0, np.int64)] * 4]
    crossing = unended = 0
    optional = ("end", "globalTid", "endGlobalTid", "domainId", "textId", *_PAYLOADS)
    for columns, (words,) in _chunks(tables, progress, "NVTX_EVENTS", ("start", "eventType"), optional, ("text",)):
        start, kind, end, thread, end_thread, domain, text_id, *payloads = columns
        text = names.codes(words)
        named = (kind == _DOMAIN_CREATE) & (thread != NOT_MEASURED) & ((text_id != NOT_MEASURED) | (text != NO_NAME))
        domains.append([column[named] for column in (process_of(thread), domain, text_id, text)])
        candidate = ((kind == _PUSH_POP) | (kind == _START_END)) & (thread != NOT_MEASURED)
        ended = end != NOT_MEASURED
        crosses = (end_thread != NOT_MEASURED) & (end_thread != thread)
        unended += int((candidate & ~ended).sum())
        crossing += int((candidate & ended & crosses).sum())
        chosen = candidate & ended & ~crosses
        payload = payloads[0]
        for other in payloads[1:]:
            payload = np.where(payload == NOT_MEASURED, other, payload)
        ranges.append([column[chosen] for column in (start, end, thread, domain, payload, text_id)])
        texts.append(text[chosen])
    columns = _joined(ranges)
    _require_times("NVTX_EVENTS", *columns[:2])
    return _Events(columns, np.concatenate(texts), _joined(domains), crossing, unended)


def _name_codes(events: _Events, names: Names) -> Codes:
    """Return the code of each range's name: the registered one, or else the one in its row."""
    registered = names.registered(events.ranges[5])
    found = np.where(registered == NO_NAME, events.text, registered)
    return np.where(found == NO_NAME, np.int32(names.code(NO_TEXT)), found)


def _domain_codes(events: _Events, names: Names) -> Codes:
    """Return the code of each range's domain, whose number belongs to its process."""
    process, number, text_id, text = events.domains
    registered = names.registered(text_id)
    created = np.where(registered == NO_NAME, text, registered)
    created[created == NO_NAME] = names.code(NO_TEXT)
    known = dict(zip(zip(process.tolist(), number.tolist(), strict=True), created.tolist(), strict=True))
    _, _, thread, domain, _, _ = events.ranges
    processes, of_process = np.unique(process_of(thread), return_inverse=True)
    numbers, of_number = np.unique(domain, return_inverse=True)
    pairs, of_pair = np.unique(of_process.reshape(-1) * len(numbers) + of_number.reshape(-1), return_inverse=True)
    codes = [
        _domain_code((int(processes[pair // len(numbers)]), int(numbers[pair % len(numbers)])), known, names)
        for pair in pairs.tolist()
    ]
    found: Codes = np.array(codes, np.int32)[of_pair.reshape(-1)]
    return found


def _domain_code(domain: tuple[int, int], known: Mapping[tuple[int, int], int], names: Names) -> int:
    _, number = domain
    if number in (0, NOT_MEASURED):
        return names.code(DEFAULT_DOMAIN)
    # The name of a domain that was created before the capture began may be missing.
    return known[domain] if domain in known else names.code(f"{NAMELESS_DOMAIN}{number}")


def _read_work(tables: Tables, number: int, progress: Progress) -> list[Column]:
    """Return the columns of one kind of operation: device, start, end, process, correlation, and those of its name."""
    optional = ("globalPid", "correlationId", *_WORK_COLUMNS[number])
    parts = [[np.empty(0, np.int64)] * (3 + len(optional))]
    table = f"CUPTI_ACTIVITY_KIND_{_WORK_TABLES[number]}"
    parts += (columns for columns, _ in _chunks(tables, progress, table, ("deviceId", "start", "end"), optional))
    columns = _joined(parts)
    columns[2] = np.maximum(columns[1], columns[2])
    _require_times(table, columns[1], columns[2])
    return columns


def _operation_codes(tables: Tables, names: Names, number: int, columns: Sequence[Column]) -> Codes:
    """Return the codes of the operations' names; a single code if all have the same name."""
    if KINDS[number] == "memset":
        return np.array([names.code("memset")], np.int32)
    if KINDS[number] == "kernel":
        demangled, short = map(names.registered, columns)
        found = np.where(demangled == NO_NAME, short, demangled)
        return np.where(found == NO_NAME, np.int32(names.code(NO_TEXT)), found)
    labels = dict(tables.rows("ENUM_CUDA_MEMCPY_OPER", ("id",), texts=("label",)))
    values, of_value = np.unique(columns[0], return_inverse=True)
    codes = []
    for value in values.tolist():
        shown = "unknown" if value == NOT_MEASURED else value
        copy = f"memcpy {labels.get(value) or f'of kind {shown}'}"
        codes.append(names.code(copy if KINDS[number] == "memcpy" else f"CUDA graph {shown}"))
    codes_of_rows: Codes = np.array(codes, np.int32)[of_value.reshape(-1)]
    return codes_of_rows


def _operations(names: Sequence[str], work: Sequence[Sequence[Column]], codes: Sequence[Codes]) -> Operations:
    """Join all kinds. Operations without process or correlation get ids that no call has."""
    counts = [len(columns[0]) for columns in work]
    device, start_ns, end_ns, process, correlation = _joined([list(columns[:5]) for columns in work])
    unknown = (process == NOT_MEASURED) | (correlation == NOT_MEASURED)
    process[unknown] = correlation[unknown] = UNKNOWN_ID
    kind = np.repeat(np.arange(len(KINDS), dtype=np.int32), counts)
    name = np.concatenate([np.resize(code, n) for code, n in zip(codes, counts, strict=True)])
    if float(np.subtract(end_ns, start_ns, dtype=np.float64).sum()) >= _MAX_NS:
        raise TelemetryFormatError(f"its GPU operations take {_MAX_NS / 1e9:,.0f} s or more in all; it is damaged")
    return Operations(names, process, correlation, device, start_ns, end_ns, kind, name)


def _launching_calls(tables: Tables, operations: Operations, progress: Progress) -> Calls:
    """Return the calls that launched operations; most calls, such as queries and event records, did not."""
    processes, correlations = np.unique(operations.process), np.unique(operations.correlation)

    def key(process: Column, correlation: Column) -> Column:
        at = np.searchsorted(processes, process), np.searchsorted(correlations, correlation)
        known = _found(processes, at[0], process) & _found(correlations, at[1], correlation)
        return np.where(known, at[0] * len(correlations) + at[1], -1)

    launches = np.unique(key(operations.process, operations.correlation))
    parts = [[np.empty(0, np.int64)] * 4]
    for table in _API_TABLES if len(launches) else ():
        columns = ("globalTid", "correlationId")
        for (start, end, thread, correlation), _ in _chunks(tables, progress, table, ("start", "end"), columns):
            called = key(process_of(thread), correlation)
            chosen = (thread != NOT_MEASURED) & _found(launches, np.searchsorted(launches, called), called)
            parts.append([column[chosen] for column in (thread, correlation, start, end)])
    thread, correlation, start_ns, end_ns = _joined(parts)
    _require_times("CUPTI_ACTIVITY_KIND_RUNTIME", start_ns, end_ns)
    return Calls(thread, correlation, start_ns, end_ns)


def _joined(parts: list[list[Column]]) -> list[Column]:
    """Join the parts of each column. The list becomes empty, so that one column at a time is in memory twice."""
    columns = [list(chunks) for chunks in zip(*parts, strict=True)]
    parts.clear()
    return [np.concatenate(columns.pop(0)) for _ in range(len(columns))]


def _found(ordered: Column, at: Column, values: Column) -> Mask:
    """Return which values occur at their positions in an ordered column."""
    found: Mask = ordered[np.minimum(at, len(ordered) - 1)] == values
    return found


def _require_times(table: str, *columns: Column) -> None:
    for column in columns:
        if len(column) and (column.min() <= -_MAX_NS or column.max() >= _MAX_NS):
            raise TelemetryFormatError(f"table {table} contains times beyond {_MAX_NS / 1e9:,.0f} s; it is damaged")
