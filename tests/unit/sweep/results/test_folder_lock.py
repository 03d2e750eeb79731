# SPDX-License-Identifier: MIT
"""One command at a time in a folder."""

import errno
import os
import platform
import signal
import subprocess
import sys

import pytest

from tests.support.command import wait_until
from virnuc_profiler.errors import OutputError
from virnuc_profiler.sweep.results import folder_lock
from virnuc_profiler.sweep.results.folder_lock import LOCK_FILE, FolderLock, filesystem_of


def test_the_second_is_told_who_holds_the_lock(tmp_path):
    with FolderLock(tmp_path), pytest.raises(OutputError) as refused:
        FolderLock(tmp_path)
    message = str(refused.value)
    assert f"process {os.getpid()} on {platform.node()}, since 20" in message
    assert "another --output-dir" in message
    with FolderLock(tmp_path):
        pass


def test_a_holder_that_has_not_said_who_it_is_still_holds(tmp_path):
    with FolderLock(tmp_path):
        (tmp_path / LOCK_FILE).write_text("")
        with pytest.raises(OutputError, match="a process that has not written its name yet"):
            FolderLock(tmp_path)


HOLD = """
import sys, time
from pathlib import Path
from virnuc_profiler.sweep.results.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_killed_process_leaves_no_lock_even_if_its_children_live(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    child = int(holder.stdout.readline())
    try:
        with pytest.raises(OutputError, match=f"process {holder.pid} "):
            FolderLock(tmp_path)
        holder.kill()
        holder.wait()
        FolderLock(tmp_path).close()
    finally:
        os.kill(child, signal.SIGKILL)
        holder.kill()
        wait_until(lambda: holder.poll() is not None)
        holder.stdout.close()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog, number):
    def flock(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(folder_lock.fcntl, "flock", flock)
    with FolderLock(tmp_path):
        pass
    assert f"{tmp_path} cannot be locked ({os.strerror(number)})" in caplog.text


def test_a_file_system_that_hosts_share_is_warned_of(tmp_path, monkeypatch, caplog):
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "25 30 0:999 / /proc rw - proc proc rw\n"
        f"36 35 {os.major(device)}:{os.minor(device)} / / rw,noatime master:1 - nfs4 server:/export rw\n"
    )
    monkeypatch.setattr(folder_lock, "MOUNTS", mounts)
    with FolderLock(tmp_path):
        pass
    assert "several hosts may share (nfs4)" in caplog.text


def test_the_file_system_is_known_or_unknown_but_never_guessed(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_lock, "MOUNTS", tmp_path / "absent")
    assert filesystem_of(tmp_path) is None
    (tmp_path / "mountinfo").write_text("nonsense\n\n1 2\n")
    monkeypatch.setattr(folder_lock, "MOUNTS", tmp_path / "mountinfo")
    assert filesystem_of(tmp_path) is None


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*absent.journal\.lock"):
        FolderLock(tmp_path / "absent")
