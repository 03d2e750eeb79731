# SPDX-License-Identifier: MIT
"""Progress on stderr: a bar with a time estimate on a terminal, lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

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

from virnuc_profiler.cli.heartbeat import Heartbeat, TokenMeter
from virnuc_profiler.reports.sweep_tables import render_step
from virnuc_profiler.sweep.measurement.listener import SweepListener
from virnuc_profiler.sweep.plan.estimate import Pace, in_words
from virnuc_profiler.sweep.plan.steps import MIN_PACKING
from virnuc_profiler.sweep.results.verdicts.measurements import rate_of
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.number_text import rate, share
from virnuc_profiler.telemetry.rates import ratio

if TYPE_CHECKING:
    from virnuc_profiler.sweep.plan.workload import Workload
    from virnuc_profiler.sweep.results.document import Document
    from virnuc_profiler.sweep.results.result import Result


_UNPLANNED: Final = ("confirmation",)
"""Steps whose number of trials depends on what these show."""


class ProgressLines(SweepListener):
    """Prints a line for each configuration on stderr, and each step's table on stdout.

    Args:
        planned: Workloads of all configurations to come.
        cooldown_s: Pause after each configuration in seconds.
        clock: Returns monotonic seconds.
        confirms: Whether a confirmation is to come, whose time is not known before.
    """

    def __init__(
        self,
        planned: Sequence[Workload],
        cooldown_s: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        confirms: bool = False,
    ) -> None:
        self._left = [workload.tokens for workload in planned]
        self._total = len(self._left)
        self._pace = Pace(cooldown_s)
        self._confirms = confirms
        self._clock = clock
        self._started = 0.0
        self._workload: Workload | None = None
        self._meter: TokenMeter | None = None
        self._doing = "warming up the model"

    @property
    def number(self) -> int:
        """The number of configurations that are done."""
        return self._total - len(self._left)

    def trial_started(self, step: str, configuration: Configuration, workload: Workload) -> None:
        """Start the clock."""
        self._started = self._clock()
        self._workload = workload
        self._meter = TokenMeter(workload.tokens, self._clock)
        self._doing = f"{self._place(step)}{step}: {configuration}"

    def trial_counted(self, tokens: int) -> None:
        """Note how far the configuration is."""
        if self._meter is not None:
            self._meter.count(tokens)

    def now(self) -> str:
        """Return a line on the configuration that is being measured, and on what is left of the sweep."""
        if self._meter is None:
            return f"{self._doing} ..."
        seconds = self._pace.remaining(self._left)
        left = None if seconds is None else max(0.0, seconds - (self._clock() - self._started))
        rest = "" if left is None or len(self._left) < 2 else f"; about {in_words(left)} left in all{self._besides()}"
        return f"{self._doing}: {self._meter}{rest}"

    def trial_repeated(self, step: str, result: Result, reasons: Sequence[str]) -> None:
        """Say why a configuration is measured again."""
        self.say(f"{step}: {result.configuration} is measured again: {'; '.join(reasons)}")

    def trial_finished(self, step: str, result: Result) -> None:
        """Print what came out, and how long the rest will take."""
        self._count_trial(step, result)
        config = result.configuration
        self.say(f"{self._label(step)} {step}: {config}: {outcome(result)}{self.time_left()}")

    def step_finished(self, document: Document) -> None:
        """Print the step's table."""
        self._confirms &= document.step not in _UNPLANNED
        print(render_step(document), end="\n\n", flush=True)

    def trial_left_out(self) -> None:
        """Count a configuration that another block has shown to fail."""
        self._left = self._left[1:]

    def _besides(self) -> str:
        return " besides the confirmation" if self._confirms else ""

    def _place(self, step: str) -> str:
        """Return which of the planned trials is next; the number of those of a confirmation is not known before."""
        return "" if step in _UNPLANNED else f"{self.number + 1} of {self._total}, "

    def _label(self, step: str) -> str:
        width = len(str(self._total))
        return f"[{'':{2 * width}} ]" if step in _UNPLANNED else f"[{self.number:{width}}/{self._total}]"

    def _count_trial(self, step: str, result: Result) -> None:
        if step in _UNPLANNED:
            return
        if result.succeeded and self._workload is not None:  # a failure took any time, which says nothing of the rest
            steady = ratio(self._workload.num_sequences, result.steady_sequences_per_sec)
            self._pace.add(self._clock() - self._started, self._workload.tokens, steady, result.passes or 1)
        self._left = self._left[1:]

    def time_left(self) -> str:
        """Return ``, about 3 min 20 s left``; empty when nothing is left or nothing is known."""
        seconds = self._pace.remaining(self._left)
        return f", about {in_words(seconds)} left{self._besides()}" if seconds else ""

    def say(self, line: str) -> None:
        """Print a line on stderr."""
        print(line, file=sys.stderr, flush=True)


