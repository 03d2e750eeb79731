# SPDX-License-Identifier: MIT
"""The result of one profiled run, which can be saved and loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.files import MAX_BYTES, read_json, write_json_atomically
from virnuc_profiler.telemetry.records import (
    DeviceCapture,
    EnergyReading,
    GpmReading,
    GpuReading,
    GpuSamples,
    ProcessReading,
    ProfilingCost,
    SamplerTierRecord,
)
from virnuc_profiler.telemetry.typed_records import read_record, require_type
from virnuc_profiler.telemetry.values import shown

SCHEMA_VERSION = "1.0"
_KIND = "virnuc_profiler run"
_REQUIRED: Mapping[str, type] = {
    "run_id": str,
    "started_at": str,
    "host_start_ns": int,
    "host_end_ns": int,
    "stage_names": list,
    "metadata": dict,
    "device": dict,
    "batches": dict,
    "stages": dict,
}
_TABLES = ("device", "batches", "stages")
_READINGS: Mapping[str, type] = {
    "fast": GpuReading,
    "gpm": GpmReading,
    "energy": EnergyReading,
    "processes": ProcessReading,
    "tiers": SamplerTierRecord,
}


@dataclass(frozen=True)
class RunResult:
    """One run: its batches in the order they began, and what was sampled of the GPU meanwhile.

    Attributes:
        run_id: name of the run.
        started_at: ISO 8601, UTC.
        host_start_ns: start on the monotonic clock.
        host_end_ns: end on the same clock.
        stage_names: the stages that could occur.
        batches: every batch that ended.
        device: what was captured of the device, or why nothing was.
        gpu: NVML's readings; None where there were none.
        metadata: whatever the user wanted to keep with it, JSON-able.
        cost: what profiling it cost; None in files of before 0.2.
    """

    run_id: str
    started_at: str
    host_start_ns: int
    host_end_ns: int
    stage_names: tuple[str, ...]
    batches: BatchTable
    device: DeviceCapture
    gpu: GpuSamples | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    cost: ProfilingCost | None = None

    @property
    def elapsed_s(self) -> float:
        """Wall time of the run."""
        return (self.host_end_ns - self.host_start_ns) / 1e9

    @property
    def total_sequences(self) -> int | None:
        """Sequences of all batches that had packing statistics; None if none had."""
        return self.batches.total("sequences")

    @property
    def total_tokens(self) -> int | None:
        """Tokens of all batches that had packing statistics, BOS and EOS included; None if none had."""
        return self.batches.total("tokens")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the run as JSON, atomically.

        Raises:
            OutputError: the file cannot be written.
        """
        document = {
            "kind": _KIND,
            "schema_version": SCHEMA_VERSION,
            "run_id": self.run_id,
            "started_at": self.started_at,
            "host_start_ns": self.host_start_ns,
            "host_end_ns": self.host_end_ns,
            "stage_names": list(self.stage_names),
            "device": asdict(self.device),
            "gpu": None if self.gpu is None else asdict(self.gpu),
            "cost": None if self.cost is None else asdict(self.cost),
            "metadata": dict(self.metadata),
            **self.batches.to_columns(),
        }
        return write_json_atomically(path, document)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> RunResult:
        """Reads a run that :meth:`save` wrote.

        Args:
            path: the file.
            max_bytes: a larger file is refused instead of filling the memory.

        Raises:
            TelemetryFormatError: the file cannot be read, is too large, or is not a saved run.
        """
        document = read_json(path, max_bytes=max_bytes)
        if not isinstance(document, dict) or document.get("kind") != _KIND:
            raise TelemetryFormatError(f"{path} is not a saved run of virnuc_profiler")
        if document.get("schema_version") != SCHEMA_VERSION:
            version = shown(document.get("schema_version"))
            raise TelemetryFormatError(f"{path} has schema version {version}; this version reads {SCHEMA_VERSION!r}")
        try:
            return cls(**_read_parts(document))
        except TelemetryFormatError as error:
            raise TelemetryFormatError(f"{path} is not a whole saved run: {error}") from error


def _read_parts(document: Mapping[str, Any]) -> dict[str, Any]:
    if missing := _REQUIRED.keys() - document.keys():
        raise TelemetryFormatError(f"it has no {min(missing)!r}")
    for key, kind in _REQUIRED.items():
        require_type(document[key], (kind,), key)
    for number, name in enumerate(document["stage_names"]):
        require_type(name, (str,), f"stage_names[{number}]")
    stage_names = tuple(document["stage_names"])
    gpu, cost = document.get("gpu"), document.get("cost")
    return {
        **{key: document[key] for key in _REQUIRED if key not in _TABLES},
        "stage_names": stage_names,
        "batches": BatchTable.from_columns(stage_names, document),
        "device": read_record(DeviceCapture, document["device"], "device"),
        "gpu": None if gpu is None else _read_samples(gpu),
        "cost": None if cost is None else read_record(ProfilingCost, cost, "cost"),
    }


def _read_samples(gpu: Any) -> GpuSamples:
    require_type(gpu, (dict,), "gpu")
    gpu = {"processes": [], "max_sm_clock_mhz": None, **gpu}  # files of before 0.2 lack them
    if missing := {"uuid", *_READINGS} - gpu.keys():
        raise TelemetryFormatError(f"gpu has no {min(missing)!r}")
    require_type(gpu["uuid"], (str,), "gpu.uuid")
    require_type(gpu["max_sm_clock_mhz"], (int, type(None)), "gpu.max_sm_clock_mhz")
    readings = {key: _read_all(kind, gpu[key], f"gpu.{key}") for key, kind in _READINGS.items()}
    return GpuSamples(uuid=gpu["uuid"], max_sm_clock_mhz=gpu["max_sm_clock_mhz"], **readings)


def _read_all(kind: type[Any], entries: Any, name: str) -> tuple[Any, ...]:
    require_type(entries, (list,), name)
    return tuple(read_record(kind, entry, f"{name}[{number}]") for number, entry in enumerate(entries))
