# SPDX-License-Identifier: MIT
"""Captures made by hand: a run with device times, and the trace that Kineto would have written beside it.

The form of the trace is that of PyTorch 2.6 to 2.13: times in µs relative to ``baseTimeNanoseconds``, correlation ids
in ``args``, runtime calls under ``cuda_runtime``, and of the driver's calls only launches of kernels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tests.support.run_records import MS, batch, packing, run_of, stage
from virnuc_profiler.telemetry.parts.kernel_records import ClockAnchor
from virnuc_profiler.telemetry.records import DeviceCapture

GPU = DeviceCapture("GPU made by hand", uuid="GPU-0", timed=True, alignment_uncertainty_ns=0, alignment_residual_ns=0)
BASE_NS = 1_790_857_026_000_000_000
OFFSET_NS = 1_795_000_000_000_000_000
"""Trace's clock (time of day) minus monotonic clock."""


@dataclass
class TraceBuilder:
    """Collects the events of a trace; all times are ns on the monotonic clock.

    Attributes:
        offset_ns: Trace's clock minus monotonic clock.
        drift: How much faster the trace's clock runs.
    """

    offset_ns: int = OFFSET_NS
    drift: float = 0.0
    events: list[dict[str, Any]] = field(default_factory=list)
    anchors: list[ClockAnchor] = field(default_factory=list)
    correlation: int = 100

    def call(self, start_ns: int, name: str = "cudaLaunchKernel", *, took_ns: int = 4000, driver: bool = False) -> int:
        """Add a call and return its correlation id."""
        self.correlation += 1
        self._event("cuda_driver" if driver else "cuda_runtime", name, start_ns, start_ns + took_ns, {"cbid": 211})
        return self.correlation

    def hidden_call(self) -> int:
        """Return the correlation id of a call that Kineto leaves out, such as ``cuMemcpyAsync``."""
        self.correlation += 1
        return self.correlation

    def operation(
        self,
        correlation: int,
        start_ns: int,
        end_ns: int,
        name: str = "gemm",
        category: str = "kernel",
        device: int = 0,
    ) -> None:
        """Add a kernel or copy."""
        arguments = {"device": device, "context": 1, "stream": 7}
        self._event(category, name, start_ns, end_ns, arguments, correlation, pid=device)

    def anchor(self, before_ns: int, bracket_ns: int = 6000, call_ns: int = 3000) -> None:
        """Add a synchronization in the middle of its two readings of the clock."""
        begin = before_ns + (bracket_ns - call_ns) // 2
        self.call(begin, "cudaDeviceSynchronize", took_ns=call_ns)
        after_ns = before_ns + bracket_ns
        self.anchors.append(ClockAnchor(before_ns, after_ns, after_ns + self.offset_ns + 500))

    def document(self) -> dict[str, Any]:
        """Return the trace, with the other events that Kineto writes."""
        other = [
            {"ph": "M", "name": "process_name", "ts": 0.0, "pid": 0, "tid": 0, "args": {"name": "python"}},
            {"ph": "s", "id": 101, "pid": 1, "tid": 1, "ts": 1.0, "cat": "ac2g", "name": "ac2g"},
            {"ph": "X", "cat": "Trace", "name": "PyTorch Profiler (0)", "pid": "Spans", "tid": "PyTorch Profiler",
             "ts": 0.0, "dur": 1.0, "args": {"Op count": 0}},
            {"ph": "i", "s": "g", "name": "Record Window End", "pid": "", "tid": "", "ts": 5.0},
        ]  # fmt: skip
        return {"schemaVersion": 1, "deviceProperties": [], "displayTimeUnit": "ms", "baseTimeNanoseconds": BASE_NS,
                "traceEvents": [*other, *self.events], "traceName": "trace.json"}  # fmt: skip

    def _event(
        self,
        category: str,
        name: str,
        start_ns: int,
        end_ns: int,
        arguments: dict[str, Any],
        correlation: int | None = None,
        pid: int = 4711,
    ) -> None:
        start, end = self.ticks(start_ns), self.ticks(end_ns)
        numbered = {**arguments, "correlation": self.correlation if correlation is None else correlation}
        self.events.append({"ph": "X", "cat": category, "name": name, "pid": pid, "tid": 7, "ts": start / 1000,
                            "dur": (end - start) / 1000, "args": numbered})  # fmt: skip

    def ticks(self, time_ns: int) -> int:
        """Return a time on the trace's clock, relative to its base."""
        return round(time_ns * (1 + self.drift)) + self.offset_ns - BASE_NS


