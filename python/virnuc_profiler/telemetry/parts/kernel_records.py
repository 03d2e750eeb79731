# SPDX-License-Identifier: MIT
"""Records of what the device really did in some batches, as CUPTI saw it: kernels, copies and memsets.

All of them are optional parts of a saved run, under ``kernels``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final, NamedTuple

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.telemetry.typed_records import Known, Record, known_fields, read_record, require_type

ANCHOR_CALL: Final = "cudaDeviceSynchronize"
"""Call by which the clocks of a trace and of the stages are compared."""

_MAX_WORK: Final = 1.02
"""Largest ratio of the device's work to the time of its batches that the spread of repeated runs explains."""


class ClockAnchor(NamedTuple):
    """A call of :data:`ANCHOR_CALL` in a trace, with the times around it.

    Attributes:
        before_ns: Time on the monotonic clock right before the call.
        after_ns: Time on the monotonic clock right after the call.
        wall_ns: Time of day, ns since 1970 in UTC, right after `after_ns` was read.
    """

    before_ns: int
    after_ns: int
    wall_ns: int


@dataclass(frozen=True, slots=True)
class StageActivity:
    """Device work that one stage launched in the captured batches.

    Attributes:
        stage: Name of the stage; None for work in the window that no stage of a recorded batch launched.
        launches: Number of calls that launched the work. The launch of a CUDA graph counts once.
        operations: Number of kernels, copies and memsets.
        total_ns: Sum of their durations; concurrent operations count separately.
        busy_ns: Time in which at least one of them ran.
        interval_ns: Time in the stage's device intervals; None if it has none.
        idle_ns: Part of `interval_ns` in which nothing ran on the device; None without device intervals.
    """

    stage: str | None
    launches: int
    operations: int
    total_ns: int
    busy_ns: int
    interval_ns: int | None = None
    idle_ns: int | None = None


@dataclass(frozen=True, slots=True)
class KernelTotal:
    """All executions of one kernel, or of one kind of copy, that a stage launched in the captured batches.

    Attributes:
        stage: Name of the stage; None as in :class:`StageActivity`.
        name: Name of the kernel or of the kind of copy.
        count: Number of executions.
        total_ns: Sum of their durations.
    """

    stage: str | None
    name: str
    count: int
    total_ns: int


@dataclass(frozen=True, slots=True)
class KernelActivity:
    """Device work of some steady batches that were run again under CUPTI after the measured run.

    The window lasts from the completion of the batch before the captured ones to the completion of the last of them,
    so it has as many gaps as batches. `busy_ns`, `idle_in_stages_ns` and `idle_between_ns` add up to it.

    Attributes:
        batches: Number of captured batches.
        first_batch: Index of the first captured batch.
        window_ns: Length of the window.
        busy_ns: Time of the window in which at least one kernel, copy or memset ran.
        idle_in_stages_ns: Time of the window in a device stage in which nothing ran; None without device times.
        idle_between_ns: Time of the window outside of all device stages in which nothing ran; None without device
            times.
        launches: Calls that launched the work of the captured batches, and that in the window outside of all stages.
        operations: Kernels, copies and memsets of that work.
        reference_ns: Time that the batches take without CUPTI; None if it is unknown. See
            ``analysis.kernels.captured_batches``.
        clock_error_ns: Uncertainty of the launch times relative to the stages; None if the clocks were compared by
            the time of day only.
        stages: Work by stage, in the order of the run's stages.
        kernels: Kernels with the largest total times of each stage.
    """

    batches: int
    first_batch: int
    window_ns: int
    busy_ns: int
    idle_in_stages_ns: int | None
    idle_between_ns: int | None
    launches: int
    operations: int
    reference_ns: int | None = None
    clock_error_ns: int | None = None
    stages: tuple[StageActivity, ...] = ()
    kernels: tuple[KernelTotal, ...] = ()

    @property
    def busy_share(self) -> float | None:
        """Busy share of the device while CUPTI recorded it, 0 to 1; None for an empty window."""
        return self.busy_ns / self.window_ns if self.window_ns > 0 else None

    @property
    def busy_share_at_own_pace(self) -> float | None:
        """Busy share of the device in the loop without CUPTI, 0 to 1; None if it is unknown.

        The device does the same work in both, and CUPTI slows down the host. So the work is compared with the time that
        the same batches took without it. If that time is unknown, or the work does not fit into it, so is the share.
        """
        if not self.reference_ns or self.reference_ns <= 0 or self.exceeds_reference:
            return None
        return min(1.0, self.busy_ns / self.reference_ns)

    @property
    def exceeds_reference(self) -> bool:
        """Whether the device worked longer under CUPTI than its batches take without it, so that it was slower."""
        return bool(self.reference_ns) and self.busy_ns > _MAX_WORK * (self.reference_ns or 0)

    @property
    def slowdown(self) -> float | None:
        """Time of the batches with CUPTI relative to that without it; None if the latter is unknown."""
        return self.window_ns / self.reference_ns if self.reference_ns and self.reference_ns > 0 else None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        lists = {"stages": [asdict(one) for one in self.stages], "kernels": [asdict(one) for one in self.kernels]}
        return {**asdict(self), **lists}

    @classmethod
    def from_json(cls, values: Any, name: str = "kernels") -> KernelActivity:
        """Read what :meth:`to_json` returned.

        Args:
            values: Value in the file, of any type.
            name: Name of that value in error messages.

        Raises:
            TelemetryFormatError: A value is missing or of another type, or the device is busy for longer than the
                window.
        """
        require_type(values, (dict,), name)
        scalars = {key: value for key, value in values.items() if key not in ("stages", "kernels")}
        found = read_record(cls, scalars, name)
        if not 0 <= found.busy_ns <= found.window_ns:
            raise TelemetryFormatError(
                f"{name} has busy_ns = {found.busy_ns:,}, which is not within its window of {found.window_ns:,} ns"
            )
        return replace(
            found,
            stages=_read_all(StageActivity, values.get("stages", []), f"{name}.stages"),
            kernels=_read_all(KernelTotal, values.get("kernels", []), f"{name}.kernels"),
        )


KNOWN_KEYS: Final[Known] = {
    **known_fields(KernelActivity),
    "stages": known_fields(StageActivity),
    "kernels": known_fields(KernelTotal),
}
"""Keys of ``kernels`` in a saved run that this version knows."""


def _read_all(kind: type[Record], entries: Any, name: str) -> tuple[Record, ...]:
    require_type(entries, (list,), name)
    return tuple(read_record(kind, entry, f"{name}[{number}]") for number, entry in enumerate(entries))
