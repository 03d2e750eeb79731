# SPDX-License-Identifier: MIT
"""The metrics of an embed job, of one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virnuc_profiler.cli.live.metrics_file import gpu_metrics
from virnuc_profiler.reports.export.open_metrics import Metric, counter, gauge

if TYPE_CHECKING:
    from virnuc_profiler.cli.embed.job_meter import JobMeter
    from virnuc_profiler.telemetry.records import GpuReading


def embed_metrics(
    meter: JobMeter, reading: GpuReading | None, budget: int, labels: dict[str, str], *, running: bool
) -> list[Metric]:
    """Return the metrics of an embed job.

    Args:
        meter: What this process has done.
        reading: Newest reading of the GPU; None if it is not sampled.
        budget: Token budget of a batch.
        labels: Labels of the samples: the folder of the job, and the rank.
        running: Whether the job still runs in this process.
    """
    rates = meter.rates() or (None, None)
    packing = meter.tokens / (meter.batches * budget) if meter.batches else None

    def name(end: str) -> str:
        return f"virnuc_embed_{end}"

    return [
        gauge(name("running"), "Whether the job runs in this process: 1 until it ends, then 0", int(running), labels),
        counter(name("sequences"), "Sequences that this process has embedded", meter.sequences, labels),
        counter(name("tokens"), "Tokens that this process has embedded", meter.tokens, labels),
        counter(name("batches"), "Batches that this process has run", meter.batches, labels),
        counter(name("shards"), "Shards that this process has written", meter.shards_written, labels),
        gauge(name("planned_shards"), "Shards that were left when this process began", meter.total_shards, labels),
        gauge(name("planned_tokens"), "Tokens that were left when this process began", meter.total_tokens, labels),
        gauge(name("done_ratio"), "Share of these tokens that all processes of the job have done", meter.share, labels),
        gauge(name("sequences_per_second"), "Sequences per second of the last minute", rates[0], labels),
        gauge(name("tokens_per_second"), "Tokens per second of the last minute", rates[1], labels),
        gauge(name("packing_ratio"), "Share of the token budget that batches fill", packing, labels),
        gauge(
            name("remaining_seconds"),
            "Seconds that are left if every process of the job is as fast as this one",
            meter.seconds_left(),
            labels,
        ),
        *gpu_metrics(reading, labels),
    ]
