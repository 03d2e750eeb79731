# SPDX-License-Identifier: MIT
"""A cluster that exists in this process alone: places for actors, and ranks that follow a script."""

from types import SimpleNamespace

from virnuc_profiler.embed.on_ray.rank_actor import ActorPlace, Ended
from virnuc_profiler.embed.on_ray.ray_cluster import RayNode
from virnuc_profiler.ranks.rank_variables import (
    ATTEMPT_VARIABLE,
    COUNT_VARIABLE,
    JOB_VARIABLE,
    RANK_VARIABLE,
    current_rank,
)


class Lost(Exception):
    """What Ray raises of an actor that is gone."""


class Failed(Lost):
    """What Ray raises of a task that has raised something."""


class PretendedCluster:
    """A cluster whose nodes have these CPU cores; ``script(rank, attempt)`` returns what a rank prints, and its end.

    ``LOSE_ACTOR`` and ``LOSE_NODE`` in it end the actor, alone or with its node.
    """

    LOSE_ACTOR, LOSE_NODE = "actor", "node"

    def __init__(self, cpus, script, problem=None):
        self.places = {f"node{number}": count for number, count in enumerate(cpus)}
        self.script = script
        self.problem = problem
        self.actors = []
        self.started = []  # rank, count, job and attempt of each start
        self.most_waiting = 0
        self.ray = SimpleNamespace(
            remote=lambda **_: lambda cls: SimpleNamespace(remote=self._make_actor),
            wait=self._wait, get=lambda reference: reference(), kill=self._kill,
            exceptions=SimpleNamespace(RayError=Lost, RayTaskError=Failed),
        )  # fmt: skip

    def nodes(self):
        return [RayNode(name, name, float(count), 0.0) for name, count in self.places.items()]

    def call_on(self, node, function, probe):
        def answer():
            if isinstance(self.problem, Exception):
                raise self.problem
            return self.problem

        return answer

    def _make_actor(self, probe, cores):
        actor = SimpleNamespace(node=None, alive=True, stopped=[])
        actor.look = SimpleNamespace(remote=lambda: _Look(self, actor))
        actor.run = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda *a: _Run(self, actor, *a)))
        stop = SimpleNamespace(remote=actor.stopped.append)
        actor.stop = SimpleNamespace(options=lambda **_: stop)
        self.actors.append(actor)
        return actor

    def _kill(self, actor):
        actor.alive = False

    def _wait(self, references, num_returns, timeout):
        self.most_waiting = max(self.most_waiting, sum(isinstance(each, _Look) for each in references))
        ready = [each for each in references if not isinstance(each, _Look | _Run) or each.is_ready()]
        return ready, [each for each in references if each not in ready]

    def free_node(self):
        taken = [actor.node for actor in self.actors if actor.alive and actor.node is not None]
        return next((name for name, count in self.places.items() if taken.count(name) < count), None)


class _Look:
    def __init__(self, cluster, actor):
        self.cluster, self.actor = cluster, actor

    def is_ready(self):
        if self.actor.node is None and self.actor.alive:
            self.actor.node = self.cluster.free_node()
        return self.actor.node is not None

    def __call__(self):
        problem = self.cluster.problem
        return ActorPlace(self.actor.node, self.actor.node, 1, problem if isinstance(problem, str) else None)


class _Run:
    def __init__(self, cluster, actor, arguments, environment, workers):
        self.cluster, self.actor = cluster, actor
        numbers = [int(environment[name]) for name in (RANK_VARIABLE, COUNT_VARIABLE, ATTEMPT_VARIABLE)]
        rank, count, attempt = numbers
        assert current_rank(environment).launcher == "Ray"
        cluster.started.append((rank, count, environment[JOB_VARIABLE], attempt))
        self.events = iter(cluster.script(rank, attempt))

    def is_ready(self):
        return True

    def __next__(self):
        event = next(self.events)
        if event == PretendedCluster.LOSE_NODE:
            self.cluster.places.pop(self.actor.node)
        if isinstance(event, str):
            self.actor.alive = False
            return self._lost
        return lambda: [event]

    @staticmethod
    def _lost():
        raise Lost


def ended(code):
    """The script of a rank that only ends."""
    return [Ended(code)]
