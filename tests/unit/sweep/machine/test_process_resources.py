# SPDX-License-Identifier: MIT
"""Descriptors by kind, segments by owner, processes by start time, and the kernel's OOM-kill counters."""

import os
import socket

import psutil
import pytest

from virnuc_profiler.sweep.machine.descendants import descendants, describe_processes
from virnuc_profiler.sweep.machine.descriptors import descriptor_kind, grown_kinds, leaked_descriptors, open_descriptors
from virnuc_profiler.sweep.machine.oom_kills import oom_kills, oom_kills_since
from virnuc_profiler.sweep.machine.shared_memory import new_segments, segments
from virnuc_profiler.sweep.trial.cleanup import wait_until


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("socket:[12]", "socket"),
        ("pipe:[12]", "pipe"),
        ("/dev/shm/torch_1_2 (deleted)", "shared memory"),
        ("/memfd:name (deleted)", "shared memory"),
        ("/dev/nvidia0", "device"),
        ("/tmp/a.fasta", "file"),
        ("anon_inode:[eventfd]", "eventfd"),
        ("anon_inode:inotify", "inotify"),
        ("mnt:[4]", "other"),
    ],
)
def test_descriptors_are_classified(target, kind):
    assert descriptor_kind(target) == kind


def test_leaked_descriptors_are_named_and_those_of_drivers_only_counted():
    before = {0: "/a", 1: "socket:[1]"}
    after = {0: "/b", 1: "socket:[1]", 2: "socket:[2]", 3: "/dev/nvidia0", 4: "anon_inode:[eventfd]"}
    grown = grown_kinds(before, after)
    assert grown == {"device": 1, "eventfd": 1, "socket": 1}
    assert leaked_descriptors(before, after, grown) == ("socket:[2]",)  # /b has taken the place of /a


def test_an_open_socket_is_found():
    before = open_descriptors()
    with socket.socket():
        assert grown_kinds(before, open_descriptors()) == {"socket": 1}
    assert grown_kinds(before, open_descriptors()) == {}


def test_segments_are_told_by_their_owner(tmp_path):
    dead_worker, dead_stranger = 999999999, 999999998
    others = ("old", "torch_1_1", f"torch_{dead_stranger}_1", "psm_a", "psm_other1a2b", "sem.mp-a", "tmpfile")
    same_id = (f"torch_{dead_worker}_1", f"torch_{os.getpid()}_1")
    for name in (*others, *same_id, "psm_ours1a2b"):
        (tmp_path / name).touch()
    assert "old" in segments(tmp_path)
    found = new_segments({"old"}, {os.getpid()}, {dead_worker}, "psm_ours", tmp_path)
    assert found.ours == ("psm_ours1a2b",)
    assert found.unattributed == tuple(sorted(same_id)), "another process namespace has the same ids"
    assert segments(tmp_path / "absent") == frozenset()


def test_a_segment_that_we_have_open_is_ours_whatever_its_name(tmp_path):
    names = ("anything", f"torch_{os.getpid()}_2")
    with (tmp_path / names[0]).open("w"), (tmp_path / names[1]).open("w"):
        assert new_segments((), {os.getpid()}, (), "psm_ours", tmp_path).ours == names
        assert new_segments((), {1}, (), "psm_ours", tmp_path).ours == ()


def test_a_zombie_is_described_and_a_reused_id_is_not():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    (zombie,) = [process for process in descendants() if process.pid == child]
    (left,) = describe_processes([zombie])
    assert (left.pid, left.state, left.is_alive) == (child, psutil.STATUS_ZOMBIE, False)
    os.waitpid(child, 0)
    assert describe_processes([zombie]) == ()
    reused = psutil.Process()  # as if this one had got the id
    reused._create_time = reused._ident = (reused.pid, 1.0)
    assert describe_processes([reused]) == ()


@pytest.mark.parametrize(
    ("line", "file", "text"),
    [
        ("0::/group", "group/memory.events", "low 0\noom_kill 3\n"),
        ("4:memory:/group", "memory/group/memory.oom_control", "under_oom 0\noom_kill 3\n"),
        ("4:memory:/not/seen/here", "memory/memory.oom_control", "oom_kill 3\n"),
    ],
)
def test_oom_kills_are_read_from_both_cgroup_versions(tmp_path, line, file, text):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"5:devices:/\n{line}\n")
    (tmp_path / "proc/self/mountinfo").write_text(
        f"30 20 0:26 / {tmp_path}/cgroup rw - cgroup2 cgroup2 rw\n"
        f"31 20 0:27 / {tmp_path}/cgroup/memory rw - cgroup cgroup rw,memory\n"
    )
    (tmp_path / "proc/vmstat").write_text("oom_kill 5\n")
    path = tmp_path / "cgroup" / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    counts = oom_kills(tmp_path / "proc")
    assert sorted(counts.values()) == [3, 5]
    assert oom_kills(tmp_path / "absent") == {}


def test_only_counters_that_grew_are_reported():
    before = {"group": 3, "machine": 5, "gone": 1}
    assert oom_kills_since(before, {"group": 3, "machine": 7, "new": 2}) == {"machine": 2, "new": 2}


def test_wait_until_ends_with_the_condition_or_at_the_limit():
    now = [0.0]
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        now[0] += seconds

    assert wait_until(lambda: now[0] > 0.1, 2.0, clock=lambda: now[0], sleep=sleep) == now[0] < 0.3
    assert pauses == sorted(pauses)
    now[0] = 0.0
    assert wait_until(lambda: False, 2.0, clock=lambda: now[0], sleep=sleep) == pytest.approx(2.0)