@dataclass(frozen=True)
class MadeCapture:
    """A run under CUPTI, its trace, and what is true of it.

    Attributes:
        run: The run.
        document: The trace.
        anchors: Comparisons of the clocks.
        started_ns: Time from which on everything was recorded.
        kernel_ms: Time of the kernels of one batch.
        batch_ms: Time from one completion to the next.
    """

    run: Any
    document: dict[str, Any]
    anchors: list[ClockAnchor]
    started_ns: int
    kernel_ms: float
    batch_ms: float


def launch_bound_capture(
    batches: int = 30,
    kernels: int = 10,
    kernel_ms: float = 0.4,
    gap_ms: float = 0.6,
    between_ms: float = 2.0,
    skip: int = 3,
) -> MadeCapture:
    """Make a loop whose device waits for each launch: kernels of `kernel_ms`, gaps of `gap_ms`, one stage a batch.

    Copies in are queued through the driver, so that they have no call. The first kernels of a batch begin right behind
    its copy, and `between_ms` pass between two batches. The first `skip` batches are not in the trace.
    """
    builder = TraceBuilder()
    copy_ms, records, at = 0.1, [], 1000.0
    stage_ms = kernels * (kernel_ms + gap_ms)
    started_ns = 0
    for number in range(batches):
        if number == skip:
            started_ns = int(at * MS)
            for _ in range(3):
                builder.anchor(int(at * MS))
                at += 0.01
        traced = number >= skip
        begin = at + copy_ms
        end = begin + stage_ms
        records.append(
            batch(
                number,
                at,
                end + between_ms / 2,
                [
                    stage("h2d", at, begin - 0.05, device=(at, begin)),
                    stage("forward", begin - 0.04, end, device=(begin, end)),
                    stage("emit", end, end + between_ms / 2),
                ],
                packing([100] * 10, 1024),
            )
        )
        if traced:
            builder.operation(builder.hidden_call(), int((at + 0.02) * MS), int((begin - 0.01) * MS),
                              "Memcpy HtoD (Pinned -> Device)", "gpu_memcpy")  # fmt: skip
            for kernel in range(kernels):
                start = begin + kernel * (kernel_ms + gap_ms) + gap_ms
                launched = builder.call(int((start - 0.03) * MS), driver=kernel % 2 == 1)
                name = "gemm" if kernel % 2 == 0 else "layer_norm"
                builder.operation(launched, int(start * MS), int((start + kernel_ms) * MS), name)
        at = end + between_ms
    for _ in range(3):
        builder.anchor(int(at * MS))
        at += 0.01
    run = run_of(records, at, device=GPU, start_ms=900)
    return MadeCapture(
        run, builder.document(), builder.anchors, started_ns, kernels * kernel_ms, copy_ms + stage_ms + between_ms
    )


def faster(run: Any, factor: float) -> Any:
    """Return the same run with all times divided by a factor, as it would be without a capture."""
    start = run.host_start_ns

    def moved(time: int | None) -> int | None:
        return None if time is None else start + round((time - start) / factor)

    records = [
        replace(
            one,
            host_start_ns=moved(one.host_start_ns),
            host_end_ns=moved(one.host_end_ns),
            stages=tuple(
                replace(
                    part,
                    host_start_ns=moved(part.host_start_ns),
                    host_end_ns=moved(part.host_end_ns),
                    device_start_ns=moved(part.device_start_ns),
                    device_end_ns=moved(part.device_end_ns),
                )
                for part in one.stages
            ),
        )
        for one in run.batches
    ]
    return run_of(records, moved(run.host_end_ns) / MS, device=GPU, start_ms=start / MS)
