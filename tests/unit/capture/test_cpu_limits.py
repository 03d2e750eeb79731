# SPDX-License-Identifier: MIT
"""CPU limits in made-up trees of control groups, as they are on hosts and in containers."""

import os
from pathlib import Path

import pytest

from virnuc_profiler.capture.cpu_check import cpu_check, quota_notice
from virnuc_profiler.capture.cpu_limits import CpuCounters, CpuLimits, cpu_counters, cpu_limits

V2 = "0::{path}\n"
V1 = "4:memory:/elsewhere\n3:cpu,cpuacct:{path}\n0::/\n"


class Host:
    """A procfs and control groups below a folder."""

    def __init__(self, folder: Path, memberships: str, path: str, *, v2: bool, root: str = "/", name="cgroup"):
        self.proc = folder / "proc"
        self.groups = folder / name
        kind = "cgroup2 cgroup2 rw" if v2 else "cgroup cgroup rw,cpu,cpuacct"
        point = str(self.groups).replace(" ", "\\040")
        write(self.proc / "self/cgroup", memberships.format(path=path))
        write(
            self.proc / "self/mountinfo",
            f"24 1 0:22 / /proc rw - proc proc rw\n32 31 0:29 {root} {point} rw - {kind}\n",
        )
        self.groups.mkdir()

    def group(self, path: str, **files: str) -> None:
        for name, text in files.items():
            write(self.groups / path / name.replace("__", "."), text)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def test_without_control_groups_the_affinity_mask_decides(tmp_path):
    limits = cpu_limits(tmp_path)
    assert (limits.usable_cores, limits.quota_cores, limits.quota_binds) == (8, None, False)
    assert str(limits) == "8 cores"
    assert cpu_counters(tmp_path) == CpuCounters()


def test_the_tightest_quota_of_all_ancestors_counts_in_cgroup_v2(tmp_path):
    host = Host(tmp_path, V2, "/system.slice/docker-1/inner", v2=True)
    host.group("system.slice", cpu__max="300000 100000\n")
    host.group("system.slice/docker-1", cpu__max="50000 200000\n")
    host.group("system.slice/docker-1/inner", cpu__max="max 100000\n")
    limits = cpu_limits(host.proc)
    assert (limits.usable_cores, limits.quota_binds) == (0.25, True)
    assert limits.quota_file == host.groups / "system.slice/docker-1/cpu.max"
    assert str(limits) == "0.25 of 8 cores"


def test_the_tightest_quota_of_all_ancestors_counts_in_cgroup_v1(tmp_path):
    host = Host(tmp_path, V1, "/kubepods/pod", v2=False, name="a mount point")
    host.group("kubepods/pod", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    host.group("kubepods", cpu__cfs_quota_us="150000\n", cpu__cfs_period_us="100000\n")
    assert cpu_limits(host.proc).usable_cores == 1.5


def test_whole_cores_are_whole_numbers(tmp_path):
    host = Host(tmp_path, V2, "/a", v2=True)
    host.group("a", cpu__max="400000 100000\n")
    assert repr(cpu_limits(host.proc).usable_cores) == "4"


def test_a_quota_above_the_affinity_mask_limits_nothing(tmp_path):
    host = Host(tmp_path, V2, "/a", v2=True)
    host.group("a", cpu__max="1600000 100000\n")
    limits = cpu_limits(host.proc)
    assert (limits.usable_cores, limits.quota_cores, limits.quota_binds) == (8, 16.0, False)
    assert quota_notice(limits) is None


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/docker/1", "/docker/1"),  # the host's path, of which only this group is mounted
        ("/", "/"),  # a namespace of its own
        ("/docker/1", "/"),  # a path that only the host knows
        ("/../../user.slice", "/"),  # a group outside of the namespace
    ],
)
def test_a_container_sees_its_own_group_at_the_mount_point(tmp_path, path, root):
    host = Host(tmp_path, V2, path, v2=True, root=root)
    host.group(".", cpu__max="25000 100000\n")
    assert cpu_limits(host.proc).usable_cores == 0.25


@pytest.mark.parametrize("text", ["", "nonsense\n", "100000\n", "1 0\n"])
def test_a_file_of_another_form_is_no_quota(tmp_path, text):
    host = Host(tmp_path, V2, "/", v2=True)
    host.group(".", cpu__max=text)
    assert cpu_limits(host.proc).quota_cores is None


def stat(periods, throttled, **times):
    lines = {"usage_usec": 7, "nr_periods": periods, "nr_throttled": throttled, **times}
    return "".join(f"{name} {value}\n" for name, value in lines.items())


def test_the_group_that_was_throttled_most_counts(tmp_path):
    host = Host(tmp_path, V2, "/outer/inner", v2=True)
    host.group("outer", cpu__stat=stat(100, 10, throttled_usec=5))
    host.group("outer/inner", cpu__stat=stat(50, 40, throttled_usec=9))
    before = cpu_counters(host.proc)
    host.group("outer", cpu__stat=stat(442, 348, throttled_usec=1_005))
    host.group("outer/inner", cpu__stat=stat(51, 41, throttled_usec=10))
    assert cpu_counters(host.proc).throttled_since(before) == (342, 338, 1_000_000)


def test_cgroup_v1_counts_nanoseconds(tmp_path):
    host = Host(tmp_path, V1, "/a", v2=False)
    host.group("a", cpu__stat=stat(4, 3, throttled_time=123))
    assert cpu_counters(host.proc).throttled_since(CpuCounters()) == (4, 3, 123)


def test_pressure_is_that_of_the_own_group_where_the_kernel_has_it(tmp_path):
    host = Host(tmp_path, V2, "/a", v2=True)
    host.group("a", cpu__max="max 100000\n")
    write(host.proc / "pressure/cpu", "some avg10=9.00 avg60=1.00 avg300=0.10 total=7\nfull avg10=0.00 total=1\n")
    assert cpu_counters(host.proc).pressure_ns == 7000
    host.group("a", cpu__pressure="some avg10=9.00 avg60=1.00 avg300=0.10 total=5\n")
    assert cpu_counters(host.proc).pressure_ns == 5000


def test_the_doctor_names_a_quota_that_leaves_no_core_for_a_worker(tmp_path):
    host = Host(tmp_path, V2, "/", v2=True)
    host.group(".", cpu__max="25000 100000\n", cpu__stat=stat(342, 338))
    check = cpu_check(host.proc)
    assert (check.name, check.state) == ("CPU", "missing")
    assert check.found.startswith("0.25 of 8 cores usable; the quota in ")
    assert check.found.endswith("grants 0.25, and was used up in 98.8% of the periods so far")
    assert "docker run --cpus" in check.fix
    notice = quota_notice(cpu_limits(host.proc))
    assert notice.startswith("CPU: 0.25 of 8 cores usable, by the quota in ")


def test_the_doctor_is_content_without_a_quota_and_with_one_that_suffices(tmp_path):
    assert (cpu_check(tmp_path).state, cpu_check(tmp_path).found) == ("ok", "8 cores usable")
    host = Host(tmp_path, V2, "/", v2=True)
    host.group(".", cpu__max="600000 100000\n", cpu__stat=stat(1000, 20))
    assert (cpu_check(host.proc).state, cpu_check(host.proc).fix) == ("ok", "")
    host.group(".", cpu__stat=stat(1000, 200))
    assert cpu_check(host.proc).state == "missing"


def test_one_core_is_not_called_cores():
    assert str(CpuLimits(1)) == "1 core"
