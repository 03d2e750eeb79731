# SPDX-License-Identifier: MIT
"""How a sweep goes, on stderr: a bar with a time estimate on a terminal, a line for each configuration in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from virnuc_profiler.analysis.selection import is_throttled
from virnuc_profiler.reports.sweep_tables import render_step
from virnuc_profiler.sweep.plan.configuration import Configuration
from virnuc_profiler.sweep.plan.estimate import Pace, in_words
from virnuc_profiler.sweep.session import SweepListener

if TYPE_CHECKING:
    from virnuc_profiler.sweep.plan.workload import Workload


class ProgressLines(SweepListener):
    """A line for each configuration on stderr; each step's table on stdout.

    Args:
        planned: the workloads of all configurations to come.
        cooldown_s: pause after each.
        clock: seconds, monotonic.
    """

    def __init__(
        self, planned: Sequence[Workload], cooldown_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._left = [workload.tokens for workload in planned]
        self._total = len(self._left)
        self._pace = Pace(cooldown_s)
        self._clock = clock
        self._started = 0.0
        self._tokens = 0

    @property
    def number(self) -> int:
        """How many configurations are done."""
        return self._total - len(self._left)

    def trial_started(self, step: str, configuration: Configuration, workload: Workload) -> None:  # noqa: ARG002
        """Starts the clock."""
        self._started = self._clock()
        self._tokens = workload.tokens

    def trial_finished(self, step: str, result: Mapping[str, Any]) -> None:
        """Prints what came out, and how long the rest will take."""
        self._count_trial(result)
        width = len(str(self._total))
        config = Configuration(**result["config"])
        self.say(f"[{self.number:{width}}/{self._total}] {step}: {config}: {outcome(result)}{self.time_left()}")

    def step_finished(self, document: Mapping[str, Any]) -> None:
        """Prints the step's table."""
        print(render_step(document), end="\n\n", flush=True)

    def _count_trial(self, result: Mapping[str, Any]) -> None:
        if not result.get("predicted"):  # what was not tried took no time, and says nothing of what will be
            self._pace.add(self._clock() - self._started, self._tokens)
        self._left = self._left[1:]

    def time_left(self) -> str:
        """``, about 3 min 20 s left``; empty when nothing is left or nothing is known."""
        seconds = self._pace.remaining(self._left)
        return f", about {in_words(seconds)} left" if seconds else ""

    def say(self, line: str) -> None:
        """Prints a line on stderr."""
        print(line, file=sys.stderr, flush=True)


class ProgressBar(ProgressLines):
    """One bar over all configurations, which also moves within one."""

    def __init__(self, planned: Sequence[Workload], cooldown_s: float, progress: Progress) -> None:
        super().__init__(planned, cooldown_s)
        self._progress = progress
        self._task: TaskID = progress.add_task("warming up", total=self._total, left="")
        self._sequences = 1

    def trial_started(self, step: str, configuration: Configuration, workload: Workload) -> None:
        """Names the configuration."""
        super().trial_started(step, configuration, workload)
        self._sequences = workload.num_sequences
        short = configuration.run_id.removeprefix("tune_")  # the full names leave no room for the bar
        self._progress.update(self._task, description=f"{step} {short}", left=self.time_left().lstrip(", "))

    def trial_progressed(self, sequences: int) -> None:
        """Moves the bar; it is redrawn by a thread, a few times a second."""
        self._progress.update(self._task, completed=self.number + sequences / self._sequences)

    def trial_finished(self, step: str, result: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Moves the bar to the next whole number; only failures get a line."""
        self._count_trial(result)
        self._progress.update(self._task, completed=self.number, left=self.time_left().lstrip(", "))
        if result["status"] != "success":
            self._progress.console.print(f"{Configuration(**result['config'])}: {outcome(result)}", markup=False)

    def step_finished(self, document: Mapping[str, Any]) -> None:
        """Prints the step's table on stdout, where the bar must not be meanwhile."""
        self._progress.stop()
        super().step_finished(document)
        self._progress.start()


@contextmanager
def show_progress(planned: Sequence[Workload], cooldown_s: float) -> Iterator[SweepListener]:
    """Shows a bar if stderr is a terminal, and prints lines if not."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield ProgressLines(planned, cooldown_s)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with _on(console, *columns) as progress:
        yield ProgressBar(planned, cooldown_s, progress)


@contextmanager
def show_sequences(total: int) -> Iterator[Callable[[int], None] | None]:
    """A bar over the sequences of one run, moved by the callable; None if stderr is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _on(console, *columns) as progress:
        task = progress.add_task("sequences", total=total)
        yield lambda done: progress.update(task, completed=done)


def _on(console: Console, *columns: ProgressColumn) -> Progress:
    """A display that leaves stdout alone and disappears when it ends; a few redraws a second cost nothing."""
    return Progress(*columns, console=console, redirect_stdout=False, transient=True, refresh_per_second=4)


def outcome(result: Mapping[str, Any]) -> str:
    """A result in a few words."""
    if result["status"] != "success":
        return f"failed, {result['reason']}{' (predicted, not tried)' if result.get('predicted') else ''}"
    packing = result["packing_efficiency"]
    efficiency = "" if packing is None else f", {packing:.1%} packing"
    heat = ", throttled" if is_throttled(result) else ""
    return f"{result['sequences_per_sec']:.1f} seq/sec{efficiency}{heat}"
