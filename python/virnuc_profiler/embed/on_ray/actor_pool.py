# SPDX-License-Identifier: MIT
"""The actors of a job: as many as were asked for, or as the cluster gives, and another one for each that is lost.

Ray finds a place for each actor, and asks its autoscaler for machines where there is none. Ranks find their shards by
the claims in the folder of the job, as under every other launcher, so nothing of the job is in Ray: whatever is lost,
the folder says what is left.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from virnuc_profiler.embed.on_ray.node_check import NodeProbe, node_problem
from virnuc_profiler.embed.on_ray.rank_actor import ActorPlace, Ended, Line, RankActor
from virnuc_profiler.embed.on_ray.ray_cluster import RayCluster, RayNode
from virnuc_profiler.errors import EnvironmentFailure, UsageError, first_line
from virnuc_profiler.ranks.local_launcher import MAX_RESTARTS, STOP_S, signal_name
from virnuc_profiler.ranks.rank_variables import RAY, rank_environment

ERROR_MARK: Final = "virnuc-profiler: error: "

_LOOK_S: Final = 120.0
"""Time for every node to start a process and to answer, in seconds."""

_POLL_S: Final = 0.5
_GROW_S: Final = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What the actors of a job are.

    Attributes:
        arguments: Arguments of Python that make it a rank.
        probe: What each node must see.
        max_actors: Number of actors that was asked for, or of shards that are left.
        elastic: Whether to take as many as the cluster gives, up to that number, instead of waiting for all of them.
        use_gpus: Whether each actor has a GPU of its own; else it has a CPU core.
        workers: Loader workers of a rank that has enough cores; None if the arguments name their number.
        environment: Variables that each rank gets.
    """

    arguments: Sequence[str]
    probe: NodeProbe
    max_actors: int
    elastic: bool
    use_gpus: bool
    workers: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def places(self, nodes: Sequence[RayNode]) -> int:
        """Return how many actors the nodes of a cluster have room for.

        Args:
            nodes: The nodes.
        """
        return sum(int(node.gpus if self.use_gpus else node.cpus) for node in nodes)


@dataclass(slots=True)
class _Rank:
    """A rank, which may run several times."""

    index: int
    job: str
    attempt: int = 0
    error: str = ""
    actor: Any = None
    place: ActorPlace | None = None


