# SPDX-License-Identifier: MIT
"""The live view on real pseudo-terminals: what is printed meanwhile is never lost, and the terminal stays whole."""

import signal
import time

import pytest

pytest.importorskip("pyte")

from tests.support.terminal import Terminal, python

BEGIN = """
import os, signal, subprocess, sys, threading, time
from virnuc_profiler.cli.live.screen import Screen
drawn = 0
def view(columns):
    global drawn
    drawn += 1
    return "\\n".join(f"view {columns} {drawn} ".ljust(columns, "-") for _ in range(3))
def drawings(count):
    last = drawn + count
    while drawn < last:
        time.sleep(0.01)
"""

PRINT = """
with Screen(view, 0.02):
    for number in range(40):
        print(f"stdout {number}")
        print(f"stderr {number}", file=sys.stderr)
        os.write(2, f"raw {number}\\n".encode())
        drawings(1)
    subprocess.run(["echo", "child"])
    drawings(2)
print("after")
"""


def in_order(lines, name, count):
    return [line for line in lines if line.startswith(name)] == [f"{name} {number}" for number in range(count)]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_what_is_printed_meanwhile_stays_and_the_view_goes(columns):
    with Terminal(python(BEGIN + PRINT), columns) as terminal:
        assert terminal.finish() == 0
        lines = terminal.seen()
        for name in ("stdout", "stderr", "raw"):
            assert in_order(lines, name, 40), lines
        assert lines[-2:] == ["child", "after"]
        assert not [line for line in lines if "view" in line]
        assert f"view {columns} " in terminal.raw.decode()
        assert not terminal.screen.cursor.hidden


def test_the_view_is_below_what_is_printed_and_fills_the_width():
    with Terminal(python(BEGIN + "with Screen(view, 0.02):\n    print('above')\n    time.sleep(60)"), 60) as terminal:
        terminal.until(lambda one: "above" in one.shown() and sum(line.startswith("view") for line in one.shown()) == 3)
        above, blank, *view = terminal.shown()[:5]
        assert (above, blank) == ("above", "")
        assert [len(line) for line in view] == [60, 60, 60]
        assert (terminal.screen.cursor.x, terminal.screen.cursor.y) == (0, 1)


def test_more_lines_than_a_terminal_has_are_cut():
    script = "with Screen(lambda columns: '\\n'.join(f'row {row}' for row in range(99)), 0.02):\n    time.sleep(60)"
    with Terminal(python(BEGIN + script), rows=10) as terminal:
        terminal.until(lambda one: "row 7" in one.shown())
        time.sleep(0.1)
        assert terminal.shown() == ["", *(f"row {row}" for row in range(8)), ""]


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("raise RuntimeError('it crashed')", 1),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os._exit(3)", 3),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", -signal.SIGINT),
    ],
)
def test_however_it_ends_the_terminal_works_and_nothing_is_lost(end, code):
    script = f"with Screen(view, 0.02):\n    print('printed', flush=True)\n    drawings(3)\n    {end}"
    with Terminal(python(BEGIN + script)) as terminal:
        assert terminal.finish() == code
        lines = terminal.seen()
        assert lines[0] == "printed"
        assert not terminal.screen.cursor.hidden
        assert "?7l" not in terminal.raw.decode().rpartition("?7h")[2]  # long lines wrap again
        if code == 1:
            assert lines[-1] == "RuntimeError: it crashed"
            assert not [line for line in lines if "view" in line]


def test_ctrl_c_ends_it_and_what_is_said_then_stays():
    script = """
def stop(number, frame):
    os.write(2, b"Stopping ...\\n")
    raise KeyboardInterrupt
signal.signal(signal.SIGINT, stop)
try:
    with Screen(view, 0.02):
        print("printed")
        time.sleep(60)
except KeyboardInterrupt:
    print("stopped")
"""
    with Terminal(python(BEGIN + script)) as terminal:
        terminal.until(lambda one: "printed" in one.shown() and any(line.startswith("view") for line in one.shown()))
        terminal.press("\x03")
        assert terminal.finish() == 0
        assert terminal.seen() == ["printed", "^CStopping ...", "stopped"]


def test_a_terminal_may_be_resized():
    script = """
with Screen(view, 0.02):
    for number in range(300):
        print(f"line {number}")
        drawings(1)
"""
    with Terminal(python(BEGIN + script), 80) as terminal:
        for seen, columns in ((40, 40), (110, 200), (180, 60)):
            terminal.until(lambda one, seen=seen: f"line {seen}\r\n" in one.raw.decode())
            terminal.resize(columns)
        assert terminal.finish() == 0
        assert in_order(terminal.seen(), "line", 300)
        assert {f"view {columns} " in terminal.raw.decode() for columns in (80, 40, 200, 60)} == {True}
        assert not [line for line in terminal.shown() if line.startswith("view")]


def test_a_tiny_terminal_shows_no_view():
    with Terminal(
        python(BEGIN + "with Screen(view, 0.02):\n    time.sleep(0.3)\n    print('end', drawn)"), 15, 24
    ) as tiny:
        assert tiny.finish() == 0
        assert tiny.seen() == ["end 0"]


def test_output_in_a_file_gets_nothing_of_the_view(tmp_path):
    script = "sys.stdout = open(sys.argv[1], 'w')\n" + PRINT.replace('["echo", "child"]', '["true"]')
    with Terminal(python(BEGIN + script, str(tmp_path / "out"))) as terminal:
        assert terminal.finish() == 0
        assert (tmp_path / "out").read_text().split() == [
            word for number in range(40) for word in ("stdout", str(number))
        ] + ["after"]
        lines = terminal.seen()
        assert in_order(lines, "stderr", 40)
        assert in_order(lines, "raw", 40)
        assert not [line for line in lines if "stdout" in line]


