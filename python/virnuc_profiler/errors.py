# SPDX-License-Identifier: MIT
"""Every error that this package raises on purpose, apart from ``ValueError`` and ``TypeError`` for misuse.

Messages name the thing, the value and the way out. The compiled core raises the first three itself.
"""

from collections.abc import Sequence


class VirnucError(Exception):
    """Base of all errors of this package."""


class CudaError(VirnucError):
    """A CUDA driver call failed.

    Attributes:
        code: the driver's ``CUresult``.
        call: name of the call that returned it.
    """

    def __init__(self, message: str, code: int, call: str) -> None:
        super().__init__(message)
        self.code = code
        self.call = call


class LibraryUnavailable(VirnucError):
    """A library that the request needs (CUDA driver, NVML) could not be used; the message says why."""


class UsageError(VirnucError):
    """The request itself is wrong: an option, a value or a combination of them."""


class OutputError(VirnucError):
    """A result could not be written."""


class WorkloadError(VirnucError):
    """The sequences to be processed cannot be read: the message names file and line."""


class ModelError(VirnucError):
    """A model or its weights cannot be had."""


class PrecisionError(VirnucError):
    """A faster precision gives results that are too far from those of a slower one."""


class WorkerCrash(VirnucError):
    """A DataLoader worker raised or died; the message carries what is known of it.

    Attributes:
        worker: number of the worker that died, from 0; None if it raised, or if it is not known which.
        pid: its process id, alike.
        exit_code: what it ended with, alike; below 0: the signal that killed it.
        exception: class of the exception that a worker raised; None if none did.
    """

    def __init__(
        self,
        message: str,
        *,
        worker: int | None = None,
        pid: int | None = None,
        exit_code: int | None = None,
        exception: str | None = None,
    ) -> None:
        super().__init__(message)
        self.worker = worker
        self.pid = pid
        self.exit_code = exit_code
        self.exception = exception


class NonFiniteError(VirnucError):
    """Embeddings hold NaN or infinity.

    Attributes:
        sequence_ids: identifiers of all sequences of the batch that this is true of; the message names the first ones.
    """

    def __init__(self, message: str, sequence_ids: Sequence[str]) -> None:
        super().__init__(message)
        self.sequence_ids = sequence_ids


class DeadlineExceeded(VirnucError):
    """A run took longer than it was allowed to."""


class TelemetryFormatError(VirnucError):
    """A telemetry or result file does not have the documented form."""
