# SPDX-License-Identifier: MIT
"""The answer of a run's page: what limited the run, and the numbers that matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from virnuc_profiler.analysis.diagnosis.bottlenecks import LABELS, NOT_MEASURED, PACES
from virnuc_profiler.analysis.diagnosis.diagnose import Diagnosis
from virnuc_profiler.analysis.host.interruptions import interruption_sentence
from virnuc_profiler.analysis.summary.run_findings import RunFindings
from virnuc_profiler.analysis.summary.sampled_keys import summary_coverage
from virnuc_profiler.reports.coverage_text import with_coverage
from virnuc_profiler.reports.figures import counted, number, rate, share
from virnuc_profiler.reports.html.page import Answer, Fact, Tone
from virnuc_profiler.reports.html.run.packing_section import mean_fill
from virnuc_profiler.reports.steady_rate_text import steady_interval_text
from virnuc_profiler.telemetry.rates import ratio


def run_answer(found: RunFindings) -> Answer:
    """Return the verdict on a run, with its rate, start-up, packing and energy.

    Args:
        found: What was found out about the run.
    """
    diagnosis = found.diagnosis
    sentences = [*_judged_part(found), diagnosis.sentence, *diagnosis.further]
    return Answer(_headline(diagnosis, len(found.run.batches)), sentences, list(_facts(found)), tone=_tone(diagnosis))


def _headline(diagnosis: Diagnosis, batches: int) -> str:
    if not batches:
        return "No batch was recorded"
    if diagnosis.bottleneck == NOT_MEASURED:
        return "What limits this run cannot be told"
    label = LABELS.get(diagnosis.bottleneck, diagnosis.bottleneck)
    if diagnosis.bottleneck in PACES:
        return f"{'Healthy' if diagnosis.healthy else 'No loss found'}: {label} sets the pace"
    lost = diagnosis.lost_time.get(diagnosis.bottleneck)
    part = "" if lost is None else f", up to {share(lost)} of the time after warm-up"
    return f"Largest loss: {label}{part}"


def _tone(diagnosis: Diagnosis) -> Tone:
    if diagnosis.healthy:
        return "good"
    return "neutral" if diagnosis.bottleneck == NOT_MEASURED or diagnosis.bottleneck in PACES else "warning"


def _judged_part(found: RunFindings) -> Iterator[str]:
    if found.judged_batches is not None:
        yield (
            f"The diagnosis is that of the first {found.judged_batches:,} of {len(found.run.batches):,} batches; "
            "rates, packing, energy and the charts are those of the whole run."
        )
        if sentence := interruption_sentence(found.run):
            yield sentence


def _facts(found: RunFindings) -> Iterator[Fact]:
    summary, run = found.summary, found.run
    steady = summary.get("steady_tokens_per_sec")
    if steady is not None:
        yield Fact("Tokens per second", number(steady), f"after warm-up; {steady_interval_text(summary)}")
    elif found.tokens_per_second:
        yield Fact("Tokens per second", number(found.tokens_per_second), "whole run, its start-up included")
    whole = f"{counted(len(run.batches), 'batch', 'batches')} in {number(run.elapsed_s, 2, ' s')}"
    if found.sequences_per_second:
        yield Fact("Sequences per second", rate(found.sequences_per_second), f"whole run: {whole}")
    else:
        yield Fact("Elapsed", number(run.elapsed_s, 2, " s"), whole)
    start_up = found.diagnosis.start_up
    if start_up is not None:
        note = f"{number(start_up.elapsed_ns / 1e9, 2, ' s')} to the first batch"
        yield Fact("Cost of starting", share(start_up.cost_ns / 1e9 / run.elapsed_s if run.elapsed_s else None), note)
    fill = mean_fill(run.batches)
    if fill is not None:
        yield Fact("Packing", share(fill), "mean fill of the token budget")
    if found.diagnosis.stage_share is not None:
        when = "after warm-up" if found.diagnosis.steady else "whole run, its warm-up included"
        yield Fact("GPU in stages, at most", share(found.diagnosis.stage_share), when)
    yield from _energy(summary)


def _energy(summary: Mapping[str, Any]) -> Iterator[Fact]:
    if summary.get("energy_joules") is None:
        return
    coverage = summary_coverage(summary, "energy_joules")
    per_token = summary.get("joules_per_1000_tokens")
    power = number(summary.get("mean_power_watts"), 0, " W")
    note = with_coverage(f"{power} on average", coverage, "%")
    if per_token is not None:
        yield Fact("Energy per 1,000 tokens", number(per_token, 2, " J"), note)
    else:
        yield Fact("Energy", number(ratio(summary["energy_joules"], 1), 1, " J"), note)
