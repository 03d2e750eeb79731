# SPDX-License-Identifier: MIT
"""Only for the forkserver of a model process, which imports it before it forks workers.

From then on the forkserver dies with the process that started it, and each worker with the forkserver: also those that
are stopped, or block where no thread of theirs can see that the others are gone.
"""

import os

from virnuc_profiler.sweep.supervision.kinship import die_with

_FORKSERVER = os.getpid()
_in_forkserver = True


def _in_child() -> None:
    global _in_forkserver
    if _in_forkserver:  # it was, until this fork: what a worker forks has another parent
        _in_forkserver = False
        die_with(_FORKSERVER)


die_with(os.getppid())
os.register_at_fork(after_in_child=_in_child)