class ActorPool:
    """Runs the ranks of a job on a cluster.

    Args:
        cluster: The cluster.
        plan: What the actors are.
        show: Prints a line of a rank; called with the number of the rank.
        say: Prints a sentence on what happens to a rank.

    Attributes:
        succeeded: Whether a rank has ended well, which is when all work is done.
        failures: Exit code and error of each rank that has failed, in the order in which they did.
    """

    def __init__(
        self, cluster: RayCluster, plan: PoolPlan, show: Callable[[int, Line], None], say: Callable[[str], None]
    ) -> None:
        self._cluster = cluster
        self._ray = cluster.ray
        self._plan = plan
        self._show = show
        self._say = say
        self._job = secrets.token_hex(8)
        self._waiting: dict[Any, Any] = {}  # actors without a place, by the reference to what they will see there
        self._running: dict[Any, _Rank] = {}  # by the generator of what they print
        self._vacant: list[_Rank] = []  # ranks whose actor was lost
        self._ranks = 0
        self._grow_at = 0.0
        self._count = plan.max_actors
        self.succeeded = False
        self.failures: list[tuple[int, str]] = []

    @property
    def running(self) -> int:
        """Number of ranks that run now."""
        return len(self._running)

    def run(self) -> None:
        """Check every node, and run ranks until all have ended.

        Raises:
            UsageError: A node does not see the files of the job, or has another version of this package.
            EnvironmentFailure: A node does not answer, or the cluster has no place for an actor.
            KeyboardInterrupt: A stop signal has arrived, and all ranks have ended.
        """
        nodes = self._cluster.nodes()
        self._require_places(nodes)
        self._require_same_files([node for node in nodes if self._plan.places([node])])
        if self._plan.elastic:
            self._count = max(1, min(self._plan.max_actors, self._plan.places(nodes)))
        try:
            while True:
                self._grow()
                if not self._running and (self.succeeded or not self._waiting):
                    return
                references = [*self._running, *self._waiting]
                ready, _ = self._ray.wait(references, num_returns=len(references), timeout=_POLL_S)
                for reference in ready:
                    self._take(reference)
        finally:
            self._drop_waiting()

    def stop(self, number: int, stop_s: float = STOP_S) -> None:
        """Pass a stop signal on, and wait until all ranks have ended; they are killed when the time is over.

        Args:
            number: Number of the signal.
            stop_s: Seconds for the ranks to end.
        """
        deadline = time.monotonic() + stop_s
        for rank in self._running.values():
            rank.actor.stop.options(concurrency_group="control").remote(number)
        try:
            while self._running and time.monotonic() < deadline:
                ready, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=_POLL_S)
                for reference in ready:
                    rank, events = self._running[reference], self._next(reference)
                    if events is None or any(isinstance(event, Ended) for event in events):
                        del self._running[reference]
                    self._print(rank, events or [])
        finally:
            for rank in self._running.values():
                self._ray.kill(rank.actor)

    def _drop_waiting(self) -> None:
        for actor in self._waiting.values():
            self._ray.kill(actor)
        self._waiting.clear()

    def _require_places(self, nodes: Sequence[RayNode]) -> None:
        """Say which actors have no place now, and wait for machines."""
        places, plan = self._plan.places(nodes), self._plan
        kind = "GPU" if plan.use_gpus else "CPU core"
        if not places:
            self._say(f"the cluster has no {kind} now, so the ranks wait until a machine with one joins")
        elif not plan.elastic and plan.max_actors > places:
            self._say(
                f"the cluster has room for {places} of {plan.max_actors} actors now; the others wait for machines"
            )

    def _require_same_files(self, nodes: Sequence[RayNode]) -> None:
        """Check on every node that ranks can run there, before any of them does."""
        answers = {self._cluster.call_on(node, node_problem, self._plan.probe): node for node in nodes}
        if not answers:
            return
        ready, late = self._ray.wait(list(answers), num_returns=len(answers), timeout=_LOOK_S)
        if late:
            host = answers[late[0]].host
            raise EnvironmentFailure(f"node {host} of the Ray cluster has not answered for {_LOOK_S:.0f} s")
        for reference in ready:
            try:
                problem = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:
                raise UsageError(_cannot_import(answers[reference].host, error)) from error
            except self._ray.exceptions.RayError:  # the node is lost; what is there when a rank begins is checked then
                continue
            if problem is not None:
                raise UsageError(f"node {problem}")

    def _grow(self) -> None:
        """Ask for actors: for all ranks that are to run, or for as many again as there are places."""
        now = time.monotonic()
        if self.succeeded or (self.failures and not self._vacant) or now < self._grow_at:
            return
        self._grow_at = now + _GROW_S
        plan = self._plan
        wanted = plan.max_actors
        if plan.elastic:  # some that wait make an autoscaler add machines; more of them as the cluster grows
            wanted = min(wanted, 2 * max(1, plan.places(self._cluster.nodes())))
        for _ in range(wanted - len(self.failures) - self.running - len(self._waiting)):
            actor = self._actor_class().remote(plan.probe, None if plan.use_gpus else 1.0)
            self._waiting[actor.look.remote()] = actor

    def _actor_class(self) -> Any:
        resources = {"num_cpus": 1, "num_gpus": 1 if self._plan.use_gpus else 0}
        return self._ray.remote(max_restarts=0, concurrency_groups={"control": 1}, **resources)(RankActor)

    def _take(self, reference: Any) -> None:
        """Take what an actor has answered."""
        if reference in self._waiting:
            self._place(reference)
            return
        if reference not in self._running:  # the failure of a rank has just dropped it
            return
        rank, events = self._running[reference], self._next(reference)
        self._print(rank, events or [])
        ended = next((event for event in events or () if isinstance(event, Ended)), None)
        if events is None:
            del self._running[reference]
            self._ray.kill(rank.actor)  # if it lives, and only cannot be reached, its rank must end too
            self._lost(rank)
        elif ended is not None:
            del self._running[reference]
            self._ended(rank, ended.code)

    def _place(self, reference: Any) -> None:
        """Start a rank in an actor that has got its place."""
        actor = self._waiting.pop(reference)
        try:
            place: ActorPlace = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._say(f"an actor was lost before its rank began: {first_line(error)}")
            self._grow_at = 0.0
            return
        if place.problem is not None:
            self._say(f"no rank runs on node {place.problem}")
            self._ray.kill(actor)
            self.failures.append((2, f"node {place.problem}"))
        elif self.succeeded:
            self._ray.kill(actor)
        else:
            rank = self._vacant.pop(0) if self._vacant else self._next_rank()
            rank.actor, rank.place, rank.error = actor, place, ""
            self._start(rank)

    def _next_rank(self) -> _Rank:
        self._ranks += 1
        return _Rank(self._ranks - 1, self._job)

    def _start(self, rank: _Rank) -> None:
        count = max(self._count, rank.index + 1)
        environment = {
            **({} if self._plan.use_gpus else {"CUDA_VISIBLE_DEVICES": ""}),
            **self._plan.environment,
            **rank_environment(rank.index, count, rank.job, rank.attempt, RAY),
        }
        run = rank.actor.run.options(num_returns="streaming")
        self._running[run.remote(list(self._plan.arguments), environment, self._plan.workers)] = rank

    def _next(self, generator: Any) -> list[Line | Ended] | None:
        """Return what a rank has printed, or its end; None if its actor is lost."""
        try:
            events: list[Line | Ended] = self._ray.get(next(generator))
            return events
        except (self._ray.exceptions.RayError, StopIteration) as error:
            _log.debug("an actor is lost: %s", error)
            return None

    def _print(self, rank: _Rank, events: Sequence[Line | Ended]) -> None:
        for event in events:
            if isinstance(event, Ended):
                continue
            if event.is_error and event.text.startswith(ERROR_MARK):  # said once, when the rank has ended
                rank.error = event.text.removeprefix(ERROR_MARK)
            else:
                self._show(rank.index, event)

    def _ended(self, rank: _Rank, code: int) -> None:
        """Run a rank again that a signal killed; one that ends with an error has said why, and would end so again."""
        if not code:
            self.succeeded = True
            self._ray.kill(rank.actor)
            return
        if code < 0:
            if rank.attempt < MAX_RESTARTS:
                rank.attempt += 1
                self._say(f"rank {rank.index} was killed by {signal_name(-code)}, and is started again")
                self._start(rank)
                return
            rank.error = f"it was killed by {signal_name(-code)} again"
        self._ray.kill(rank.actor)
        self._fail(rank, code, rank.error or f"it ended with exit code {code}")

    def _fail(self, rank: _Rank, code: int, why: str) -> None:
        self.failures.append((code, why))
        if not self._vacant:
            self._drop_waiting()  # they would fail like it
        if self._running:
            others = f"{self.running} other{'s go' if self.running > 1 else ' goes'} on"
            self._show(rank.index, Line(f"failed, and {others}: {why}", is_error=True))

    def _lost(self, rank: _Rank) -> None:
        """Let another actor take the place of one that is lost.

        The rank of an actor that was killed on a node that lives is gone, so the next one may take over what it has
        claimed. What still runs on a node that does not answer cannot be known: the next rank is another one, and
        the lease of the lost one decides.
        """
        assert rank.place is not None
        if rank.place.node_id not in {node.id for node in self._cluster.nodes()}:
            why = f"node {rank.place.host} is gone"
            rank.job, rank.attempt = secrets.token_hex(8), 0  # no fault of the rank
        elif rank.attempt < MAX_RESTARTS:
            why = f"its actor on {rank.place.host} was killed"
            rank.attempt += 1
        else:
            self._fail(rank, 1, f"its actor on {rank.place.host} was killed again")
            return
        self._say(f"rank {rank.index} was lost, since {why}; another actor takes its place")
        self._vacant.append(rank)
        self._grow_at = 0.0


def _cannot_import(host: str, error: BaseException) -> str:
    text = " ".join(str(error).split())
    return (
        f"node {host} cannot run virnuc_profiler ({text[-200:]}): install the same version of it, and of Python, on "
        "every node"
    )
