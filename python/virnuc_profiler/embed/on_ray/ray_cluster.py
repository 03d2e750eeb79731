# SPDX-License-Identifier: MIT
"""The Ray cluster that a job runs on: one that is there, or one that is started on this host for this command alone."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from virnuc_profiler.embed.formats.optional_packages import require_package
from virnuc_profiler.errors import EnvironmentFailure, LibraryUnavailable, UsageError, first_line
from virnuc_profiler.inference.loading.interrupts import deferred_interrupts
from virnuc_profiler.telemetry.number_text import counted

AUTO: Final = "auto"
LOCAL: Final = "local"

_OBJECT_STORE_BYTES: Final = 80 * 2**20
"""Memory for Ray's objects where we start it. Only lines of text pass through it; Ray itself takes 30 % of the host."""

_ANSWER_S: Final = 10.0

_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing goes to the network
    "RAY_SCHEDULER_EVENTS": "0",  # no lines on actors that wait for a place, as those of a growing job do
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # an actor without a GPU sees none, and Ray does not warn of it
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RayNode:
    """A machine of the cluster.

    Attributes:
        id: Ray's id of the node.
        host: Name of the host.
        cpus: CPU cores that Ray may give away.
        gpus: GPUs that Ray may give away.
    """

    id: str
    host: str
    cpus: float
    gpus: float


class RayCluster:
    """A connection to a cluster.

    Args:
        ray: The module ``ray``, which is connected.
        started: Whether the cluster was started for this command.

    Attributes:
        ray: The module ``ray``.
        started: Whether the cluster was started for this command.
    """

    def __init__(self, ray: Any, *, started: bool) -> None:
        self.ray = ray
        self.started = started

    def nodes(self) -> list[RayNode]:
        """Return the nodes that are alive."""
        return [
            RayNode(
                node["NodeID"],
                node["NodeManagerHostname"],
                node["Resources"].get("CPU", 0.0),
                node["Resources"].get("GPU", 0.0),
            )
            for node in self.ray.nodes()
            if node["Alive"]
        ]

    def call_on(self, node: RayNode, function: Callable[..., Any], *arguments: Any) -> Any:
        """Start a call of a function on a node, and return Ray's reference to its result.

        Args:
            node: The node.
            function: A function of a module of this package.
            arguments: Its arguments.
        """
        strategies = import_ray("ray.util.scheduling_strategies")
        there = strategies.NodeAffinitySchedulingStrategy(node.id, soft=False)
        task = self.ray.remote(num_cpus=0, max_retries=0)(function).options(scheduling_strategy=there)
        return task.remote(*arguments)

    def __str__(self) -> str:
        nodes = self.nodes()
        cpus, gpus = (int(sum(values)) for values in zip(*((node.cpus, node.gpus) for node in nodes), strict=True))
        where = "started on this host" if self.started else counted(len(nodes), "node")
        return f"{where}, {counted(cpus, 'CPU core')}, {counted(gpus, 'GPU')}"


def import_ray(module: str = "ray") -> Any:
    """Import Ray, or a part of it.

    Args:
        module: Name of the module.

    Raises:
        LibraryUnavailable: Ray is not installed; the message says how to install it.
    """
    return require_package(module, "embed --engine ray and its actors", "'virnuc_profiler[ray]'")


@contextmanager
def ray_cluster(address: str | None) -> Iterator[RayCluster]:
    """Connect to a cluster, or start one that ends with the block.

    Args:
        address: ``auto`` for the cluster that this host is a node of, ``local`` for one that is started here, or
            ``HOST:PORT``; None for ``auto``, or else ``local``.

    Raises:
        LibraryUnavailable: Ray is not installed; the message says how to install it.
        UsageError: The address is that of a Ray client.
        EnvironmentFailure: No cluster answers, or none can be started, or it fails later.
    """
    if address is not None and "://" in address:
        raise UsageError(
            f"--ray-address {address} is that of a Ray client, whose files the nodes need not see: run the command on "
            "a node of the cluster, with --ray-address auto"
        )
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    ray = import_ray()
    _keep_quiet()
    try:
        with deferred_interrupts():  # Ray replaces the handler of SIGTERM, and this puts ours back
            started = _connect(ray, address)
        yield RayCluster(ray, started=started)
    except ray.exceptions.RayError as error:
        raise EnvironmentFailure(
            f"the Ray cluster has failed ({first_line(error)}); the same command continues the job"
        ) from error
    finally:
        with deferred_interrupts():
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> bool:
    """Connect, and return whether a cluster was started."""
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address != LOCAL:
        named = os.environ.get("RAY_ADDRESS", AUTO) if address in (None, AUTO) else address
        _require_answer(named)
        try:
            ray.init(address=address or AUTO, **quiet)
            return False
        except (ConnectionError, RuntimeError, ValueError) as error:
            if address is not None or "RAY_ADDRESS" in os.environ:
                raise _no_answer(named, error) from error
    try:
        ray.init(address=LOCAL, include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES, **quiet)
    except Exception as error:
        raise EnvironmentFailure(f"Ray cannot be started on this host: {first_line(error)}") from error
    return True


def _require_answer(address: str) -> None:
    """Check that something listens at an address; Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
        except (OSError, OverflowError) as error:
            raise _no_answer(address, error) from error


def _no_answer(address: str, error: Exception) -> EnvironmentFailure:
    return EnvironmentFailure(
        f"no Ray cluster answers at {address} ({first_line(error)}): start one with ray start, or let --ray-address "
        "local start one on this host"
    )


def _keep_quiet() -> None:
    """Log what Ray would print of lost actors, which the pool says in a sentence. Ray has no option for it."""
    with suppress(LibraryUnavailable):
        worker = import_ray("ray._private.worker")
        worker.print_to_stdstream = lambda data, *_, **__: _log.debug("Ray: %s", data.get("lines"))
