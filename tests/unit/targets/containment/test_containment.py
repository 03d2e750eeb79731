# SPDX-License-Identifier: MIT
"""Foreign code cannot end this process, keep Ctrl-C to itself, change settings for good, or print on our output."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from virnuc_profiler.errors import OutputError, TargetError
from virnuc_profiler.targets.containment.captured_output import captured_output
from virnuc_profiler.targets.containment.guarded_call import guarded_call
from virnuc_profiler.targets.containment.noted_interrupts import noted_interrupts
from virnuc_profiler.targets.containment.process_state import ProcessState


class Stopped(BaseException):
    pass


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SystemExit(3), r"mine called sys\.exit\(3\)"),
        (SystemExit(), r"mine called sys\.exit\(\)"),
        (Stopped("no more"), "mine raised Stopped: no more"),
    ],
)
def test_what_would_end_the_process_becomes_an_error(error, words):
    with pytest.raises(TargetError, match=words), guarded_call("mine"):
        raise error


@pytest.mark.parametrize("error", [ValueError("wrong"), KeyboardInterrupt()])
def test_errors_and_ctrl_c_pass(error):
    with pytest.raises(type(error)) as raised, guarded_call("mine"):
        raise error
    assert raised.value is error


def test_ctrl_c_is_noted_although_it_was_caught():
    before = signal.getsignal(signal.SIGINT)
    with noted_interrupts() as arrived:
        assert not arrived()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert arrived()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_that_foreign_code_has_set_is_left_to_what_puts_it_back():
    before = ProcessState.now()
    with noted_interrupts() as arrived:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.raise_signal(signal.SIGINT)
        assert not arrived()
    assert before.restore() == ["the handler of SIGINT"]
    assert before.restore() == []


def test_an_ignored_ctrl_c_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with noted_interrupts() as arrived:
            signal.raise_signal(signal.SIGINT)
            assert not arrived()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_leave_handlers_alone(tmp_path, monkeypatch):
    found = []

    def work():
        state = ProcessState.now()
        with noted_interrupts() as arrived:
            found.append(arrived())
        monkeypatch.chdir(tmp_path)
        found.append(state.restore())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False, [f"the working folder ({tmp_path})"]]


def test_a_working_folder_that_is_gone_is_named_and_not_put_back(tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    state = ProcessState.now()
    monkeypatch.chdir(tmp_path)
    folder.rmdir()
    assert state.restore() == [f"the working folder ({tmp_path})"]
    assert Path.cwd() == tmp_path


def test_standard_output_of_all_kinds_goes_to_the_file_and_comes_back(tmp_path, capfd):
    log = tmp_path / "new" / "output.log"
    print("before")
    with captured_output(log):
        print("of Python")
        os.write(1, b"of compiled code\n")
        subprocess.run(["echo", "of a child"], check=True)
        print("of errors", file=sys.stderr)
    print("after")
    out, err = capfd.readouterr()
    assert (out, err) == ("before\nafter\n", "of errors\n")
    assert sorted(log.read_text().splitlines()) == ["of Python", "of a child", "of compiled code"]


def test_it_comes_back_after_an_error_and_an_empty_file_is_removed(tmp_path, capfd):
    log = tmp_path / "output.log"
    with pytest.raises(LookupError), captured_output(log):
        raise LookupError
    assert not log.exists()
    os.write(1, b"after\n")
    assert capfd.readouterr().out == "after\n"


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="taken"), captured_output(tmp_path / "taken" / "output.log"):
        pass
