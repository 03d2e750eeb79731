# SPDX-License-Identifier: MIT
"""The sentences on the start of a run: its share, its parts, and the way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from virnuc_profiler.analysis.diagnosis.bottlenecks import (
    COLLATION,
    DATA_LOADING,
    FIRST_BATCH,
    LABELS,
    OTHER_HOST_WORK,
    WARM_UP,
)
from virnuc_profiler.analysis.diagnosis.start_up import StartUp
from virnuc_profiler.telemetry.parts.start_up_records import (
    LOADING_MODEL,
    READING,
    RECORDING_GRAPHS,
    STARTING_LOADER,
    WARMING_UP,
)
from virnuc_profiler.telemetry.rates import ratio

_MIN_PART: Final = 0.05
"""Smallest share of the start-up of a part that the sentence names, beside the largest part."""

_PARTS: Final[Mapping[str, str]] = {
    DATA_LOADING: "waiting for the first data",
    COLLATION: "collating the first batches",
    OTHER_HOST_WORK: "in other work on the host",
    FIRST_BATCH: "in the first pass",
    STARTING_LOADER: "starting the loader and its workers",
    READING: "reading and indexing the file",
    LOADING_MODEL: "loading the model",
    RECORDING_GRAPHS: "recording CUDA graphs",
    WARMING_UP: "warming up",
    WARM_UP: "in further slow batches",
}

_ADVICE: Final[Mapping[str, str]] = {
    DATA_LOADING: "Workers may start meanwhile, and sequences may be read and buffered. {sooner} sooner",
    COLLATION: "A smaller buffer_size starts sooner",
    OTHER_HOST_WORK: "Do that work before the run, or give it a name with profiler.preparing(name)",
    FIRST_BATCH: "A first pass may have to load or compile kernels and to allocate memory. Run one batch before the "
    "measurement",
    STARTING_LOADER: "Workers that are spawned import everything again; a forkserver with preloaded modules, fewer "
    "workers (num_workers) or persistent_workers start sooner",
    READING: "Index the file once, before the run",
    LOADING_MODEL: "Load the model before the run",
    RECORDING_GRAPHS: "Each size of pack has a graph of its own, which is recorded once",
    WARM_UP: "They may load or compile kernels of new shapes. Run a batch of each shape before the measurement",
}


def start_up_sentence(start_up: StartUp, bottleneck: str | None = None) -> str:
    """Return the share of the run that its start-up took, its parts, and the way out.

    Args:
        start_up: Start-up of the run.
        bottleneck: Bottleneck after warm-up, or None. If that is the loader, which needs more workers, fewer of them
            are no way out.
    """
    loader = bottleneck in (DATA_LOADING, COLLATION)
    sooner = "A smaller buffer_size starts" if loader else "Fewer workers (num_workers) or a smaller buffer_size start"
    elapsed_s, run_s = start_up.elapsed_ns / 1e9, start_up.run_ns / 1e9
    later = "" if start_up.batch_ns is None else f" (a later batch takes {duration(start_up.batch_ns / 1e9)})"
    largest = max(start_up.costs_ns, key=start_up.costs_ns.__getitem__)
    advice = _ADVICE.get(largest, "Do that work before the run").format(sooner=sooner)
    return (
        f"Start-up: {percent(ratio(elapsed_s, run_s) or 0.0)} of the run, {duration(elapsed_s)} of its "
        f"{duration(run_s)}, passed before its first batch was complete{later}: {_listed(start_up.phases)}."
        f"{_further(start_up)} {advice}; a longer run pays this only once."
    )


def before_sentence(start_up: StartUp) -> str:
    """Return what passed in the process before its first run, and what of it is known.

    Args:
        start_up: Start-up of the run, whose `before_ns` is known.
    """
    known = f": {_listed(start_up.before)}, the rest in" if start_up.before else ", in"
    passed = duration((start_up.before_ns or 0) / 1e9)
    return (
        f"Before the run, {passed} passed since its process was started{known} imports and what else the program did "
        "first. No figure of the run includes them."
    )


def _further(start_up: StartUp) -> str:
    """Return what the batches after the first one took longer, if that is considerable beside the rest."""
    extra_ns = sum(start_up.warm_up.values())
    if extra_ns < _MIN_PART * (start_up.elapsed_ns + extra_ns):
        return ""
    return f" The next batches took {duration(extra_ns / 1e9)} longer than later ones: {_listed(start_up.warm_up)}."


def _listed(parts: Mapping[str, int]) -> str:
    """List the largest parts of a time, ns, such as ``9.0 s of that waiting for the first data and 4.0 s ...``."""
    total_ns = sum(parts.values())
    first, *others = sorted(parts.items(), key=lambda part: -part[1])
    texts = [f"{duration(first[1] / 1e9)} of that {_part(first[0])}"]
    texts += [f"{duration(ns / 1e9)} {_part(name)}" for name, ns in others if ns >= _MIN_PART * total_ns]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def _part(name: str) -> str:
    return _PARTS.get(name, f"in {LABELS.get(name, repr(name))}")


def percent(share: float) -> str:
    """Format a share from 0 to 1 as ``4.2%``.

    Args:
        share: Share to format.
    """
    return f"{100 * share:.1f}%"


def duration(seconds: float) -> str:
    """Format a time as ``14.0 s``, or as ``3.2 ms`` below a second.

    Args:
        seconds: Time in seconds.
    """
    return f"{seconds:,.1f} s" if seconds >= 1 else f"{1e3 * seconds:,.1f} ms"
