# SPDX-License-Identifier: MIT
"""The actor that runs a rank: a process of its own, as under every other launcher, on the node that Ray has chosen.

The rank is a process because what can befall it, such as the kernel's killing it when memory is short, must not look
like the loss of a node, and because it stops on a signal as it does elsewhere: with complete shards written. It ends
with the actor, whatever ends that.
"""

from __future__ import annotations

import os
import platform
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, Final

from virnuc_profiler.embed.on_ray.node_check import NodeProbe, node_problem
from virnuc_profiler.embed.on_ray.ray_cluster import import_ray
from virnuc_profiler.ranks.host_share import threads_of_rank, workers_of_rank
from virnuc_profiler.ranks.local_launcher import LAUNCHER_VARIABLE

_LAST_LINES_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class ActorPlace:
    """Where an actor is.

    Attributes:
        node_id: Ray's id of the node.
        host: Name of the host.
        pid: Process id of the actor.
        problem: Why no rank can run there, in a sentence; None if one can.
    """

    node_id: str
    host: str
    pid: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class Line:
    """A line that a rank has printed.

    Attributes:
        text: The line without its end.
        is_error: Whether it went to stderr.
    """

    text: str
    is_error: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a rank's process.

    Attributes:
        code: Its exit code; a negative one is the number of the signal that killed it.
    """

    code: int


class RankActor:
    """Runs one rank after the other; Ray makes it on a node, with a GPU of its own if it asks for one.

    Args:
        probe: What the node must see.
        cores: CPU cores of the rank if it has no GPU; None to divide those of the node by its GPUs.
    """

    def __init__(self, probe: NodeProbe, cores: float | None) -> None:
        self._probe = probe
        self._cores = cores
        self._process: subprocess.Popen[bytes] | None = None

    def look(self) -> ActorPlace:
        """Return where this is, and whether a rank can run here."""
        ray = import_ray()
        node_id = ray.get_runtime_context().get_node_id()
        if self._cores is None:
            resources = next(node["Resources"] for node in ray.nodes() if node["NodeID"] == node_id)
            self._cores = resources.get("CPU", 1.0) / max(1.0, resources.get("GPU", 1.0))
        return ActorPlace(node_id, platform.node(), os.getpid(), node_problem(self._probe))

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], workers: int | None
    ) -> Iterator[list[Line | Ended]]:
        """Run a rank to its end, and yield what it prints, and its end at last.

        Args:
            arguments: Arguments of Python.
            environment: Variables that the rank gets on top of those of this process.
            workers: Loader workers of a rank that has enough cores, of which it gets no more than its cores leave; None
                if the arguments name their number.
        """
        cores = self._cores or 1.0
        own = {"OMP_NUM_THREADS": str(threads_of_rank(cores)), LAUNCHER_VARIABLE: str(os.getpid())}
        if workers is not None:
            arguments = [*arguments, "--num-workers", str(workers_of_rank(cores, workers))]
        events: queue.SimpleQueue[Line | Ended] = queue.SimpleQueue()
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, **own, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._process = process
        threading.Thread(target=_watch, args=(process, events), daemon=True).start()
        ended = False
        while not ended:
            batch = [events.get()]
            with suppress(queue.Empty):
                while True:
                    batch.append(events.get_nowait())
            ended = any(isinstance(event, Ended) for event in batch)
            yield batch

    def stop(self, number: int) -> None:
        """Send a signal to the rank, if one runs.

        Args:
            number: Number of the signal.
        """
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.Signals(number))


def _watch(process: subprocess.Popen[bytes], events: queue.SimpleQueue[Any]) -> None:
    """Put everything that a process prints, and then its end, into a queue."""
    assert process.stdout is not None
    assert process.stderr is not None
    readers = [
        threading.Thread(target=_read, args=(pipe, is_error, events), daemon=True)
        for pipe, is_error in ((process.stdout, False), (process.stderr, True))
    ]
    for reader in readers:
        reader.start()
    code = process.wait()
    deadline = time.monotonic() + _LAST_LINES_S
    for reader in readers:  # a process that a killed rank has left may keep its pipes open
        reader.join(max(0.0, deadline - time.monotonic()))
    events.put(Ended(code))


def _read(pipe: IO[bytes], is_error: bool, events: queue.SimpleQueue[Any]) -> None:
    with pipe:
        for line in pipe:
            events.put(Line(line.decode(errors="replace").rstrip("\r\n"), is_error))
