# SPDX-License-Identifier: MIT
"""Claims in a shared folder: one holder at a time, and none that outlives its process."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from virnuc_profiler.errors import OutputError
from virnuc_profiler.ranks.claim_folder import ClaimFolder
from virnuc_profiler.ranks.claim_owner import Owner
from virnuc_profiler.ranks.rank import Rank

HOLDER = """
import sys, time
from pathlib import Path
from virnuc_profiler.ranks.claim_folder import ClaimFolder
from virnuc_profiler.ranks.rank import Rank
claims = ClaimFolder(Path(sys.argv[1]), Rank(index=1, count=2))
print(*[claims.take(key) for key in sys.argv[2:]], flush=True)
time.sleep(600)
"""
TAKER = """
import sys
from pathlib import Path
from virnuc_profiler.ranks.claim_folder import ClaimFolder
from virnuc_profiler.ranks.rank import Rank
claims = ClaimFolder(Path(sys.argv[1]), Rank(index=int(sys.argv[2]), count=4))
sys.stdin.readline()
print(*[key for key in map(str, range(200)) if claims.take(key)], flush=True)
sys.stdin.readline()
"""


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def rank(index=0, **options):
    return Rank(index=index, count=2, **options)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "claims"


@pytest.fixture
def holder(folder):
    """A process that holds a and b."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), "a", "b"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline().split() == ["True", "True"]
        yield process
        process.kill()


def test_a_piece_has_one_holder(folder):
    with ClaimFolder(folder, rank(0)) as one, ClaimFolder(folder, rank(1)) as other:
        assert one.take("a")
        assert not other.take("a")
        assert other.take("b")
        assert one.take("a"), "it is its own"
        assert (one.holds("a"), one.holds("b")) == (True, False)


def test_what_was_held_is_free_when_its_holder_closes(folder):
    with ClaimFolder(folder, rank(0)) as one:
        one.take("a")
    with ClaimFolder(folder, rank(1)) as other:
        assert other.take("a")


def test_the_claims_of_a_killed_process_are_free_at_once(folder, holder):
    with ClaimFolder(folder, rank(0)) as claims:
        assert not claims.take("a")
        holder.kill()
        holder.wait()
        assert claims.take("a")


def test_a_zombie_holds_nothing(folder, holder):
    """A launcher that does not read the exit codes of its ranks keeps them in the process table."""
    with ClaimFolder(folder, rank(0)) as claims:
        os.kill(holder.pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while not claims.take("a"):
            assert time.monotonic() < deadline


def test_a_stopped_process_loses_its_claims_after_the_lease(folder, holder):
    clock = Clock()
    with ClaimFolder(folder, rank(0), lease_s=30.0, clock=clock) as claims:
        os.kill(holder.pid, signal.SIGSTOP)
        assert not claims.take("a")
        clock.now += 29
        assert not claims.take("a")
        clock.now += 2
        assert claims.take("a")


def test_a_process_that_shows_life_keeps_its_claims(folder):
    clock = Clock()
    with ClaimFolder(folder, rank(1), lease_s=0.06) as one, ClaimFolder(folder, rank(0), 30.0, clock) as other:
        assert one.take("a")
        for _ in range(5):
            content = next(folder.glob(f"owner_{one.owner.id}")).read_bytes()
            assert not other.take("a")
            clock.now += 31
            deadline = time.monotonic() + 60
            while next(folder.glob(f"owner_{one.owner.id}")).read_bytes() == content:
                assert time.monotonic() < deadline


def test_a_process_of_another_host_is_judged_by_its_lease_alone(folder, holder):
    """Its process id may be that of a process here."""
    clock = Clock()
    (path,) = folder.glob("owner_*")
    holder.kill()
    values = json.loads(path.read_bytes().splitlines()[0])
    path.write_bytes(Owner(**{**values, "kernel": "of another host"}).encode(7))
    with ClaimFolder(folder, rank(0), lease_s=30.0, clock=clock) as claims:
        assert not claims.take("a")
        clock.now += 31
        assert claims.take("a")


def test_a_rank_that_was_started_again_takes_over_from_its_predecessor(folder, monkeypatch):
    with ClaimFolder(folder, rank(1, job="x", attempt=0)) as before:
        before.take("a")
        with ClaimFolder(folder, rank(0, job="x", attempt=1)) as other:
            assert not other.take("a")
        with ClaimFolder(folder, rank(1, job="y", attempt=1)) as other:
            assert not other.take("a")
        with ClaimFolder(folder, rank(1, job="x", attempt=1)) as after:
            assert after.take("a")
            assert not before.holds("a")


def test_a_claim_that_was_taken_over_is_not_taken_over_again_by_one_who_looked_before(folder):
    with ClaimFolder(folder, rank(0)) as slow, ClaimFolder(folder, rank(1)) as fast:
        with ClaimFolder(folder, rank(0)) as gone:
            gone.take("a")
        assert slow._highest("a") == 1
        assert fast.take("a")
        assert not slow._made("a", 2)
        assert not slow.take("a")


def test_processes_that_start_together_divide_the_work(folder):
    folder.mkdir()
    command = [sys.executable, "-c", TAKER, str(folder)]
    takers = [
        subprocess.Popen([*command, str(index)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for index in range(4)
    ]
    while len(list(folder.glob("owner_*"))) < 4:
        time.sleep(0.01)
    for taker in takers:
        taker.stdin.write("go\n")
        taker.stdin.flush()
    taken = [taker.stdout.readline().split() for taker in takers]
    for taker in takers:
        taker.communicate("\n")
    counts = Counter(key for keys in taken for key in keys)
    assert sorted(counts, key=int) == [str(key) for key in range(200)]
    assert set(counts.values()) == {1}


def test_a_dead_process_is_succeeded_by_one_of_many(folder, holder):
    holder.kill()
    holder.wait()
    claims = [ClaimFolder(folder, rank(index)) for index in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda each: each.take("a"), claims)) == 1
    for each in claims:
        each.close()


def test_a_file_system_without_links_is_used_too(folder, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with ClaimFolder(folder, rank(0)) as one, ClaimFolder(folder, rank(1)) as other:
        assert one.take("a")
        assert not other.take("a")
        one.close()
        assert other.take("a")


def test_a_lost_answer_of_a_network_file_system_is_no_loss(folder, monkeypatch):
    link = os.link

    def lose_the_answer(source, target):
        link(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", lose_the_answer)
    with ClaimFolder(folder, rank(0)) as claims:
        assert claims.take("a")


def test_a_claim_that_was_cut_off_while_it_was_made_is_free_after_the_lease(folder):
    clock = Clock()
    with ClaimFolder(folder, rank(0), 30.0, clock) as claims:
        (folder / "a.1").touch()
        assert not claims.take("a")
        clock.now += 31
        assert claims.take("a")


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write .*claims, where ranks claim their work: Not a directory"):
        ClaimFolder(tmp_path / "file" / "claims", rank())


def test_the_folder_goes_when_all_is_done(folder):
    with ClaimFolder(folder, rank(0)) as claims:
        claims.take("a")
        claims.remove()
        assert not folder.exists()
