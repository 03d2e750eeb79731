# SPDX-License-Identifier: MIT
"""End what a target has started even if the supervisor is killed, by a small process that waits for nothing else.

The kernel kills the model process together with the supervisor, but not what the model process has started. The
workers of the built-in pipeline end by themselves; those of other programs need not.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Final

_GUARD: Final = """
import os, select, signal, sys
requests = int(sys.argv[1])
poll = select.poll()
poll.register(requests, 0)
try:
    model = os.pidfd_open(os.getppid())
    poll.register(model, select.POLLIN)
except (AttributeError, OSError):
    pass
ready = [descriptor for descriptor, _ in poll.poll()]
if requests in ready:
    os.killpg(0, signal.SIGKILL)
"""
"""The pipe of the requests hangs up when the supervisor is gone, before the kernel kills the model process. If only the
model process is gone, the supervisor ends its group."""


def start_group_guard(requests: int) -> subprocess.Popen[bytes] | None:
    """Start a process that kills the process group of this one once the supervisor is gone; None if it cannot start.

    Args:
        requests: File descriptor of the pipe that delivers the supervisor's requests.
    """
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _GUARD, str(requests)],
            pass_fds=(requests,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return None
