# SPDX-License-Identifier: MIT
"""Small files in the form of ``nsys export --type sqlite``, made by hand; and the real ones, where they are."""

import os
import sqlite3
from pathlib import Path

PROCESS = 7 << 24
THREAD = PROCESS + 1
OTHER_THREAD = PROCESS + 2
OTHER_PROCESS = 8 << 24

PUSH_POP, START_END, DOMAIN_CREATE = 59, 60, 75

_TABLES = {
    "StringIds": "id INTEGER NOT NULL PRIMARY KEY, value TEXT NOT NULL",
    "TARGET_INFO_SESSION_START_TIME": "utcEpochNs INTEGER, utcTime TEXT, localTime TEXT",
    "META_DATA_EXPORT": "name TEXT NOT NULL, value TEXT",
    "ENUM_CUDA_MEMCPY_OPER": "id INTEGER NOT NULL PRIMARY KEY, name TEXT, label TEXT",
    "NVTX_EVENTS": "start INTEGER NOT NULL, end INTEGER, eventType INTEGER NOT NULL, category INTEGER, text TEXT,"
    " globalTid INTEGER, endGlobalTid INTEGER, textId INTEGER, domainId INTEGER, uint64Value INTEGER,"
    " int64Value INTEGER, doubleValue REAL, uint32Value INTEGER, int32Value INTEGER",
    "CUPTI_ACTIVITY_KIND_RUNTIME": "start INTEGER NOT NULL, end INTEGER NOT NULL, eventClass INTEGER NOT NULL,"
    " globalTid INTEGER, correlationId INTEGER, nameId INTEGER NOT NULL",
    "CUPTI_ACTIVITY_KIND_DRIVER": "start INTEGER NOT NULL, end INTEGER NOT NULL, eventClass INTEGER NOT NULL,"
    " globalTid INTEGER, correlationId INTEGER, nameId INTEGER NOT NULL",
    "CUPTI_ACTIVITY_KIND_KERNEL": "start INTEGER NOT NULL, end INTEGER NOT NULL, deviceId INTEGER NOT NULL,"
    " streamId INTEGER NOT NULL, correlationId INTEGER, globalPid INTEGER, demangledName INTEGER NOT NULL,"
    " shortName INTEGER NOT NULL, graphNodeId INTEGER",
    "CUPTI_ACTIVITY_KIND_MEMCPY": "start INTEGER NOT NULL, end INTEGER NOT NULL, deviceId INTEGER NOT NULL,"
    " streamId INTEGER NOT NULL, correlationId INTEGER, globalPid INTEGER, bytes INTEGER, copyKind INTEGER NOT NULL",
    "CUPTI_ACTIVITY_KIND_MEMSET": "start INTEGER NOT NULL, end INTEGER NOT NULL, deviceId INTEGER NOT NULL,"
    " streamId INTEGER NOT NULL, correlationId INTEGER, globalPid INTEGER, value INTEGER, bytes INTEGER",
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE": "start INTEGER NOT NULL, end INTEGER NOT NULL, deviceId INTEGER NOT NULL,"
    " streamId INTEGER NOT NULL, correlationId INTEGER, globalPid INTEGER, graphId INTEGER NOT NULL",
}
_KIND = "CUPTI_ACTIVITY_KIND_"


