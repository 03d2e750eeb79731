# SPDX-License-Identifier: MIT
"""Errors that this package raises on purpose. Misuse raises ``ValueError``, ``TypeError`` or ``RuntimeError`` instead.

Each message names the thing, the value and the way out. The compiled core itself raises the first three classes.
"""

from collections.abc import Sequence


class VirnucError(Exception):
    """Base of all errors of this package."""


class CudaError(VirnucError):
    """A CUDA driver call failed.

    Attributes:
        code: The driver's ``CUresult``.
        call: Name of the driver function that returned the code.
    """

    def __init__(self, message: str, code: int, call: str) -> None:
        super().__init__(message)
        self.code = code
        self.call = call


class LibraryUnavailable(VirnucError):
    """A required library, such as the CUDA driver or NVML, cannot be used. The message gives the reason."""


class UsageError(VirnucError):
    """The request is invalid: an option, a value, or a combination of options."""


class EnvironmentFailure(VirnucError):
    """The machine lacks what any run needs: processes, open files, shared memory, or space for temporary files."""


class OutputError(VirnucError):
    """A result could not be written."""


class WorkloadError(VirnucError):
    """The input sequences cannot be read. The message names the file and the line."""


class ModelError(VirnucError):
    """A model or its weights cannot be found, read or built."""


class TargetError(VirnucError):
    """A target did not do what its contract asks for. The message names the target and what it did."""


class PrecisionError(VirnucError):
    """The results of a lower precision differ too much from those of the reference precision."""


class WorkerCrash(VirnucError):
    """A DataLoader worker raised an exception or died.

    Attributes:
        worker: Number of the worker that died, from 0. None if a worker raised an exception, or if the number is
            unknown.
        pid: Process id of the worker that died. None if a worker raised an exception, or if the id is unknown.
        exit_code: Exit code of the worker that died; a negative value is the number of the signal that killed it.
            None if a worker raised an exception, or if the code is unknown.
        exception: Class name of the exception that a worker raised. None if the worker died without raising.
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
    """Embeddings contain NaN or infinity.

    Attributes:
        sequence_ids: Identifiers of all affected sequences in the batch. The message names the first ones.
    """

    def __init__(self, message: str, sequence_ids: Sequence[str]) -> None:
        super().__init__(message)
        self.sequence_ids = sequence_ids


class DeadlineExceeded(VirnucError):
    """A run exceeded its time limit."""


class TelemetryFormatError(VirnucError):
    """A telemetry or result file does not follow the documented format."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if it has none.

    The further lines of a CUDA error are advice for developers.
    """
    return str(error).strip().partition("\n")[0] or type(error).__name__


def folder_problem(error: OSError) -> str:
    """Return why a folder cannot be made or written, in words that follow its name and a colon.

    Args:
        error: Error of the operating system, whose own words say "File exists" of a file in the place of a folder.
    """
    if isinstance(error, FileExistsError):
        return "it is a file"
    if isinstance(error, NotADirectoryError):
        return "a part of its path is a file"
    return error.strerror or str(error)
