# SPDX-License-Identifier: MIT
"""What ranks tell their launcher of their state."""

import os
import sys

import pytest

from virnuc_profiler.ranks.local_launcher import run_ranks
from virnuc_profiler.ranks.rank_status import STATUS_VARIABLE, StatusPipe, read_states

TELL = """
import os
from virnuc_profiler.ranks.rank_status import STATUS_VARIABLE, StatusPipe
pipe = StatusPipe.of_launcher()
assert STATUS_VARIABLE not in os.environ
for share in (0.5, 1.0):
    pipe.send({"share": share, "rank": os.environ["VIRNUC_PROFILER_RANK"]})
"""


def test_a_launcher_hears_the_state_and_the_end_of_each_rank():
    heard = []
    codes = run_ranks(
        [sys.executable, "-c", TELL], [{}, {}], say=print, on_state=lambda index, state: heard.append((index, state))
    )
    assert codes == [0, 0]
    for index in (0, 1):
        told = [state for rank, state in heard if rank == index]
        assert told[:2] == [{"share": share, "rank": str(index)} for share in (0.5, 1.0)]


def test_without_a_listener_ranks_are_told_of_no_pipe(capsys):
    script = "import os; print(os.environ.get('VIRNUC_PROFILER_STATUS'))"
    assert run_ranks([sys.executable, "-c", script], [{}], say=print) == [0]
    assert capsys.readouterr().out == "[rank 0] None\n"


@pytest.mark.parametrize("text", ["", "x", "-1", "99999"])
def test_what_is_no_pipe_is_none(monkeypatch, text):
    monkeypatch.setenv(STATUS_VARIABLE, text)
    assert StatusPipe.of_launcher() is None


def test_a_launcher_that_does_not_read_costs_nothing():
    reads, writes = os.pipe()
    pipe = StatusPipe(writes)
    for _ in range(10_000):
        pipe.send({"share": 0.5, "text": "x" * 100})
    pipe.send({"text": "x" * 100_000})  # a pipe would take a part of it
    os.close(writes)
    states = list(read_states(reads))
    assert 0 < len(states) < 10_000
    assert {state["share"] for state in states} == {0.5}
    pipe.send({"share": 1.0})  # the pipe is gone


def test_lines_that_are_no_states_are_left_out():
    reads, writes = os.pipe()
    os.write(writes, b'no json\n[1]\n{"share": 1}\n\xff\n')
    os.close(writes)
    assert list(read_states(reads)) == [{"share": 1}]