class NsysFile:
    """Writes rows; like nsys, it makes a table with its first row."""

    def __init__(self, path, *, utc_epoch_ns=None, version="2025.3.1.1"):
        self.path = Path(path)
        self.connection = sqlite3.connect(path)
        self._tables = set()
        self._strings = {}
        self._correlation = 0
        self.string("")
        if version is not None:
            self.row("META_DATA_EXPORT", name="EXPORT_PRODUCT_VERSION", value=version)
        if utc_epoch_ns is not None:
            self.row("TARGET_INFO_SESSION_START_TIME", utcEpochNs=utc_epoch_ns)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.commit()
        self.connection.close()

    def row(self, table, suffix="", **values):
        if table + suffix not in self._tables:
            self.connection.execute(f'CREATE TABLE "{table}{suffix}" ({_TABLES[table]})')
            self._tables.add(table + suffix)
        columns, marks = ", ".join(values), ", ".join("?" * len(values))
        self.connection.execute(f'INSERT INTO "{table}{suffix}" ({columns}) VALUES ({marks})', tuple(values.values()))

    def string(self, text):
        if text not in self._strings:
            self._strings[text] = len(self._strings)
            self.row("StringIds", id=self._strings[text], value=text)
        return self._strings[text]

    def domain(self, number, name, thread=THREAD):
        self.row("NVTX_EVENTS", start=0, eventType=DOMAIN_CREATE, text=name, globalTid=thread, domainId=number)

    def range(self, name, start, end, *, domain=0, thread=THREAD, registered=False, kind=PUSH_POP, suffix="", **more):
        text = {"textId": self.string(name)} if registered else {"text": name}
        base = {"start": start, "end": end, "eventType": kind, "globalTid": thread, "domainId": domain}
        self.row("NVTX_EVENTS", suffix, **base, **text, **more)

    def call(self, start, end, correlation, *, thread=THREAD, api="RUNTIME"):
        self.row(
            _KIND + api,
            start=start, end=end, eventClass=0, globalTid=thread, correlationId=correlation, nameId=0,
        )  # fmt: skip

    def work(self, kind, start, end, correlation, *, process=PROCESS, device=0, stream=7, **more):
        defaults = {
            "KERNEL": {"demangledName": self.string("void kernel<int>(int)"), "shortName": self.string("kernel")},
            "MEMCPY": {"copyKind": 1},
            "MEMSET": {},
            "GRAPH_TRACE": {"graphId": 3},
        }[kind]
        where = {"deviceId": device, "streamId": stream, "correlationId": correlation, "globalPid": process}
        self.row(_KIND + kind, start=start, end=end, **where, **{**defaults, **more})

    def launch(self, at, start, end, *, kind="KERNEL", **more):
        """A call of 2 ns on THREAD, and what it launches."""
        self._correlation += 1
        self.call(at, at + 2, self._correlation)
        self.work(kind, start, end, self._correlation, **more)
        return self._correlation


def write_capture_of(run, path, *, offset_ns, utc_epoch_ns, delay_ns=2000, domain="virnuc_profiler", repeats=()):
    """A capture in which each of a run's stages has its range, and each device stage a kernel that fills most of it.

    Without a name the domain has none in the file. `repeats` are offsets at which the same ranges occur once more,
    as other runs of the process would leave them.
    """
    with NsysFile(path, utc_epoch_ns=utc_epoch_ns) as file:
        if domain is not None:
            file.domain(1, domain)
        for shift in (0, *repeats):
            for batch in run.batches:
                for stage in batch.stages:
                    if stage.name == "collate":  # runs in a worker process
                        continue
                    start = stage.host_start_ns + offset_ns + delay_ns + shift
                    end = max(start + 20, stage.host_end_ns + offset_ns + shift)
                    file.range(stage.name, start, end, domain=1, registered=True, uint64Value=batch.index)
                    if stage.device_start_ns is not None:
                        kernel = (
                            stage.device_start_ns + offset_ns + 5000 + shift,
                            stage.device_end_ns + offset_ns + shift,
                        )
                        file.launch(start + 5, *kernel)


def real_exports():
    """Where real exports are: ``VIRNUC_NSYS_EXPORTS``, or shared/data/nsys beside or above this repository."""
    if folder := os.environ.get("VIRNUC_NSYS_EXPORTS"):
        return Path(folder)
    root = Path(__file__).resolve().parents[2]
    found = [parent / "shared" / "data" / "nsys" for parent in (root, *root.parents)]
    return next((folder for folder in found if folder.is_dir()), None)
