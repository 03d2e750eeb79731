# SPDX-License-Identifier: MIT
"""The journal's file: what reaches the disk, what a reader makes of damage, what happens when the disk is full."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.sweeps import FakeTrials, conditions, failure, fake_sweep, run_in_journal, small_plan, success
from virnuc_profiler.errors import OutputError, TelemetryFormatError
from virnuc_profiler.sweep.results import journal as journal_module
from virnuc_profiler.sweep.results.journal import JOURNAL_FILE, Journal, read_journal
from virnuc_profiler.sweep.results.sweep_migrations import VERSION
from virnuc_profiler.telemetry.checked_lines import decode_lines, encode_line


@pytest.fixture
def swept(tmp_path):
    run_in_journal(tmp_path, begin=small_plan(("baseline", "dataloader")))
    return tmp_path


def lines_of(folder):
    return (folder / JOURNAL_FILE).read_bytes().splitlines(keepends=True)


def write(folder, lines):
    (folder / JOURNAL_FILE).write_bytes(b"".join(lines))


def steps_of(folder):
    return [trial.step for record in read_journal(folder) for trial in record.trials]


def test_a_trial_is_synced_before_the_next_begins_and_the_folder_when_the_file_is_made(tmp_path, monkeypatch):
    synced = []
    real = os.fsync

    def fsync(descriptor):
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(journal_module.os, "fsync", fsync)
    seen = []

    def trial(configuration):
        seen.append(synced.count(str(tmp_path / JOURNAL_FILE)))
        return failure(configuration, peak_memory_gb=None)

    run_in_journal(tmp_path, FakeTrials(trial), begin=small_plan(("dataloader",)))
    assert str(tmp_path) in synced
    assert seen == [seen[0], seen[0] + 1, seen[0] + 2]


def test_a_trial_names_all_that_it_depends_on(swept):
    lines = decode_lines((swept / JOURNAL_FILE).read_bytes())
    by_kind = {entry["kind"]: entry for _, entry in lines.entries}
    trial, circumstances = by_kind["trial"], by_kind["conditions"]
    assert {"step", "configuration", "fingerprint", "num_sequences", "conditions", "result"} <= set(trial)
    assert trial["conditions"] == circumstances["conditions"]
    assert {"machine", "versions", "model", "settings"} <= set(circumstances)
    assert {"model_name", "weights", "precision"} <= set(circumstances["model"])


def test_a_torn_last_line_is_dropped_with_a_warning_and_cut_off_before_the_next_is_written(swept, caplog):
    *lines, last = lines_of(swept)
    write(swept, [*lines, last[:-20]])
    assert steps_of(swept) == ["baseline", "dataloader"]
    assert "the last line is not whole" in caplog.text
    trials = FakeTrials()
    run_in_journal(swept, trials)
    assert len(trials.calls) == 1
    assert decode_lines((swept / JOURNAL_FILE).read_bytes()).damaged == ()


def test_a_damaged_line_is_named_and_its_trial_run_again(swept, caplog):
    lines = lines_of(swept)
    lines[3] = lines[3].replace(b"success", b"succesS")
    write(swept, lines)
    assert steps_of(swept) == ["baseline", "dataloader"]
    assert "line 4 is damaged and not used" in caplog.text
    trials = FakeTrials()
    run_in_journal(swept, trials)
    assert len(trials.calls) == 1
    assert steps_of(swept) == ["baseline", "dataloader", "dataloader"]


@pytest.mark.parametrize("number", [1, 2])
def test_trials_whose_sweep_or_conditions_are_damaged_are_not_used(swept, caplog, number):
    lines = lines_of(swept)
    lines[number - 1] = b"x" + lines[number - 1][1:]
    write(swept, lines)
    assert steps_of(swept) == []
    assert f"line {number} is damaged" in caplog.text
    assert "3, 4, 5 are not used" in caplog.text


def test_sound_lines_of_another_form_are_an_error_that_names_the_line(swept):
    lines = lines_of(swept)
    write(swept, [*lines, encode_line({"kind": "thought", "sweep": read_journal(swept)[0].key})])
    with pytest.raises(TelemetryFormatError, match=rf"journal\.jsonl, line {len(lines) + 1}: .*'thought'"):
        read_journal(swept)
    write(swept, [lines[0].replace(f'"{VERSION}"'.encode(), b'"9.0"')])
    assert read_journal(swept) == []  # it is damaged
    write(swept, [encode_line({**decode_lines(lines[0]).entries[0][1], "journal_version": "9.0"})])
    with pytest.raises(TelemetryFormatError, match=r"schema_version 9\.0; this version reads 1\.x"):
        read_journal(swept)


def test_a_full_disk_keeps_what_was_written_and_says_so(swept, monkeypatch):
    before = (swept / JOURNAL_FILE).read_bytes()
    real = os.write

    def full(descriptor, data):
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == JOURNAL_FILE:
            real(descriptor, bytes(data[:10]))  # as a disk does that fills up in the middle
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data)

    monkeypatch.setattr(journal_module.os, "write", full)
    with Journal(swept) as journal, pytest.raises(OutputError, match=r"No space left.*its 3 finished trials stay"):
        journal.note(conditions(versions__torch="9"))
    assert (swept / JOURNAL_FILE).read_bytes() == before
    assert steps_of(swept) == ["baseline", "dataloader", "dataloader"]


@pytest.mark.parametrize("instead", [False, True])
def test_a_folder_that_is_taken_away_is_noticed(tmp_path, instead):
    folder = tmp_path / "results"
    trials = FakeTrials()

    def take_it_away(configuration):
        if len(trials.calls) == 2:
            folder.rename(tmp_path / "elsewhere")
            if instead:
                folder.mkdir()
                run_in_journal(folder, begin=small_plan(("baseline",)))
        return success(configuration)

    trials.result_of = take_it_away
    folder.mkdir()
    with pytest.raises(OutputError, match="was removed or moved while the sweep ran"):
        run_in_journal(folder, trials, begin=small_plan(("baseline", "dataloader")))
    assert steps_of(tmp_path / "elsewhere") == ["baseline"]


def test_a_folder_without_a_journal_has_no_sweeps(tmp_path):
    assert read_journal(tmp_path) == []
    with Journal(tmp_path) as journal, pytest.raises(ValueError, match="begin"):
        _ = journal.current


def test_a_journal_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / JOURNAL_FILE).mkdir()
    with pytest.raises(TelemetryFormatError, match=r"cannot read .*journal\.jsonl"):
        read_journal(tmp_path)


def test_results_hold_what_json_keeps(tmp_path):
    name = b"\xff.faa".decode("utf-8", "surrogateescape")
    plan = small_plan(("baseline",), fasta=name)
    run_in_journal(tmp_path, begin=plan)
    (record,) = read_journal(tmp_path)
    assert record.plan == plan
    assert record.plan.options["fasta"] == name


def test_several_sweeps_of_one_folder_are_kept_apart(tmp_path):
    for fingerprint in ("sha256:aa", "sha256:cc"):
        sweep = fake_sweep(tmp_path)
        sweep.workload = replace(sweep.workload, fingerprint=fingerprint)
        sweep.run(["baseline"])
    first, second = read_journal(tmp_path)
    assert (len(first.trials), len(second.trials)) == (1, 1)
    assert first.key != second.key
