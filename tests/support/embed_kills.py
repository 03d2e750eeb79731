# SPDX-License-Identifier: MIT
"""A process that starts the same job again and again by forking, and kills it after some time, for the kill tests.

Forking spares each of the runs the seconds in which PyTorch is imported. Commands on stdin are seconds to live, and
``end`` for a run to its end; each is answered with ``killed`` or the exit code.
"""

import os
import signal
import sys
import time
import traceback
from pathlib import Path

from tests.support.embed_job import TellingModel, run_job


def main(path, folder, seconds_per_batch):
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                run_job(Path(path), Path(folder), model=TellingModel(float(seconds_per_batch)))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        print(_outcome(pid, None if line.strip() == "end" else time.monotonic() + float(line)), flush=True)


def _outcome(pid, deadline):
    while True:
        ended, status = os.waitpid(pid, 0 if deadline is None else os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return "killed"
        time.sleep(0.001)


if __name__ == "__main__":
    main(*sys.argv[1:])
