# SPDX-License-Identifier: MIT
"""A damaged journal never yields anything that was not measured."""

import json
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.sweeps import FakeTrials, run_in_journal, small_plan, success
from virnuc_profiler.sweep.results.journal import JOURNAL_FILE, read_journal
from virnuc_profiler.telemetry.checked_lines import decode_lines, encode_line

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=8,
)
ENTRIES = st.lists(st.dictionaries(st.text(), JSON, max_size=4), min_size=1, max_size=5)
NO_DEADLINE = settings(deadline=None)
FAST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def rate_of(configuration):
    return success(configuration, 100.0 + configuration.token_budget / 100 + configuration.prefetch_factor)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the folder of an uninterrupted sweep, and the bytes of its journal."""
    folder = tmp_path_factory.mktemp("whole")
    run_in_journal(folder, FakeTrials(rate_of), begin=small_plan())
    return folder, (folder / JOURNAL_FILE).read_bytes()


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return tmp_path_factory.mktemp("other")


def trials_of(folder):
    return [trial for record in read_journal(folder) for trial in record.trials]


@NO_DEADLINE
@given(ENTRIES)
def test_what_is_written_is_read(entries):
    lines = decode_lines(b"".join(map(encode_line, entries)))
    assert [entry for _, entry in lines.entries] == json.loads(json.dumps(entries))
    assert (lines.damaged, lines.torn_bytes) == ((), 0)


@NO_DEADLINE
@given(ENTRIES, st.data())
def test_every_prefix_of_the_bytes_is_a_prefix_of_the_entries(entries, data):
    written = b"".join(map(encode_line, entries))
    length = data.draw(st.integers(0, len(written)))
    lines = decode_lines(written[:length])
    found = [entry for _, entry in lines.entries]
    assert found == json.loads(json.dumps(entries))[: len(found)]
    assert lines.damaged == ()
    assert len(found) == written[:length].count(b"\n")


@NO_DEADLINE
@given(ENTRIES, st.data())
def test_no_changed_byte_goes_unseen(entries, data):
    written = bytearray(b"".join(map(encode_line, entries)))
    place = data.draw(st.integers(0, len(written) - 1))
    written[place] ^= data.draw(st.integers(1, 255))
    lines = decode_lines(bytes(written))
    assert lines.damaged or lines.torn_bytes
    as_written = json.loads(json.dumps(entries))
    assert all(entry in as_written for _, entry in lines.entries)


@FAST
@given(data=st.data())
def test_a_journal_cut_anywhere_holds_the_first_trials(whole, other, data):
    folder, written = whole
    length = data.draw(st.integers(0, len(written)))
    (other / JOURNAL_FILE).write_bytes(written[:length])
    found = trials_of(other)
    assert found == trials_of(folder)[: len(found)]


@FAST
@given(data=st.data())
def test_a_changed_byte_in_a_journal_is_warned_of(whole, other, caplog, data):
    folder, written = whole
    place = data.draw(st.integers(0, len(written) - 1))
    changed = bytearray(written)
    changed[place] ^= data.draw(st.integers(1, 255))
    (other / JOURNAL_FILE).write_bytes(changed)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        found = trials_of(other)
    assert caplog.records
    assert all(trial in trials_of(folder) for trial in found)


@settings(FAST, max_examples=25)
@given(data=st.data())
def test_a_sweep_that_was_killed_anywhere_ends_with_the_files_of_one_that_was_not(whole, tmp_path_factory, data):
    folder, written = whole
    first_line = written.index(b"\n") + 1
    length = data.draw(st.integers(first_line, len(written)))
    resumed = tmp_path_factory.mktemp("resumed")
    (resumed / JOURNAL_FILE).write_bytes(written[:length])
    kept = len(trials_of(resumed))
    trials = FakeTrials(rate_of)
    run_in_journal(resumed, trials)
    assert len(trials.calls) == 8 - kept
    for path in folder.glob("*.json"):
        assert timeless(resumed / path.name) == timeless(path)


def timeless(path):
    return [line for line in path.read_text().splitlines() if '"created"' not in line]
