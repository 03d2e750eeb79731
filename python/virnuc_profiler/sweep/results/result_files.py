# SPDX-License-Identifier: MIT
"""The documents that the steps write: one shape for all five.

``schema_version``, ``kind``, ``step``, ``created`` and ``complete`` say what the document is; ``machine``,
``versions``, ``workload``, ``model`` and ``settings`` under which conditions it came to be; ``grid`` and ``planned``
what was to be measured; ``baseline`` is the result that speedups refer to; ``results`` holds one entry for each
configuration that was tried, as ``run_single_gpu_benchmark`` returns it, or that surely does not fit, as
``MemoryForecast`` predicts it, with its ``speedup`` and the ``telemetry_path`` relative to the sweep's folder; ``best``
is one of them, and ``constraint_met`` says whether it has the wanted packing efficiency (null where none was wanted or
nothing succeeded).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from virnuc_profiler.analysis.selection import select_best
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.plan.configuration import RANGES
from virnuc_profiler.sweep.plan.steps import STEP_NAMES, Step
from virnuc_profiler.telemetry.files import read_json
from virnuc_profiler.telemetry.rates import ratio

SCHEMA_VERSION: Final = "1.0"
STEP_KIND: Final = "virnuc_profiler sweep step"
BEST_KIND: Final = "virnuc_profiler best configuration"

Document = dict[str, Any]
Result = Mapping[str, Any]


def step_document(
    step: Step,
    conditions: Conditions,
    results: Iterable[Result],
    baseline: Result | None,
    *,
    planned: int,
    created: str | None = None,
    **more: Any,
) -> Document:
    """The document of a step with the results that it has so far."""
    with_speedup = [{**result, "speedup": speedup(result, baseline)} for result in results]
    chosen = select_best(with_speedup, step.min_packing)
    constrained = step.min_packing is not None and chosen.best is not None
    return {
        "kind": STEP_KIND,
        "schema_version": SCHEMA_VERSION,
        "step": step.name,
        "created": created or now(),
        "complete": len(with_speedup) == planned,
        "machine": dict(conditions.machine),
        "versions": dict(conditions.versions),
        "workload": dict(conditions.workload),
        "model": dict(conditions.model),
        "settings": dict(conditions.settings),
        "grid": {name: list(values) for name, values in step.grid.items()},
        "planned": planned,
        "min_packing": step.min_packing,
        "baseline": None if baseline is None else dict(baseline),
        "results": with_speedup,
        "best": None if chosen.best is None else dict(chosen.best),
        "constraint_met": chosen.constraint_met if constrained else None,
        **more,
    }


def read_step(path: str | os.PathLike[str]) -> Document:
    """Reads the document of a step.

    Raises:
        TelemetryFormatError: it is missing, unreadable or something else.
    """
    document = read_json(path)
    if not isinstance(document, dict) or document.get("kind") != STEP_KIND:
        raise TelemetryFormatError(f"{path} is not a result file of a sweep")
    if document.get("schema_version") != SCHEMA_VERSION:
        raise TelemetryFormatError(
            f"{path} has schema version {document.get('schema_version')!r}; this version reads {SCHEMA_VERSION!r}"
        )
    results = document.get("results")
    if not _is_whole(document) or not isinstance(results, list) or not all(map(is_result, results)):
        raise TelemetryFormatError(f"{path} is not a whole result file: its results are missing or have another form")
    return document


def read_best(path: str | os.PathLike[str]) -> Document:
    """Reads the file of the recommended configuration.

    Raises:
        TelemetryFormatError: it is missing, unreadable or something else.
    """
    best = read_json(path)
    if (
        not isinstance(best, dict)
        or best.get("kind") != BEST_KIND
        or not is_result(best.get("validation"))
        or not best.keys() >= {"reason", "projection"}
        or not isinstance(best.get("validation_workload"), dict)
    ):
        raise TelemetryFormatError(f"{path} is not a whole file of a best configuration")
    return best


def _is_whole(document: Document) -> bool:
    return (
        document.get("step") in STEP_NAMES
        and isinstance(document.get("complete"), bool)
        and isinstance(document.get("planned"), int)
        and document.keys() >= {"best", "baseline", "constraint_met", "min_packing"}
    )


def is_result(result: Any) -> bool:
    """Whether this is a result at least in outline."""
    if not isinstance(result, dict) or not isinstance(result.get("config"), dict):
        return False
    known = result.get("status") == "success" or isinstance(result.get("reason"), str)
    return known and "status" in result and all(isinstance(result["config"].get(name), int) for name in RANGES)


def baseline_seconds(folder: Path, fingerprint: str, model_name: str, device: str) -> float | None:
    """How long the baseline in `folder` took; None if there is none of this workload, model and device."""
    try:
        document = read_step(folder / "baseline.json")
    except TelemetryFormatError:
        return None
    wanted = {("workload", "fingerprint"): fingerprint, ("model", "model_name"): model_name}
    wanted["settings", "device"] = device
    same = all(_look_up(document, section, key) == value for (section, key), value in wanted.items())
    seconds = document["results"][0].get("elapsed_sec") if same and document["results"] else None
    return seconds if isinstance(seconds, float) else None


def speedup(result: Result, baseline: Result | None) -> float | None:
    """Sequences per second over the baseline's; None where one of them was not measured."""
    return ratio(result.get("sequences_per_sec"), (baseline or {}).get("sequences_per_sec"))


def now() -> str:
    """The time in ISO 8601, UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def relative_to(folder: Path, path: str | None) -> str | None:
    """`path` as seen from `folder`, so that a sweep's folder can be moved."""
    return None if path is None else os.path.relpath(path, folder)


def _look_up(document: Mapping[str, Any], section: str, key: str) -> Any:
    values = document.get(section)
    return values.get(key) if isinstance(values, Mapping) else None
