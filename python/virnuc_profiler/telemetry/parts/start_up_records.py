# SPDX-License-Identifier: MIT
"""Records of how a process got to its run, and of known work before the run's batches reached their pace."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from virnuc_profiler.telemetry.typed_records import Known, known_fields, read_record, require_type

STARTING_LOADER: Final = "starting_loader"
"""Starting a loader, which starts its workers."""
READING: Final = "reading"
"""Reading and indexing the file of sequences."""
LOADING_MODEL: Final = "loading_model"
WARMING_UP: Final = "warming_up"
"""Running a few sequences unmeasured."""
RECORDING_GRAPHS: Final = "recording_graphs"
"""Recording CUDA graphs, which also compiles and loads kernels of new shapes."""


@dataclass(frozen=True, slots=True)
class StartUpPart:
    """Work that was noted while it was done.

    Attributes:
        name: One of the names in this module, or one of the user's own.
        start_ns: Start on the host's monotonic clock.
        end_ns: End on the host's monotonic clock.
    """

    name: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class StartUpRecord:
    """What is known of a run's start-up beside its batches.

    Attributes:
        process_start_ns: Start of the process on the host's monotonic clock; None if it is unknown.
        first_run: Whether the run is the first of its process, so that the process was started for it.
        parts: Work that was noted during the run and, if it is the first, before it; parts may overlap.
    """

    process_start_ns: int | None = None
    first_run: bool = False
    parts: tuple[StartUpPart, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "parts": [asdict(part) for part in self.parts]}

    @classmethod
    def from_json(cls, values: Any, name: str = "start_up") -> StartUpRecord:
        """Read what :meth:`to_json` returned.

        Args:
            values: Value in the file, of any type.
            name: Name of that value in error messages.

        Raises:
            TelemetryFormatError: A value is missing or of another type.
        """
        require_type(values, (dict,), name)
        entries = values.get("parts", [])
        require_type(entries, (list,), f"{name}.parts")
        parts = tuple(read_record(StartUpPart, part, f"{name}.parts[{at}]") for at, part in enumerate(entries))
        return replace(
            read_record(cls, {key: value for key, value in values.items() if key != "parts"}, name), parts=parts
        )


KNOWN_KEYS: Final[Known] = {**known_fields(StartUpRecord), "parts": known_fields(StartUpPart)}
"""Keys of ``start_up`` in a saved run that this version knows."""
