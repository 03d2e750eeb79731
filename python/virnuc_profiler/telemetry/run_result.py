# SPDX-License-Identifier: MIT
"""The result of one profiled run, which can be saved to a JSON file and loaded from it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.telemetry.batch_table import BATCH_FIELDS, STAGE_FIELDS, BatchTable
from virnuc_profiler.telemetry.files import write_json_atomically
from virnuc_profiler.telemetry.long_lists.run_document import RUN_KIND, read_document
from virnuc_profiler.telemetry.migrations import SAVED_RUN
from virnuc_profiler.telemetry.parts import kernel_records, start_up_records
from virnuc_profiler.telemetry.parts.kernel_records import KernelActivity
from virnuc_profiler.telemetry.parts.start_up_records import StartUpRecord
from virnuc_profiler.telemetry.records import (
    DeviceCapture,
    EnergyReading,
    GpmReading,
    GpuReading,
    GpuSamples,
    HostCapture,
    ProcessReading,
    ProfilingCost,
    SamplerTierRecord,
    StopRecord,
    stopped_ns,
    suspended_ns,
)
from virnuc_profiler.telemetry.tables.html_display import run_html
from virnuc_profiler.telemetry.tables.pandas_frames import to_frame
from virnuc_profiler.telemetry.tables.run_tables import run_table
from virnuc_profiler.telemetry.typed_records import (
    Known,
    known_fields,
    read_record,
    require_type,
    unknown_keys,
    with_unknown_keys,
)
from virnuc_profiler.telemetry.values import plain_items

if TYPE_CHECKING:
    import pandas as pd

_REQUIRED: Final[Mapping[str, type]] = {
    "run_id": str,
    "started_at": str,
    "host_start_ns": int,
    "host_end_ns": int,
    "stage_names": list,
    "device": dict,
    "batches": dict,
    "stages": dict,
}
_READINGS: Final[Mapping[str, type]] = {
    "fast": GpuReading,
    "gpm": GpmReading,
    "energy": EnergyReading,
    "processes": ProcessReading,
    "tiers": SamplerTierRecord,
}
_KNOWN: Final[Known] = {
    **dict.fromkeys(("kind", "schema_version", "metadata", *_REQUIRED)),
    "device": known_fields(DeviceCapture),
    "gpu": {
        **dict.fromkeys(("uuid", "max_sm_clock_mhz")),
        **{key: known_fields(kind) for key, kind in _READINGS.items()},
    },
    "cost": known_fields(ProfilingCost),
    "host": known_fields(HostCapture),
    "stops": known_fields(StopRecord),
    "start_up": start_up_records.KNOWN_KEYS,
    "kernels": kernel_records.KNOWN_KEYS,
    "batches": dict.fromkeys(BATCH_FIELDS),
    "stages": dict.fromkeys(STAGE_FIELDS),
}


@dataclass(frozen=True)
class RunResult:
    """One profiled run: its batches in the order in which they began, and the GPU's readings.

    Attributes:
        run_id: Name of the run.
        started_at: Start of the run, ISO 8601 in UTC.
        host_start_ns: Start of the run on the host's monotonic clock.
        host_end_ns: End of the run on the host's monotonic clock.
        stage_names: Names of all stages that the run could have.
        batches: All batches that ended.
        device: The device, and why it was not timed or sampled if it was not.
        gpu: NVML readings, or None if the GPU was not sampled.
        metadata: Facts about the run that the user added, as plain JSON values.
        cost: Cost of profiling this run, or None if the file predates its measurement.
        host: CPU time that the run could use and waited for, or None if the file predates its measurement.
        stops: Times during which the run was stopped, or None if the file predates their measurement.
        start_up: What is known of its start-up beside its batches, or None if the file predates it.
        kernels: Device work of some of its batches, which were run again under CUPTI; None without such a capture.
        schema_version: Version of the saved file: this package's own, or the newer minor version it was loaded from.
        unknown: Keys of a loaded file that this version does not know; :meth:`save` writes them again.
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
    host: HostCapture | None = None
    stops: tuple[StopRecord, ...] | None = None
    start_up: StartUpRecord | None = None
    kernels: KernelActivity | None = None
    schema_version: str = SAVED_RUN.version
    unknown: Mapping[str, Any] = field(default_factory=dict)

    @property
    def elapsed_s(self) -> float:
        """Wall time of the run in seconds."""
        return (self.host_end_ns - self.host_start_ns) / 1e9

    @property
    def stopped_s(self) -> float | None:
        """Part of the wall time in which the run was stopped, in seconds; None if that was not watched."""
        return None if self.stops is None else stopped_ns(self.stops, self.host_start_ns, self.host_end_ns) / 1e9

    @property
    def suspended_s(self) -> float | None:
        """Seconds that the machine slept during the run, which are no wall time; None if that was not watched."""
        return None if self.stops is None else suspended_ns(self.stops) / 1e9

    @property
    def total_sequences(self) -> int | None:
        """Number of sequences in the batches with packing statistics; None if no batch has them."""
        return self.batches.total("sequences")

    @property
    def total_tokens(self) -> int | None:
        """Number of tokens in the batches with packing statistics, BOS and EOS included; None if no batch has them."""
        return self.batches.total("tokens")

    def to_pandas(self, table: str = "batches") -> pd.DataFrame:
        """Return one of the run's tables as a data frame of pandas; see ``docs/export-a-run.md`` for its columns.

        Args:
            table: ``batches``, ``stages`` or ``samples`` (the readings of the GPU).

        Raises:
            ValueError: There is no such table.
            LibraryUnavailable: pandas cannot be imported; the message says how to install it.
        """
        return to_frame(run_table(self, table))

    def _repr_html_(self) -> str:
        """Return what a notebook shows of the run."""
        return run_html(self)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the run as JSON, atomically.

        Args:
            path: File to write. Missing folders are created.

        Returns:
            The path.

        Raises:
            OutputError: The file cannot be written.
        """
        document = {
            "kind": RUN_KIND,
            "schema_version": self.schema_version,
            "run_id": self.run_id,
            "started_at": self.started_at,
            "host_start_ns": self.host_start_ns,
            "host_end_ns": self.host_end_ns,
            "stage_names": list(self.stage_names),
            "device": asdict(self.device),
            "gpu": None if self.gpu is None else asdict(self.gpu),
            "cost": None if self.cost is None else asdict(self.cost),
            "host": None if self.host is None else asdict(self.host),
            "stops": None if self.stops is None else [asdict(stop) for stop in self.stops],
            "start_up": None if self.start_up is None else self.start_up.to_json(),
            "kernels": None if self.kernels is None else self.kernels.to_json(),
            "metadata": dict(self.metadata),
            **self.batches.to_arrays(),
        }
        if self.unknown:
            document = with_unknown_keys(document, self.unknown)
        return write_json_atomically(path, document)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, max_bytes: int | None = None) -> RunResult:
        """Read a run that :meth:`save` wrote, in this or another version of the same major schema version.

        Args:
            path: File to read.
            max_bytes: Size limit; a larger file is refused instead of filling the memory. By default 2 GiB, which is
                room for some 3 million batches.

        Raises:
            TelemetryFormatError: The file cannot be read, is too large, is not a saved run, or has another major
                schema version.
        """
        document = read_document(path, max_bytes=max_bytes)
        if not is_saved_run(document):
            raise TelemetryFormatError(f"{path} is not a saved run of virnuc_profiler")
        return cls.from_document(document, str(path))

    @classmethod
    def from_document(cls, document: dict[str, Any], name: str) -> RunResult:
        """Build a run from the JSON values of a saved run.

        Args:
            document: Content of a file for which ``is_saved_run`` holds, with lists or arrays as columns.
            name: Name of the file in error messages.

        Raises:
            TelemetryFormatError: The document is incomplete, or has another major schema version.
        """
        try:
            document = SAVED_RUN.migrate(document)
        except TelemetryFormatError as error:
            raise TelemetryFormatError(f"{name}: {error}") from error
        try:
            return cls(**_read_parts(document))
        except TelemetryFormatError as error:
            raise TelemetryFormatError(f"{name} is not a complete saved run: {error}") from error


def is_saved_run(document: Any) -> bool:
    """Whether the content of a JSON file says that it is a saved run, of any version.

    Args:
        document: Content of the file.
    """
    return isinstance(document, dict) and document.get("kind") == RUN_KIND


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata that telemetry can hold too.

    Raises:
        TelemetryFormatError: It holds an integer of more than 1,024 bits, or is nested too deeply.
    """
    try:
        return plain_items(metadata, "metadata")
    except ValueError as error:
        raise TelemetryFormatError(f"metadata: {error}") from None


