# SPDX-License-Identifier: MIT
"""The launcher of ranks on one host, with real processes."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from tests.support.command import wait_until
from virnuc_profiler.ranks.local_launcher import run_ranks

SHOW = "import os; print(os.environ['VIRNUC_PROFILER_RANK'], os.environ['VIRNUC_PROFILER_RANKS'], os.environ['GPU'])"
DIE_ONCE = """
import os, signal, sys
if os.environ["VIRNUC_PROFILER_RANK"] == "1" and os.environ["VIRNUC_PROFILER_ATTEMPT"] in sys.argv[1].split():
    os.kill(os.getpid(), signal.SIGKILL)
print("done in attempt", os.environ["VIRNUC_PROFILER_ATTEMPT"])
"""
WAIT = """
import signal, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
def stop(number, frame):
    (folder / f"stopped_{number}_{os.environ['VIRNUC_PROFILER_RANK']}").touch()
    sys.exit(1)
import os
signal.signal(signal.SIGINT, stop)
signal.signal(signal.SIGTERM, stop)
(folder / f"ready_{os.environ['VIRNUC_PROFILER_RANK']}").touch()
time.sleep(600)
"""
LAUNCH = """
import sys
from virnuc_profiler.ranks.local_launcher import run_ranks
run_ranks([sys.executable, "-c", sys.argv[1], sys.argv[2]], [{}, {}], say=print, stop_s=30)
"""


@pytest.fixture
def said():
    return []


def launch(script, *arguments, count=2, say=print, **options):
    environments = [{"GPU": f"GPU-{index}"} for index in range(count)]
    return run_ranks([sys.executable, "-c", script, *arguments], environments, say=say, **options)


def test_each_rank_knows_its_number_and_sees_its_own_device(capsys):
    assert launch(SHOW, count=3) == [0, 0, 0]
    lines = sorted(capsys.readouterr().out.splitlines())
    assert lines == [f"[rank {index}] {index} 3 GPU-{index}" for index in range(3)]


def test_what_ranks_print_keeps_its_stream(capsys):
    launch("import sys; print('out'); print('err', file=sys.stderr)", count=1)
    output = capsys.readouterr()
    assert (output.out, output.err) == ("[rank 0] out\n", "[rank 0] err\n")


def test_a_rank_that_was_killed_is_started_again(said, capsys):
    assert launch(DIE_ONCE, "0", say=said.append) == [0, 0]
    assert said == ["rank 1 was killed by SIGKILL, and is started again"]
    assert "[rank 1] done in attempt 1" in capsys.readouterr().out


def test_a_rank_that_is_killed_again_and_again_is_given_up(said):
    assert launch(DIE_ONCE, "0 1 2", say=said.append, max_restarts=2) == [0, -signal.SIGKILL]
    assert [line.split(";")[0] for line in said[:2]] == ["rank 1 was killed by SIGKILL, and is started again"] * 2
    assert said[2].startswith("rank 1 was killed by SIGKILL again; ")


def test_a_rank_that_ends_with_an_error_is_not_started_again(said):
    script = "import os, sys; sys.exit(3 if os.environ['VIRNUC_PROFILER_RANK'] == '0' else 0)"
    assert launch(script, say=said.append) == [3, 0]
    assert len(said) == 1
    assert said[0].startswith("rank 0 ended with exit code 3; ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_ends_all_ranks(tmp_path, number):
    def stop():
        wait_until(lambda: len(list(tmp_path.glob("ready_*"))) == 2)
        os.kill(os.getpid(), number)

    def handle(number, frame):
        raise KeyboardInterrupt(*(() if number == signal.SIGINT else ("SIGTERM",)))

    before = {each: signal.signal(each, handle) for each in (signal.SIGINT, signal.SIGTERM)}
    thread = threading.Thread(target=stop)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            launch(WAIT, str(tmp_path))
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    thread.join()
    assert sorted(path.name for path in tmp_path.glob("stopped_*")) == [f"stopped_{number}_{rank}" for rank in (0, 1)]


def test_ranks_that_ignore_a_stop_signal_are_killed(tmp_path):
    script = WAIT.replace("sys.exit(1)", "time.sleep(600)")
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCH.replace("stop_s=30", "stop_s=0.5"), script, str(tmp_path)],
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: len(list(tmp_path.glob("ready_*"))) == 2)
    launcher.send_signal(signal.SIGINT)
    assert launcher.wait(timeout=60) != 0
    assert len(list(tmp_path.glob("stopped_*"))) == 2


def test_a_process_that_a_killed_rank_has_left_does_not_hide_its_end(said, tmp_path):
    """It has inherited the pipes, and keeps them open."""
    script = (
        "import os, signal, subprocess, sys\n"
        "from pathlib import Path\n"
        "if os.environ['VIRNUC_PROFILER_ATTEMPT'] == '0':\n"
        "    left = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "    Path(sys.argv[1]).write_text(str(left.pid))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert launch(script, str(tmp_path / "pid"), count=1, say=said.append) == [0]
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
