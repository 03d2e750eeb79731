# SPDX-License-Identifier: MIT
"""Progress of a sweep on stderr: a live view on a terminal, lines in a log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from virnuc_profiler.cli.heartbeat import TokenMeter
from virnuc_profiler.cli.live.screen import shows_live
from virnuc_profiler.cli.terminal import say, say_progress, terminal_width
from virnuc_profiler.reports.sweep_tables import render_step
from virnuc_profiler.sweep.measurement.listener import SweepListener
from virnuc_profiler.sweep.plan.estimate import Pace, in_words
from virnuc_profiler.sweep.plan.steps import MIN_PACKING
from virnuc_profiler.sweep.results.verdicts.measurements import rate_of
from virnuc_profiler.sweep.trial.loaded_model import LiveFigures
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.number_text import rate, share
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.records import GpuReading

if TYPE_CHECKING:
    from virnuc_profiler.sweep.plan.workload import Workload
    from virnuc_profiler.sweep.results.document import Document
    from virnuc_profiler.sweep.results.result import Result


_UNPLANNED: Final = ("confirmation",)
"""Steps whose number of trials depends on what these show."""


@dataclass(frozen=True, slots=True)
class TrialState:
    """The state of a trial that is running.

    Attributes:
        name: Which of the planned trials it is, its step and its configuration.
        done: How far it is, in words; empty before it begins.
        tokens_per_s: Tokens per second; None if not known.
        sequences_per_s: Sequences per second; None if not known.
        packing: Packing efficiency from 0 to 1; None if not known.
        gpu: Newest reading of the GPU; None if it is not sampled.
    """

    name: str
    done: str = ""
    tokens_per_s: float | None = None
    sequences_per_s: float | None = None
    packing: float | None = None
    gpu: GpuReading | None = None


class ProgressLines(SweepListener):
    """Prints a line for each configuration on stderr, and each step's table on stdout.

    Args:
        planned: Workloads of all configurations to come.
        cooldown_s: Pause after each configuration in seconds.
        clock: Returns monotonic seconds.
        confirms: Whether a confirmation is to come, whose time is not known before.
        figures: Returns what the trial that is running has recorded.
        so_far: Results of an earlier run of the same sweep.

    Attributes:
        figures: Returns what the trial that is running has recorded.
        best: Fastest result so far, which nothing has disturbed; None before there is one.
        succeeded: Number of trials that have succeeded, since the sweep began in this process.
        failed: Number of trials that have failed since then, by reason.
    """

    def __init__(
        self,
        planned: Sequence[Workload],
        cooldown_s: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        confirms: bool = False,
        figures: Callable[[], LiveFigures] = LiveFigures,
        so_far: Iterable[Result] = (),
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
        self._step = ""
        self._configuration: Configuration | None = None
        self._sequences = 0
        self._running = False
        self.figures = figures
        self.best: Result | None = None
        self.succeeded = 0
        self.failed: Counter[str] = Counter()
        for result in so_far:
            self._compare(result)

    @property
    def number(self) -> int:
        """The number of configurations that are done."""
        return self._total - len(self._left)

    def trial_started(self, step: str, configuration: Configuration, workload: Workload) -> None:
        """Start the clock."""
        self._started = self._clock()
        self._workload = workload
        self._meter = TokenMeter(workload.tokens, self._clock)
        self._step, self._configuration, self._sequences = step, configuration, 0
        self._running = True
        self._doing = f"{self._place(step)}{step}: {configuration}"

    def trial_progressed(self, sequences: int) -> None:
        """Note how many sequences of the configuration are done."""
        self._sequences = sequences

    def trial_counted(self, tokens: int) -> None:
        """Note how far the configuration is."""
        if self._meter is not None:
            self._meter.count(tokens)

    def now(self) -> str:
        """Return a line on the configuration that is being measured, and on what is left of the sweep."""
        if self._meter is None:
            return f"{self._doing} ..."
        left = self.seconds_left()
        rest = "" if left is None or len(self._left) < 2 else f"; about {in_words(left)} left in all{self._besides()}"
        return f"{self._doing}: {self._meter}{rest}"

    def trial_repeated(self, step: str, result: Result, reasons: Sequence[str]) -> None:
        """Say why a configuration is measured again."""
        say_progress(f"{step}: {result.configuration} is measured again: {'; '.join(reasons)}")

    def trial_finished(self, step: str, result: Result) -> None:
        """Print what came out, and how long the rest will take."""
        self._note(step, result)
        config = result.configuration
        say_progress(f"{self._label(step)} {step}: {config}: {outcome(result)}{self.time_left()}")

    def step_finished(self, document: Document) -> None:
        """Print the step's table."""
        self._confirms &= document.step not in _UNPLANNED
        print(render_step(document, terminal_width()), end="\n\n", flush=True)

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

    def seconds_left(self) -> float | None:
        """Return the seconds that are left of the planned trials, the current one included; None if not known."""
        seconds = self._pace.remaining(self._left)
        if seconds is None or not self._running or self._step in _UNPLANNED:
            return seconds
        return max(0.0, seconds - (self._clock() - self._started))

    @property
    def after_that(self) -> str:
        """What follows the planned trials, for a live view."""
        return " + confirmation" if self._confirms else ""

    @property
    def planned(self) -> int:
        """Number of planned trials, in all."""
        return self._total

    def _note(self, step: str, result: Result) -> None:
        """Count a trial, and compare it with the best."""
        self._count_trial(step, result)
        self._running = False
        if result.succeeded:
            self.succeeded += 1
            self._compare(result)
        else:
            self.failed[str(result.reason)] += 1

    def _compare(self, result: Result) -> None:
        if not result.succeeded or result.throttled or result.interrupted:
            return
        found = rate_of(result)[0]
        if found and (self.best is None or found > (rate_of(self.best)[0] or 0.0)):
            self.best = result

    def share_done(self) -> float:
        """Return the share of the planned trials that is done; further passes of the current one do not move it."""
        meter, part = self._meter, 0.0
        if meter is not None and self._running and self._step not in _UNPLANNED:
            part = 1.0 if meter.passes else meter.share
        return (self.number + part) / self._total if self._total else 1.0

    def trial(self) -> TrialState:
        """Return the state of the current trial."""
        meter, configuration, figures = self._meter, self._configuration, self.figures()
        if meter is None or configuration is None:
            return TrialState(self._doing, gpu=figures.gpu)
        tokens, tokens_per_s = meter.tokens, meter.tokens_per_s
        budget, batches = configuration.get("token_budget"), figures.batches
        done = f"pass {meter.passes + 1}" if meter.passes else f"{meter.share:.0%} done"
        return TrialState(
            f"{self._place(self._step)}{self._step}: {configuration.short_name}",
            done if tokens else "no batch yet",
            tokens_per_s,
            tokens_per_s * self._sequences / tokens if tokens_per_s and tokens else None,
            min(1.0, tokens / (batches * budget)) if batches and budget and tokens else None,
            figures.gpu,
        )


