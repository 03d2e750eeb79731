# SPDX-License-Identifier: MIT
"""The part of a diagnosis that the host is to blame for: a CPU quota that is used up, too few cores, a stopped run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from virnuc_profiler.analysis.diagnosis.bottlenecks import (
    COLLATION,
    CONSUMING,
    CPU_QUOTA,
    DATA_LOADING,
    HOST_ARITHMETIC,
    LAUNCHING,
    NOT_MEASURED,
    OTHER_HOST_WORK,
)
from virnuc_profiler.analysis.diagnosis.wording import Evidence, further_sentence, percent
from virnuc_profiler.analysis.host.interruptions import interruption_sentence
from virnuc_profiler.telemetry.host_records import HostCapture
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.run_result import RunResult

if TYPE_CHECKING:
    from virnuc_profiler.analysis.diagnosis.diagnose import Diagnosis

MIN_THROTTLED: Final = 0.1
"""Share of a quota's periods that must be throttled to be worth a sentence: a burst at the start throttles a few."""

BOUND_THROTTLED: Final = 0.5
"""Share of throttled periods from which the quota itself is the bottleneck of a run that the host slows down."""

_HOST_WORK: Final = (
    DATA_LOADING, COLLATION, LAUNCHING, CONSUMING, OTHER_HOST_WORK, HOST_ARITHMETIC, NOT_MEASURED,
)  # fmt: skip
"""Bottlenecks that a quota may cause, because threads of the host set the pace."""

_RAISE: Final = "Raise it (docker run --cpus, Kubernetes limits.cpu, or cpu.max of the control group)"


def with_host_limits(found: Diagnosis, run: RunResult) -> Diagnosis:
    """Return a diagnosis with what the host did to the run.

    A used-up CPU quota replaces a bottleneck on the host, because it slows down all work there.

    Args:
        found: Diagnosis from the run's own times.
        run: The run.
    """
    if run.host is not None:
        found = _with_cpu_limits(found, run.host, run)
    warning = interruption_sentence(run)
    return found if warning is None else replace(found, sentence=f"{found.sentence} {warning}")


def _with_cpu_limits(found: Diagnosis, host: HostCapture, run: RunResult) -> Diagnosis:
    found = replace(found, evidence=(*found.evidence, *_evidence(host, run)))
    throttled = host.throttled_fraction or 0.0
    if found.healthy or throttled < MIN_THROTTLED:
        return replace(found, sentence=found.sentence + _worker_advice(found, host, run))
    cores = "" if host.quota_cores is None else f" of {host.quota_cores:.4g} cores"
    if throttled < BOUND_THROTTLED or found.bottleneck not in _HOST_WORK:
        line = f"Also the CPU quota{cores}: it was used up in {percent(throttled)} of its periods."
        return replace(found, further=(*found.further, line))
    before = found.lost_time.get(found.bottleneck)
    also = () if before is None else (further_sentence(found.bottleneck, before),)
    sentence = (
        f"The run is bound by its CPU quota{cores}: it was used up in {percent(throttled)} of its periods, and all "
        f"threads waited for the next one. {_RAISE}; more workers would share the same cores."
    )
    return replace(found, bottleneck=CPU_QUOTA, sentence=sentence, further=(*also, *found.further))


def _worker_advice(found: Diagnosis, host: HostCapture, run: RunResult) -> str:
    """Return a caution where the advice to use more workers cannot help; empty where it can."""
    config = run.metadata.get("config")
    workers = config.get("num_workers") if isinstance(config, dict) else None
    if found.bottleneck not in (DATA_LOADING, COLLATION) or not isinstance(workers, int) or host.usable_cores is None:
        return ""
    if workers + 1 <= host.usable_cores:
        return ""
    return (
        f" But this process can use only {host.usable_cores:.4g} cores, which {workers} workers and the loop share "
        "already: more workers need more cores."
    )


def _evidence(host: HostCapture, run: RunResult) -> Iterator[Evidence]:
    if host.quota_cores is not None:
        yield Evidence("CPU quota", f"{host.quota_cores:.4g} cores")
    if host.throttled_periods:
        figure = f"{host.throttled_periods:,} of {host.quota_periods:,} ({percent(host.throttled_fraction or 0.0)})"
        yield Evidence("periods in which the CPU quota was used up", figure)
    waited = ratio(None if host.pressure_ns is None else host.pressure_ns / 1e9, run.elapsed_s)
    if host.throttled_periods and waited is not None:
        yield Evidence("time in which a thread waited for a core", percent(min(1.0, waited)))