def _read_parts(document: Mapping[str, Any]) -> dict[str, Any]:
    if missing := _REQUIRED.keys() - document.keys():
        raise TelemetryFormatError(f"it has no {min(missing)!r}")
    for key, kind in _REQUIRED.items():
        require_type(document[key], (kind,), key)
    metadata = document.get("metadata", {})
    require_type(metadata, (dict,), "metadata")
    for number, name in enumerate(document["stage_names"]):
        require_type(name, (str,), f"stage_names[{number}]")
    stage_names = tuple(document["stage_names"])
    gpu, cost = document.get("gpu"), document.get("cost")
    host, stops = document.get("host"), document.get("stops")
    start_up, kernels = document.get("start_up"), document.get("kernels")
    return {
        **{key: document[key] for key in ("run_id", "started_at", "host_start_ns", "host_end_ns", "schema_version")},
        "stage_names": stage_names,
        "metadata": _plain(metadata),
        "batches": BatchTable.from_columns(stage_names, document),
        "device": read_record(DeviceCapture, document["device"], "device"),
        "gpu": None if gpu is None else _read_samples(gpu),
        "cost": None if cost is None else read_record(ProfilingCost, cost, "cost"),
        "host": None if host is None else read_record(HostCapture, host, "host"),
        "stops": None if stops is None else _read_all(StopRecord, stops, "stops"),
        "start_up": None if start_up is None else StartUpRecord.from_json(start_up),
        "kernels": None if kernels is None else KernelActivity.from_json(kernels),
        "unknown": unknown_keys(document, _KNOWN),
    }


def _read_samples(gpu: Any) -> GpuSamples:
    require_type(gpu, (dict,), "gpu")
    if "uuid" not in gpu:
        raise TelemetryFormatError("gpu has no 'uuid'")
    max_sm_clock_mhz = gpu.get("max_sm_clock_mhz")
    require_type(gpu["uuid"], (str,), "gpu.uuid")
    require_type(max_sm_clock_mhz, (int, type(None)), "gpu.max_sm_clock_mhz")
    readings = {key: _read_all(kind, gpu.get(key, []), f"gpu.{key}") for key, kind in _READINGS.items()}
    return GpuSamples(uuid=gpu["uuid"], max_sm_clock_mhz=max_sm_clock_mhz, **readings)


def _read_all(kind: type[Any], entries: Any, name: str) -> tuple[Any, ...]:
    require_type(entries, (list,), name)
    return tuple(read_record(kind, entry, f"{name}[{number}]") for number, entry in enumerate(entries))
