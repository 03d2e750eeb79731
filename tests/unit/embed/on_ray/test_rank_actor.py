# SPDX-License-Identifier: MIT
"""What an actor does with a rank's process, without Ray around it."""

import os
import signal
import threading

from virnuc_profiler.embed.on_ray.node_check import NodeProbe
from virnuc_profiler.embed.on_ray.rank_actor import Ended, Line, RankActor
from virnuc_profiler.ranks.local_launcher import LAUNCHER_VARIABLE


def actor_of(tmp_path, cores=1.0):
    return RankActor(NodeProbe(tmp_path, "token", tmp_path / "a.faa", 0), cores)


def run(actor, code, *, workers=None, **environment):
    return [event for batch in actor.run(["-c", code], environment, workers) for event in batch]


def test_everything_that_a_rank_prints_arrives_before_its_end(tmp_path):
    code = "import sys; print('one'); print(); print('two', file=sys.stderr); sys.exit(3)"
    *lines, end = run(actor_of(tmp_path), code)
    assert [line for line in lines if not line.is_error] == [Line("one", False), Line("", False)]
    assert [line for line in lines if line.is_error] == [Line("two", True)]
    assert end == Ended(3)


def test_a_rank_that_is_killed_ends_with_the_signal(tmp_path):
    assert run(actor_of(tmp_path), "import os; os.kill(os.getpid(), 9)") == [Ended(-signal.SIGKILL)]


def test_a_rank_has_its_share_of_the_cores_and_the_variables_of_its_launcher(tmp_path):
    code = (
        "import os, sys; "
        f"print(os.environ['OMP_NUM_THREADS'], os.environ['{LAUNCHER_VARIABLE}'], os.environ['OWN'], sys.argv[1:])"
    )
    events = run(actor_of(tmp_path, cores=3.0), code, workers=8, OWN="yes")
    assert events[0] == Line(f"3 {os.getpid()} yes ['--num-workers', '2']", False)


def test_a_signal_reaches_the_rank(tmp_path):
    actor = actor_of(tmp_path)
    code = (
        "import time\ntry:\n    print('runs', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt:\n    print('stops')"
    )
    batches = actor.run(["-c", code], {}, None)
    assert next(batches) == [Line("runs", False)]
    thread = threading.Thread(target=actor.stop, args=(signal.SIGINT,))  # as Ray calls it
    thread.start()
    rest = [event for batch in batches for event in batch]
    thread.join()
    assert rest == [Line("stops", False), Ended(0)]


def test_a_process_that_a_rank_leaves_does_not_hold_up_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("virnuc_profiler.embed.on_ray.rank_actor._LAST_LINES_S", 0.1)
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)"
    line, end = run(actor_of(tmp_path), code)
    os.kill(int(line.text), signal.SIGKILL)
    assert end == Ended(0)
