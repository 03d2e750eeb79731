# SPDX-License-Identifier: MIT
"""The part of a diagnosis that the host is to blame for: a CPU quota that is used up, too few cores, a stopped run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from virnuc_profiler.analysis.diagnosis.bottlenecks import (
    COLLATION,
    CONSUMING,
    CPU_QUOTA,
    DATA_LOADING,
    HOST_ARITHMETIC,
    LAUNCHING,
    OTHER_HOST_WORK,
)
from virnuc_profiler.analysis.diagnosis.evidence import Evidence
from virnuc_profiler.analysis.diagnosis.start_up_wording import percent
from virnuc_profiler.analysis.diagnosis.wording import further_sentence
from virnuc_profiler.analysis.host.interruptions import interruption_sentence
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.records import HostCapture
from virnuc_profiler.telemetry.run_result import RunResult

MIN_THROTTLED: Final = 0.1
"""Share of a quota's periods that must be throttled to be worth a sentence: a burst at the start throttles a few."""

BOUND_THROTTLED: Final = 0.5
"""Share of throttled periods from which the quota itself is the bottleneck of a run that the host slows down."""

_HOST_WORK: Final = (
    DATA_LOADING, COLLATION, LAUNCHING, CONSUMING, OTHER_HOST_WORK, HOST_ARITHMETIC,
)  # fmt: skip
"""Bottlenecks that a quota may cause, because threads of the host set the pace."""

_RAISE: Final = "Raise it (docker run --cpus, Kubernetes limits.cpu, or cpu.max of the control group)"


class Verdict(Protocol):
    """The parts of a diagnosis that the host may change; see ``Diagnosis``."""

    @property
    def bottleneck(self) -> str:
        """Name of the bottleneck."""

    @property
    def healthy(self) -> bool:
        """Whether no considerable loss was found on the device."""

    @property
    def sentence(self) -> str:
        """Verdict with a suggested remedy."""

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """Statements and their figures."""

    @property
    def further(self) -> tuple[str, ...]:
        """Sentences on other causes of lost time."""

    @property
    def lost_time(self) -> Mapping[str, float]:
        """Shares of the window by cause."""


def host_changes(found: Verdict, run: RunResult) -> dict[str, Any]:
    """Return the fields of a diagnosis that change because of what the host did to the run.

    A used-up CPU quota replaces a bottleneck on the host, because it slows down all work there.

    Args:
        found: Diagnosis from the run's own times.
        run: The run.
    """
    changes = {} if run.host is None else _cpu_changes(found, run.host, run)
    warning = interruption_sentence(run)
    if warning is not None:
        changes["sentence"] = f"{changes.get('sentence', found.sentence)} {warning}"
    return changes


def _cpu_changes(found: Verdict, host: HostCapture, run: RunResult) -> dict[str, Any]:
    changes: dict[str, Any] = {"evidence": (*found.evidence, *_evidence(host, run))}
    throttled = host.throttled_fraction or 0.0
    if found.healthy or throttled < MIN_THROTTLED:
        return {**changes, "sentence": found.sentence + _worker_advice(found, host, run)}
    cores = "" if host.quota_cores is None else f" of {host.quota_cores:.4g} cores"
    if throttled < BOUND_THROTTLED or found.bottleneck not in _HOST_WORK:
        line = f"Also the CPU quota{cores}: it was used up in {percent(throttled)} of its periods."
        return {**changes, "further": (*found.further, line)}
    share = found.lost_time.get(found.bottleneck)
    also = () if share is None else (further_sentence(found.bottleneck, share),)
    sentence = (
        f"The run is bound by its CPU quota{cores}: it was used up in {percent(throttled)} of its periods, and all "
        f"threads waited for the next one. {_RAISE}; more workers would share the same cores."
    )
    return {**changes, "bottleneck": CPU_QUOTA, "sentence": sentence, "further": (*also, *found.further)}


def _worker_advice(found: Verdict, host: HostCapture, run: RunResult) -> str:
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
