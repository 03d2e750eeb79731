# SPDX-License-Identifier: MIT
"""Progress of a single run on stderr: a live view on a terminal, lines in a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from virnuc_profiler.cli.heartbeat import Heartbeat, TokenMeter
from virnuc_profiler.cli.live.screen import Screen, shows_live
from virnuc_profiler.sweep.trial.loaded_model import LiveFigures
from virnuc_profiler.targets.knobs.configuration import Configuration

if TYPE_CHECKING:
    from rich.console import RenderableType

    from virnuc_profiler.sweep.plan.workload import Workload


class RunProgress:
    """How far a run is, for a live view or for lines with tokens done, their rate and the time left.

    Args:
        workload: Sequences of the run.
        configuration: Configuration of the run.
        figures: Returns what the run has recorded.
    """

    def __init__(
        self, workload: Workload, configuration: Configuration, figures: Callable[[], LiveFigures] = LiveFigures
    ) -> None:
        self._meter = TokenMeter(workload.tokens)
        self._configuration = configuration
        self._figures = figures
        self._total = workload.num_sequences
        self._sequences = self._batches = 0

    def count_sequences(self, done: int) -> None:
        """Note the number of sequences that are done; called after each batch, and once with 0 before them.

        Args:
            done: Number of sequences.
        """
        self._sequences = done
        self._batches += bool(done)

    def count_tokens(self, done: int) -> None:
        """Note the number of tokens that are done; called after each batch.

        Args:
            done: Number of tokens.
        """
        self._meter.count(done)

    def now(self) -> str:
        """Return a line for a log."""
        return f"measuring: {self._meter}"

    def rows(self, columns: int) -> Iterator[RenderableType]:
        """Yield the rows of the live view.

        Args:
            columns: Columns of the terminal.
        """
        from virnuc_profiler.cli.live.view_rows import bar, facts, gpu_facts, headline, packing_of, rate_facts

        meter, tokens = self._meter, self._meter.tokens
        yield headline(f"profile: {self._configuration.short_name}", meter.seconds_left(), columns)
        yield bar(1.0 if meter.passes else meter.share, columns)
        rate = meter.tokens_per_s
        sequences_per_s = rate * self._sequences / tokens if rate and tokens else None
        packing = packing_of(tokens, self._batches, self._configuration.get("token_budget"))
        done = f"pass {meter.passes + 1}" if meter.passes else f"{self._sequences:,} of {self._total:,} sequences"
        yield from facts("run", [*rate_facts(sequences_per_s, rate, packing), done], columns)
        yield from facts("gpu", gpu_facts(self._figures().gpu), columns)


@contextmanager
def show_run(
    workload: Workload,
    configuration: Configuration,
    figures: Callable[[], LiveFigures] = LiveFigures,
    *,
    alone: bool = True,
) -> Iterator[RunProgress]:
    """Show how far a run is, and yield what moves it: a live view if stderr is a terminal, and lines if not.

    Args:
        workload: Sequences of the run.
        configuration: Configuration of the run.
        figures: Returns what the run has recorded.
        alone: Whether no other rank shares the terminal.
    """
    progress = RunProgress(workload, configuration, figures)
    if alone and shows_live():
        from virnuc_profiler.cli.live.view_rows import rendered

        with Screen(rendered(progress.rows)):
            yield progress
    else:
        with Heartbeat(progress.now):
            yield progress