class ProgressBar(ProgressLines):
    """Shows one bar over all configurations, which also moves within each."""

    def __init__(
        self, planned: Sequence[Workload], cooldown_s: float, progress: Progress, *, confirms: bool = False
    ) -> None:
        super().__init__(planned, cooldown_s, confirms=confirms)
        self._progress = progress
        self._task: TaskID = progress.add_task("warming up", total=self._total, left="")
        self._tokens = 1

    def trial_started(self, step: str, configuration: Configuration, workload: Workload) -> None:
        """Show the configuration's name."""
        super().trial_started(step, configuration, workload)
        self._tokens = workload.tokens
        short = configuration.run_id.removeprefix("tune_")  # the full names leave no room for the bar
        self._progress.update(self._task, description=f"{step} {short}", left=self.time_left().lstrip(", "))

    def trial_counted(self, tokens: int) -> None:
        """Move the bar, which a thread redraws a few times a second; it rests during further passes."""
        self._progress.update(self._task, completed=self.number + min(1.0, tokens / self._tokens))

    def trial_finished(self, step: str, result: Result) -> None:
        """Move the bar to the next whole number; only failures get a line."""
        self._count_trial(step, result)
        self._progress.update(self._task, completed=self.number, left=self.time_left().lstrip(", "))
        if not result.succeeded:
            self._progress.console.print(f"{result.configuration}: {outcome(result)}", markup=False)

    def step_finished(self, document: Document) -> None:
        """Print the step's table on stdout, with the bar hidden meanwhile."""
        self._progress.stop()
        super().step_finished(document)
        self._progress.start()


@contextmanager
def show_progress(planned: Sequence[Workload], cooldown_s: float, *, confirms: bool = False) -> Iterator[ProgressLines]:
    """Show a bar if stderr is a terminal, and print lines if not.

    Args:
        planned: Workloads of all configurations to come.
        cooldown_s: Pause after each configuration in seconds.
        confirms: Whether a confirmation is to come, whose time is not known before.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        lines = ProgressLines(planned, cooldown_s, confirms=confirms)
        with Heartbeat(lines.now):
            yield lines
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with _on(console, *columns) as progress:
        yield ProgressBar(planned, cooldown_s, progress, confirms=confirms)


class RunProgress(Protocol):
    """Receives how far a run is."""

    def count_sequences(self, done: int) -> None:
        """Note the number of sequences that are done."""

    def count_tokens(self, done: int) -> None:
        """Note the number of tokens that are done."""


class RunLines:
    """What a log gets to read of a run: a line every ten seconds with tokens done, their rate and the time left."""

    def __init__(self, workload: Workload) -> None:
        self._meter = TokenMeter(workload.tokens)

    def count_sequences(self, done: int) -> None:
        """Ignore sequences, since time grows with tokens."""

    def count_tokens(self, done: int) -> None:
        """Note the number of tokens that are done."""
        self._meter.count(done)

    def now(self) -> str:
        """Return the line."""
        return f"measuring: {self._meter}"


class SequencesBar:
    """One bar over a run, which moves with the tokens that are done, as time does, and counts sequences beside it."""

    def __init__(self, workload: Workload, progress: Progress) -> None:
        self._sequences = workload.num_sequences
        self._progress = progress
        self._task: TaskID = progress.add_task("sequences", total=workload.tokens, done=f"0/{self._sequences}")

    def count_sequences(self, done: int) -> None:
        """Show the number of sequences that are done."""
        self._progress.update(self._task, done=f"{done}/{self._sequences}")

    def count_tokens(self, done: int) -> None:
        """Move the bar, from which the time left follows."""
        self._progress.update(self._task, completed=done)


@contextmanager
def show_run(workload: Workload) -> Iterator[RunProgress]:
    """Show how far a run is, and yield what moves it: a bar if stderr is a terminal, and lines if not."""
    console = Console(stderr=True)
    if not console.is_terminal:
        lines = RunLines(workload)
        with Heartbeat(lines.now):
            yield lines
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]}"), TimeRemainingColumn())
    with _on(console, *columns) as progress:
        yield SequencesBar(workload, progress)


def _on(console: Console, *columns: ProgressColumn) -> Progress:
    """Return a display that leaves stdout alone and disappears when it ends."""
    return Progress(*columns, console=console, redirect_stdout=False, transient=True, refresh_per_second=4)


def outcome(result: Result) -> str:
    """Return a result in a few words."""
    if not result.succeeded:
        return f"failed, {result.reason}{' (predicted, not tried)' if result.predicted else ''}"
    packing = result.packing_efficiency
    efficiency = "" if packing is None else f", {share(packing, beside=MIN_PACKING)} packing"
    mark = f", {result.outcome}" if result.throttled or result.interrupted else ""
    return f"{rate(rate_of(result)[0])} seq/sec{efficiency}{mark}"
