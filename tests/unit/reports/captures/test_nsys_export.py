# SPDX-License-Identifier: MIT
"""Reading exports: missing and versioned tables, ids, names, and files of other kinds."""

import os
import sqlite3

import pytest

from tests.support.nsys_files import OTHER_PROCESS, OTHER_THREAD, PROCESS, START_END, THREAD, NsysFile
from virnuc_profiler.analysis.nsys.projection import project
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.reports.captures.nsys_export import read_nsys_export


@pytest.fixture
def path(tmp_path):
    return tmp_path / "capture.sqlite"


def project_all(path):
    capture = read_nsys_export(path)
    return project(capture.ranges, capture.calls, capture.operations)


def test_domain_name_and_payload_of_registered_and_plain_ranges(path):
    with NsysFile(path, utc_epoch_ns=5, version="2026.2.1.210") as file:
        file.domain(1, "virnuc_profiler")
        file.range("forward", 10, 20, domain=1, registered=True, uint64Value=7)
        file.range("plain", 30, 40, int32Value=-1)
        file.range("bare", 50, 60, domain=None, doubleValue=1.5)
    capture = read_nsys_export(path)
    assert [tuple(range_) for range_ in capture.ranges] == [
        ("virnuc_profiler", "forward", 7, THREAD, 10, 20),
        ("default", "plain", -1, THREAD, 30, 40),
        ("default", "bare", None, THREAD, 50, 60),
    ]
    assert (capture.tracer_version, capture.utc_epoch_ns) == ("2026.2.1.210", 5)


def test_domain_numbers_are_those_of_a_process(path):
    with NsysFile(path) as file:
        file.domain(1, "ours")
        file.domain(1, "theirs", thread=OTHER_PROCESS + 5)
        file.range("a", 0, 1, domain=1)
        file.range("b", 0, 1, domain=1, thread=OTHER_PROCESS + 9)
        file.range("c", 0, 1, domain=2)
    assert [range_.domain for range_ in read_nsys_export(path).ranges] == ["ours", "theirs", "domain 2"]


def test_ranges_that_cross_threads_or_never_end_are_left_out_and_counted(path):
    with NsysFile(path) as file:
        file.range("crossing", 0, 10, kind=START_END, endGlobalTid=OTHER_THREAD)
        file.range("home", 0, 10, kind=START_END, endGlobalTid=THREAD)
        file.range("open", 0, None)
        file.range("mark", 5, None, kind=34)
    capture = read_nsys_export(path)
    assert [range_.name for range_ in capture.ranges] == ["home"]
    assert (capture.crossing_ranges, capture.unended_ranges) == (1, 1)


@pytest.mark.parametrize("suffix", ["_V2", "_V3"])
def test_a_versioned_table_is_read_like_any_other(path, suffix):
    with NsysFile(path) as file:
        file.range("new", 0, 10, suffix=suffix)
    assert [range_.name for range_ in read_nsys_export(path).ranges] == ["new"]


def test_of_several_versions_the_newest_is_read_and_not_both(path):
    with NsysFile(path) as file:
        file.range("old", 0, 10)
        file.range("newest", 0, 10, suffix="_V10")
        file.range("newer", 0, 10, suffix="_V9")
    assert [range_.name for range_ in read_nsys_export(path).ranges] == ["newest"]


def test_a_file_with_strings_alone_is_an_empty_capture(path):
    with NsysFile(path, version=None):
        pass
    capture = read_nsys_export(path)
    assert (len(capture.ranges), len(capture.calls), len(capture.operations)) == (0, 0, 0)
    assert capture.tracer_version is None


