# SPDX-License-Identifier: MIT
"""How far an embed job is: a live view on a terminal, lines in a log with rate and time left, and metrics in a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from virnuc_profiler.capture.sampling.live_reading import latest_reading
from virnuc_profiler.cli.embed.embed_metrics import embed_metrics
from virnuc_profiler.cli.embed.job_meter import JobMeter
from virnuc_profiler.cli.heartbeat import Heartbeat
from virnuc_profiler.cli.live.metrics_file import metrics_file
from virnuc_profiler.cli.live.screen import Screen, shows_live
from virnuc_profiler.cli.live.ticker import Ticker
from virnuc_profiler.embed.claimed_shards import SINGLE_NAME, ClaimedShards
from virnuc_profiler.embed.shard_plan import Shard
from virnuc_profiler.ranks.rank import Rank
from virnuc_profiler.ranks.rank_status import StatusPipe
from virnuc_profiler.ranks.rank_variables import RAY
from virnuc_profiler.reports.export.open_metrics import Metric

if TYPE_CHECKING:
    from rich.console import RenderableType

STATE_EVERY_S: Final = 1.0


class _Shown:
    """What a live view, metrics and the launcher are told of a job.

    Args:
        meter: Counts what is done.
        budget: Token budget of a batch.
        labels: Labels of the metrics.
    """

    def __init__(self, meter: JobMeter, budget: int, labels: dict[str, str]) -> None:
        self._meter = meter
        self._budget = budget
        self._labels = labels

    def rows(self, columns: int) -> Iterator[RenderableType]:
        """Yield the rows of the live view.

        Args:
            columns: Columns of the terminal.
        """
        from virnuc_profiler.cli.live.view_rows import bar, facts, gpu_facts, headline, packing_of, rate_facts

        meter = self._meter
        yield headline(f"embed: {meter.written}", meter.seconds_left(), columns)
        yield bar(meter.share, columns)
        sequences_per_s, tokens_per_s = meter.rates() or (None, None)
        packing = packing_of(meter.tokens, meter.batches, self._budget)
        yield from facts("run", rate_facts(sequences_per_s, tokens_per_s, packing), columns)
        yield from facts("gpu", gpu_facts(latest_reading()), columns)

    def state(self) -> dict[str, Any]:
        """Return the state of this rank for the launcher that shows it."""
        meter, rates = self._meter, self._meter.rates() or (None, None)
        reading = latest_reading()
        return {
            "share": meter.share,
            "total_tokens": meter.total_tokens,
            "sequences_per_s": rates[0],
            "tokens_per_s": rates[1],
            "shards": meter.shards_written,
            "total_shards": meter.total_shards,
            "gpu": None if reading is None else asdict(reading),
        }

    def metrics(self, running: bool) -> list[Metric]:
        """Return the metrics of this process.

        Args:
            running: Whether the job still runs in this process.
        """
        return embed_metrics(self._meter, latest_reading(), self._budget, self._labels, running=running)


@contextmanager
def show_job(
    left: Sequence[Shard],
    queue: ClaimedShards,
    rank: Rank,
    *,
    budget: int,
    folder: Path,
    name: str,
    metrics: Path | None = None,
) -> Iterator[JobMeter]:
    """Show the progress of a job, and yield its receiver: a live view if stderr is a terminal, else a line every 10 s.

    Several ranks may share a terminal, so they print lines; those of this program's launcher tell it their state, and
    it shows all of them.

    Args:
        left: Shards that are left.
        queue: Queue of the job, which knows what other ranks have finished.
        rank: Which rank this process is.
        budget: Token budget of a batch.
        folder: Folder of the job.
        name: Name of this process, which no other living process of the job has.
        metrics: File of the metrics, which every process but a single one writes under a name of its own; None for
            none.
    """
    meter = JobMeter(sum(shard.tokens for shard in left), len(left), others=queue.tokens_of_others, ranks=rank.count)
    shown = _Shown(meter, budget, {"folder": str(folder.absolute()), "rank": name})
    file = metrics
    if metrics is not None and name != SINGLE_NAME:
        file = metrics.with_name(f"{metrics.stem}_rank{name}{metrics.suffix}")
    with metrics_file(file, shown.metrics), _told(meter, shown, rank):
        yield meter


@contextmanager
def _told(meter: JobMeter, shown: _Shown, rank: Rank) -> Iterator[None]:
    """Show a job on a terminal, tell its state to the launcher, or print lines."""
    if (pipe := StatusPipe.of_launcher()) is not None:
        with Ticker(lambda _last: pipe.send(shown.state()), STATE_EVERY_S):
            yield
    elif rank.launcher == RAY:  # whose driver prints the lines, for all ranks together
        yield
    elif rank.is_single and shows_live():
        from virnuc_profiler.cli.live.view_rows import rendered

        with Screen(rendered(shown.rows)):
            yield
    else:
        label = "embedding" if rank.is_single else f"rank {rank.index}, embedding"
        with Heartbeat(lambda: f"{label}: {meter}"):
            yield
