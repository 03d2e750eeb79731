# SPDX-License-Identifier: MIT
"""A run of any target as a source of batches."""

from __future__ import annotations

import logging
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from operator import index
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from virnuc_profiler.errors import DeadlineExceeded, TargetError, first_line
from virnuc_profiler.targets.batch_source import DoneBatch
from virnuc_profiler.targets.containment.guarded_call import guarded_call
from virnuc_profiler.targets.containment.noted_interrupts import noted_interrupts
from virnuc_profiler.targets.containment.process_state import ProcessState
from virnuc_profiler.targets.containment.worker_errors import as_worker_crash
from virnuc_profiler.telemetry.records import STAGES

if TYPE_CHECKING:
    from virnuc_profiler.capture.profiler import BatchProfiler
    from virnuc_profiler.targets.contract import Target
    from virnuc_profiler.targets.knobs.configuration import Configuration
    from virnuc_profiler.targets.target_workload import TargetWorkload

_END: Final = object()

_log = logging.getLogger(__name__)


class TargetSource:
    """A run of a target over a workload.

    What the target changes in its process is put back when the run ends, so that the next run begins like the first.

    Args:
        target: Target to run.
        name: Target as the user named it.
        workload: Sequences to run, all passes of them.
        configuration: Value of each knob.
    """

    def __init__(self, target: Target, name: str, workload: TargetWorkload, configuration: Configuration) -> None:
        self.stages: Sequence[str] = tuple(getattr(target, "stages", STAGES))
        self._target = target
        self._name = name
        self._workload = workload
        self._configuration = configuration
        self._changed: list[str] = []

    @property
    def num_workers(self) -> int:
        """Number of workers, if the target has a knob of that name; else 0."""
        workers = self._configuration.get("num_workers")
        return workers if isinstance(workers, int) else 0

    @property
    def passes(self) -> int:
        """Number of copies of the user's workload in the file."""
        return self._workload.passes

    def open(self) -> None:
        """No-op: a target makes what it needs when it runs."""

    def run(self, profiler: BatchProfiler, deadline_ns: int | None) -> Generator[DoneBatch, None, None]:
        """Run the target until it has no further batch.

        The time limit is looked at after each batch; between two of them, only a supervisor can end a run.

        Raises:
            TargetError: The target yielded something other than numbers of sequences, or more of them than went in, or
                called ``sys.exit()``.
            WorkerCrash: A worker of a plain loader or a process pool died or failed.
            KeyboardInterrupt: Ctrl-C, even if the target has caught it.
        """
        with noted_interrupts() as interrupted:
            try:
                yield from self._batches(profiler, deadline_ns)
            except Exception:
                if interrupted():
                    raise KeyboardInterrupt from None
                raise
            if interrupted():  # the target has ended by itself, but the user wants to end more than that
                raise KeyboardInterrupt

    def counts(self) -> Mapping[str, int | None]:
        """Return how many sequences are cut in the file of the target; nothing looks at their letters."""
        return {"truncated_sequences": self._workload.num_truncated, "unknown_residues": None}

    def findings(self) -> Mapping[str, Any]:
        """Return what the target had changed in its process; empty if nothing."""
        return {"put_back_after_run": self._changed} if self._changed else {}

    def worker_pids(self) -> Collection[int]:
        """Return none: only the operating system knows what processes a target starts."""
        return ()

    def close(self) -> None:
        """Drop the target; it lives on for the next run."""
        del self._target

    def _batches(self, profiler: BatchProfiler, deadline_ns: int | None) -> Iterator[DoneBatch]:
        started_ns = monotonic_ns()
        done, expected = 0, self._workload.num_sequences
        mean_tokens = self._workload.num_tokens / expected
        before = ProcessState.now()
        batches: Iterator[object] | None = None
        try:
            batches = self._started(profiler)
            while (sequences := self._next(batches)) is not None:
                done += sequences
                if done > expected:  # a program that goes over its input again and again would never end
                    raise TargetError(f"{self._name} delivered {done:,} sequences, but {expected:,} went in")
                yield DoneBatch(sequences, round(sequences * mean_tokens))
                if done < expected and deadline_ns is not None:
                    self._check_deadline(deadline_ns, started_ns, profiler.stopped_ns())
        finally:
            self._close(batches)
            self._changed = before.restore()
            if self._changed:
                _log.info("%s changed %s, which was put back", self._name, ", ".join(self._changed))

    def _check_deadline(self, deadline_ns: int, started_ns: int, stopped_ns: int) -> None:
        if monotonic_ns() - stopped_ns >= deadline_ns:
            raise DeadlineExceeded(
                f"{self._name} did not end within its limit of {(deadline_ns - started_ns) / 1e9:.1f} s: allow more "
                "time, or fewer sequences"
            )

    def _started(self, profiler: BatchProfiler) -> Iterator[object]:
        with guarded_call(self._name):
            batches: Any = self._target.run(self._workload, self._configuration, profiler)
        if not hasattr(batches, "__iter__"):
            raise TargetError(
                f"run() of {self._name} returned {batches!r:.80}; it must yield the number of sequences of each batch"
            )
        return iter(batches)

    def _next(self, batches: Iterator[object]) -> int | None:
        """Return the number of sequences of the next batch; None after the last one."""
        try:
            with guarded_call(self._name):
                yielded: Any = next(batches, _END)
        except Exception as error:
            if (crash := as_worker_crash(error)) is not None:
                raise crash from error
            raise
        if yielded is _END:
            return None
        try:
            sequences = -1 if isinstance(yielded, bool) else index(yielded)
        except TypeError:
            sequences = -1
        if sequences < 0:
            raise TargetError(
                f"{self._name} yielded {yielded!r:.80} after a batch; yield the number of its sequences, an integer"
            )
        return sequences

    def _close(self, batches: Iterator[object] | None) -> None:
        close = getattr(batches, "close", None)
        if close is None:
            return
        try:
            with guarded_call(self._name):
                close()
        except Exception as error:
            _log.warning("%s could not be ended: %s", self._name, first_line(error))
