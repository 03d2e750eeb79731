# SPDX-License-Identifier: MIT
"""What the fixture gives to a test: ways to profile a function, a loop, or what another benchmark fixture calls."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, ParamSpec, TypeVar

from virnuc_profiler.capture.hardware import capture_hardware_info
from virnuc_profiler.capture.profiler import BatchProfiler
from virnuc_profiler.errors import UsageError
from virnuc_profiler.inference.packing.pack_statistics import PackStatistics, padded_statistics
from virnuc_profiler.telemetry.run_result import RunResult

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

MAX_ROUNDS: Final = 100_000
"""Most rounds of a test that are recorded. A file of these has about 12 MB."""

_MIN_ROUNDS: Final = 60
"""Fewer rounds, with their warm-up, give no interval to compare; see `rate_interval`."""

_STAGE: Final = "round"
_hardware = functools.cache(capture_hardware_info)


class RoundProfiler(BatchProfiler):
    """A profiler of rounds: until a batch gets packing statistics, it counts as one sequence of one token.

    The rate in tokens/s is then one in rounds/s, so the rules of ``compare`` apply to it.
    """

    _one = padded_statistics([1])

    @property
    def is_running(self) -> bool:
        """Whether a run is in progress."""
        return self._timeline is not None

    def begin_batch(self, index: int | None = None) -> Any:
        """Begin a batch that counts as one round."""
        batch = super().begin_batch(index)
        batch.set_packing(self._one)
        return batch


class ProfiledTest:
    """Profiles one test. It stores one run, so a test uses one of the ways, once.

    Args:
        test: Id of the test.
    """

    def __init__(self, test: str) -> None:
        self._test = test
        self._profiler: RoundProfiler | None = None

    def __call__(
        self, function: Callable[Parameters, Returned], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Returned:
        """Profile calls of a function for about a second, at least 60 of them, and return what the last one returned.

        Args:
            function: Function to call.
            args: Its arguments.
            kwargs: Its keyword arguments.
        """
        return self.repeat(functools.partial(function, *args, **kwargs))

    def repeat(
        self,
        function: Callable[[], Returned],
        *,
        rounds: int | None = None,
        seconds: float = 1.0,
        warmup: int = 3,
        lengths: Sequence[int] | None = None,
    ) -> Returned:
        """Profile calls of a function, and return what the last one returned.

        Args:
            function: Function to call, without arguments.
            rounds: Number of calls; None for as many as fit into `seconds`, but at least 60.
            seconds: Time to call it for if `rounds` is None.
            warmup: Number of calls before the profile.
            lengths: Lengths in tokens of the sequences that each call processes, for rates in tokens and sequences;
                None for rates in rounds.
        """
        if rounds is not None and not 0 < rounds <= MAX_ROUNDS:
            raise ValueError(f"rounds is {rounds:,}; it must be from 1 to {MAX_ROUNDS:,}")
        for _ in range(warmup):
            function()
        calls = self.wrap(function, lengths=lengths)
        until = time.perf_counter() + seconds
        done = 0
        while done < (rounds or MAX_ROUNDS):
            returned = calls()
            done += 1
            if rounds is None and done >= _MIN_ROUNDS and time.perf_counter() >= until:
                break
        self.close()
        return returned

    def wrap(
        self, function: Callable[Parameters, Returned], *, lengths: Sequence[int] | None = None
    ) -> Callable[Parameters, Returned]:
        """Start the profile, and return a function whose calls are its rounds, such as for pytest-benchmark.

        The profile ends with the test. Each of the first 100,000 calls costs some microseconds more than the function.

        Args:
            function: Function to call.
            lengths: Lengths in tokens of the sequences that each call processes; None for rates in rounds.
        """
        profiler = self._start(stages=(_STAGE,))
        packing: PackStatistics | None = None if lengths is None else padded_statistics(lengths)
        left = MAX_ROUNDS

        @functools.wraps(function)
        def profiled(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
            nonlocal left
            if left <= 0 or profiler.has_result:
                return function(*args, **kwargs)
            left -= 1
            with profiler.begin_batch() as batch:
                if packing is not None:
                    batch.set_packing(packing)
                batch.mark(_STAGE)
                return function(*args, **kwargs)

        return profiled

    def loop(self, **options: Any) -> BatchProfiler:
        """Return a profiler for a loop over batches, to be used in a ``with`` statement.

        Batches without packing statistics count as rounds.

        Args:
            options: Arguments of ``BatchProfiler``.
        """
        return self._new(**options)

    @property
    def result(self) -> RunResult:
        """The run, once it has ended.

        Raises:
            RuntimeError: There is no run, or it has not ended.
        """
        if self._profiler is None:
            raise RuntimeError("this test has profiled nothing: call virnuc_profiler(function, ...)")
        return self._profiler.result

    def close(self) -> RunResult | None:
        """End the run if it has not ended, and return it; None if there is none."""
        if self._profiler is None:
            return None
        if self._profiler.is_running:
            self._profiler.stop()
        return self._profiler.result if self._profiler.has_result else None

    def _start(self, **options: Any) -> RoundProfiler:
        profiler = self._new(**options)
        profiler.start()
        return profiler

    def _new(self, *, metadata: Mapping[str, Any] | None = None, **options: Any) -> RoundProfiler:
        if self._profiler is not None:
            raise UsageError(f"{self._test} is profiled twice; a test stores one run, so write another test")
        about = {"hardware": _hardware(), "target": {"name": "pytest", "test": self._test}}
        self._profiler = RoundProfiler(metadata={**about, **(metadata or {})}, **options)
        return self._profiler