def test_threads_may_print_lines_and_parts_of_lines():
    script = """
def prints(name):
    for number in range(50):
        sys.stderr.write(f"{name} ")
        sys.stderr.write(f"{number}\\n")
with Screen(view, 0.01):
    print("no end", end="")
    threads = [threading.Thread(target=prints, args=(f"thread{name}",)) for name in range(1)]
    threads += [threading.Thread(target=lambda: [print(f"other {number}") for number in range(50)])]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
print(", but here")
"""
    with Terminal(python(BEGIN + script)) as terminal:
        assert terminal.finish() == 0
        lines = terminal.seen()
        assert in_order(lines, "thread0", 50)
        assert len([line for line in lines if "other" in line]) == 50
        assert not [line for line in lines if "view" in line]


def test_a_bar_that_draws_itself_over_shows_its_last_state():
    script = """
with Screen(view, 0.02):
    for number in range(20_000):
        sys.stderr.write(f"\\rbar {number:6} of 20000")
    assert len(sys.stderr._rest) < 100
    sys.stderr.write("\\n")
"""
    with Terminal(python(BEGIN + script)) as terminal:
        assert terminal.finish() == 0
        assert terminal.seen() == ["bar  19999 of 20000"]


def test_a_view_that_fails_ends_nothing():
    script = "with Screen(lambda columns: 1 / 0, 0.02):\n    print('one')\n    time.sleep(0.1)\n    print('two')"
    with Terminal(python(BEGIN + script)) as terminal:
        assert terminal.finish() == 0
        assert terminal.seen() == ["one", "two"]


def test_a_job_in_the_background_draws_nothing_and_is_not_stopped():
    """``stty tostop`` stops a background job that writes; a live view must not be what stops it."""
    script = """
import termios
settings = termios.tcgetattr(2)
settings[3] |= termios.TOSTOP
termios.tcsetattr(2, termios.TCSANOW, settings)
child = os.fork()
if not child:
    os.setpgid(0, 0)
    while os.tcgetpgrp(2) == os.getpgrp():
        time.sleep(0.01)
    with Screen(view, 0.01):
        time.sleep(0.3)
    os._exit(7 if drawn else 0)
_, status = os.waitpid(child, os.WUNTRACED)
print("stopped" if os.WIFSTOPPED(status) else f"ended with {os.waitstatus_to_exitcode(status)}")
if os.WIFSTOPPED(status):
    os.kill(child, signal.SIGKILL)
"""
    with Terminal(python(BEGIN + script)) as terminal:
        assert terminal.finish() == 0
        assert terminal.seen() == ["ended with 0"]


def test_ctrl_z_erases_the_view_and_it_comes_back_in_the_foreground():
    script = """
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if not child:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(2, os.getpgrp())
    with Screen(view, 0.02):
        print("running")
        time.sleep(1.5)
    print("done")
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, os.WUNTRACED)
os.tcsetpgrp(2, os.getpgrp())
print("[1]+ stopped")
sys.stdin.readline()
os.tcsetpgrp(2, child)
os.kill(child, signal.SIGCONT)
os.waitpid(child, 0)
"""
    with Terminal(python(BEGIN + script)) as terminal:
        terminal.until(lambda one: "running" in one.shown() and any(line.startswith("view") for line in one.shown()))
        terminal.press("\x1a")
        terminal.until(lambda one: any("stopped" in line for line in one.shown()))
        assert [line for line in terminal.seen() if line] == ["running", "^Z[1]+ stopped"]
        terminal.press("\n")
        terminal.until(lambda one: any(line.startswith("view") for line in one.shown()))
        assert terminal.finish() == 0
        assert terminal.seen()[-1] == "done"
        assert not [line for line in terminal.seen() if line.startswith("view")]


def test_a_terminal_that_is_gone_ends_nothing(tmp_path):
    script = """
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with Screen(view, 0.02):
    while os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    time.sleep(0.2)
open(sys.argv[2], "w").close()
"""
    (tmp_path / "open").touch()
    with Terminal(python(BEGIN + script, str(tmp_path / "open"), str(tmp_path / "ended"))) as terminal:
        terminal.until(lambda one: any(line.startswith("view") for line in one.shown()))
        terminal.hang_up()
        (tmp_path / "open").unlink()
        assert terminal.end() == 0
    assert (tmp_path / "ended").exists()


def test_the_streams_are_those_of_before_afterwards():
    script = """
before = sys.stdout, sys.stderr
with Screen(view, 0.02):
    print(sys.stdout.isatty(), sys.stderr.fileno(), sys.stdout.encoding.lower(), sys.stdout.writable())
print((sys.stdout, sys.stderr) == before)
"""
    with Terminal(python(BEGIN + script)) as terminal:
        assert terminal.finish() == 0
        assert terminal.seen() == ["True 2 utf-8 True", "True"]


SHOWS = "from virnuc_profiler.cli.live.screen import shows_live; print(shows_live())"


@pytest.mark.parametrize(
    ("variables", "shown"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, True),  # which is about colors
        ({"CI": "false"}, True),
        ({"CI": "true"}, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": None}, False),
        ({"TTY_INTERACTIVE": "0"}, False),
    ],
)
def test_where_a_view_is_shown(variables, shown):
    with Terminal(python(SHOWS), **variables) as terminal:
        terminal.finish()
        assert terminal.seen() == [str(shown)]


def test_no_view_is_shown_where_stderr_is_no_terminal(tmp_path):
    with Terminal(
        python(f"import sys; sys.stderr = open({str(tmp_path / 'log')!r}, 'w'); {SHOWS}"), FORCE_COLOR="1"
    ) as one:
        one.finish()
        assert one.seen() == ["False"]