def test_every_kind_of_operation_is_read_and_launched_by_either_api(path):
    with NsysFile(path) as file:
        file.range("all", 0, 100)
        file.row("ENUM_CUDA_MEMCPY_OPER", id=1, name="x", label="Host-to-Device")
        file.launch(1, 200, 210, graphNodeId=5)
        file.launch(11, 210, 220, kind="MEMCPY")
        file.launch(21, 220, 230, kind="MEMCPY", copyKind=9)
        file.launch(31, 230, 240, kind="MEMSET")
        file.launch(41, 240, 250, kind="GRAPH_TRACE")
        file.call(51, 52, 99, api="DRIVER")
        file.work("KERNEL", 250, 260, 99)
    (projection,) = project_all(path)
    assert [operation.name for operation in projection.operations] == [
        "void kernel<int>(int)", "memcpy Host-to-Device", "memcpy of kind 9", "memset", "CUDA graph 3",
        "void kernel<int>(int)",
    ]  # fmt: skip
    assert (projection.total_ns, projection.busy_ns, projection.kernel_ns) == (60, 60, 30)


def test_rows_of_runtime_and_driver_for_one_launch_are_one(path):
    with NsysFile(path) as file:
        file.range("saxpy", 0, 100)
        for _ in range(2):
            file.call(10, 20, 5)
        file.call(12, 18, 5, api="DRIVER")
        file.work("KERNEL", 200, 260, 5)
    assert project_all(path)[0].total_ns == 60


def test_what_does_not_say_who_launched_it_counts_for_the_device_only(path):
    with NsysFile(path) as file:
        file.range("all", 0, 100)
        file.call(10, 20, 0)
        file.call(10, 20, None)
        file.work("KERNEL", 200, 260, None)
        file.work("KERNEL", 300, 310, 0, process=None)
        file.work("KERNEL", 400, 410, 0, process=PROCESS)
    assert len(read_nsys_export(path).operations) == 3
    assert project_all(path)[0].total_ns == 10


def test_columns_of_newer_exporters_may_be_missing(path):
    with NsysFile(path) as file:
        file.connection.execute(
            "CREATE TABLE NVTX_EVENTS (start INTEGER, end INTEGER, eventType INTEGER, text TEXT, globalTid INTEGER)"
        )
        file.connection.execute("INSERT INTO NVTX_EVENTS VALUES (1, 2, 59, 'old', ?)", (THREAD,))
    assert [(range_.name, range_.domain) for range_ in read_nsys_export(path).ranges] == [("old", "default")]


def test_a_required_column_that_is_missing_is_named(path):
    with NsysFile(path) as file:
        file.connection.execute("CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER, end INTEGER)")
    with pytest.raises(TelemetryFormatError, match="table CUPTI_ACTIVITY_KIND_KERNEL has no column deviceId"):
        read_nsys_export(path)


@pytest.mark.parametrize("value", ["soon", 1.5, b"\0", "9" * 30])
def test_values_of_another_type_are_refused(path, value):
    with NsysFile(path) as file:
        file.range("odd", 0, 10)
        file.connection.execute("UPDATE NVTX_EVENTS SET end = ?", (value,))
    with pytest.raises(TelemetryFormatError, match="NVTX_EVENTS contains values of another type"):
        read_nsys_export(path)


def test_text_that_is_no_utf8_is_read_with_marks_in_its_place(path):
    with NsysFile(path) as file:
        file.range("x", 0, 10)
        file.connection.execute("UPDATE NVTX_EVENTS SET text = CAST(x'ff61' AS TEXT)")
    assert read_nsys_export(path).ranges[0].name == "\ufffda"


def test_a_view_is_not_followed(path):
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS start FROM n"
    with NsysFile(path) as file:
        file.connection.execute(f"CREATE VIEW NVTX_EVENTS AS {endless}")
    assert len(read_nsys_export(path).ranges) == 0


@pytest.mark.parametrize(
    "content", [b"", b"SQLite", b"not a database, just some text", b"SQLite format 3\0" + b"\7" * 200]
)
def test_what_is_not_sqlite_is_said_in_one_sentence(path, content):
    path.write_bytes(content)
    with pytest.raises(TelemetryFormatError, match=r"capture\.sqlite"):
        read_nsys_export(path)


