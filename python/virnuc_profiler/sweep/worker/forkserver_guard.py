# SPDX-License-Identifier: MIT
"""Tie a forkserver to the process that started it. Only the forkserver of a model process may import this module.

From this import on, the forkserver dies with its parent and each worker dies with the forkserver. That includes workers
that are stopped or blocked, which no thread of their own could end.
"""

import os

from virnuc_profiler.sweep.worker.process_tree import die_with_parent

_FORKSERVER = os.getpid()
_in_forkserver = True


def _after_fork() -> None:
    global _in_forkserver
    if _in_forkserver:  # only for direct children of the forkserver; children of a worker have another parent
        _in_forkserver = False
        die_with_parent(_FORKSERVER)


die_with_parent(os.getppid())
os.register_at_fork(after_in_child=_after_fork)