class LiveSweep(ProgressLines):
    """Keeps a live view up to date; on a terminal only failures and tables are printed."""

    def trial_finished(self, step: str, result: Result) -> None:
        """Count a trial; only failures get a line."""
        self._note(step, result)
        if not result.succeeded:
            say(f"{step}: {result.configuration}: {outcome(result)}")


def make_progress(
    planned: Sequence[Workload],
    cooldown_s: float,
    *,
    confirms: bool = False,
    figures: Callable[[], LiveFigures] = LiveFigures,
    so_far: Iterable[Result] = (),
) -> ProgressLines:
    """Return what reports on a sweep: in a live view if stderr is a terminal, and in lines if not.

    Args:
        planned: Workloads of all configurations to come.
        cooldown_s: Pause after each configuration in seconds.
        confirms: Whether a confirmation is to come, whose time is not known before.
        figures: Returns what the trial that is running has recorded.
        so_far: Results of an earlier run of the same sweep.
    """
    kind = LiveSweep if shows_live() else ProgressLines
    return kind(planned, cooldown_s, confirms=confirms, figures=figures, so_far=so_far)


def outcome(result: Result) -> str:
    """Return a result in a few words."""
    if not result.succeeded:
        return f"failed, {result.reason}{' (predicted, not tried)' if result.predicted else ''}"
    packing = result.packing_efficiency
    efficiency = "" if packing is None else f", {share(packing, beside=MIN_PACKING)} packing"
    mark = f", {result.outcome}" if result.throttled or result.interrupted else ""
    return f"{rate(rate_of(result)[0])} seq/sec{efficiency}{mark}"