def test_a_missing_file_a_folder_and_another_database(path, tmp_path):
    for bad in (path, tmp_path):
        with pytest.raises(TelemetryFormatError, match="cannot read"):
            read_nsys_export(bad)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (x)")
    connection.close()
    with pytest.raises(TelemetryFormatError, match="not an export of Nsight Systems"):
        read_nsys_export(path)


def test_a_truncated_file_is_refused_wherever_it_was_cut(path, tmp_path):
    with NsysFile(path) as file:
        for number in range(400):
            file.range(f"range {number}", number, number + 1, registered=True)
            file.launch(number, number, number + 1)
    whole = path.read_bytes()
    for cut in range(4096, len(whole), 4096 * 3):
        shorter = tmp_path / "cut.sqlite"
        shorter.write_bytes(whole[:cut])
        with pytest.raises(TelemetryFormatError, match=r"cut\.sqlite"):
            read_nsys_export(shorter)


def test_a_write_ahead_file_alone_in_a_folder_that_cannot_be_written(path, tmp_path):
    with NsysFile(path) as file:
        file.range("x", 0, 10)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    tmp_path.chmod(0o500)
    try:
        assert len(read_nsys_export(path).ranges) == 1
    finally:
        tmp_path.chmod(0o700)
    if os.geteuid() == 0:
        assert sorted(entry.name for entry in tmp_path.iterdir() if "-" not in entry.name) == ["capture.sqlite"]


def test_odd_characters_in_a_path(tmp_path):
    path = tmp_path / "50% of ?runs#1.sqlite"
    with NsysFile(path) as file:
        file.range("x", 0, 10)
    assert len(read_nsys_export(path).ranges) == 1


def test_default_values_which_rows_have_without_holding_them_are_refused(path):
    with NsysFile(path) as file:
        file.range("x", 0, 10)
        file.connection.execute("ALTER TABLE NVTX_EVENTS RENAME COLUMN text TO old")
        file.connection.execute(f"ALTER TABLE NVTX_EVENTS ADD COLUMN text TEXT DEFAULT '{'x' * 1000}'")
    with pytest.raises(TelemetryFormatError, match="table NVTX_EVENTS has default values"):
        read_nsys_export(path)


def test_a_message_of_sqlite_that_quotes_the_file_is_escaped(path):
    with NsysFile(path) as file:
        file.range("x", 0, 10)
    for name in (b"NVTX\x1b[2J", b"NVTX\xff"):
        path.write_bytes(path.read_bytes().replace(b"CREATE TABLE", b"CREATE\x1bTABLE").replace(b"NVTX_EVENTS", name))
        with pytest.raises(TelemetryFormatError, match="is damaged") as caught:
            read_nsys_export(path)
        assert str(caught.value).isprintable()


def test_pages_that_all_lead_to_the_same_page_are_not_followed_forever(path):
    """Six levels of 72 children that all are the same page: 10^11 rows in a few kilobytes."""
    with NsysFile(path) as file:
        file.range("x", 0, 10)
        file.connection.commit()
        (root,) = file.connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'NVTX_EVENTS'").fetchone()
    pages = bytearray(path.read_bytes())
    size = int.from_bytes(pages[16:18], "big")
    count = len(pages) // size
    leaf = pages[(root - 1) * size : root * size]

    def inner(child):
        cells = b"".join(child.to_bytes(4, "big") + bytes([key]) for key in range(71))
        places = b"".join((size - len(cells) + 5 * key).to_bytes(2, "big") for key in range(71))
        start = (size - len(cells)).to_bytes(2, "big")
        head = bytes([5, 0, 0, 0, 71]) + start + b"\0" + child.to_bytes(4, "big") + places
        return head + bytes(size - len(head) - len(cells)) + cells

    pages[(root - 1) * size : root * size] = inner(count + 1)
    for level in range(1, 6):
        pages += inner(count + level + 1)
    pages += leaf
    pages[28:32] = (count + 6).to_bytes(4, "big")
    path.write_bytes(pages)
    with pytest.raises(TelemetryFormatError, match="is damaged or incomplete: interrupted"):
        read_nsys_export(path)
