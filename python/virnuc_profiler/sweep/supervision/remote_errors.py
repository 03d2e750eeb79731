# SPDX-License-Identifier: MIT
"""Errors on their way from the model process to the supervisor: they keep their kind, as far as it has one here."""

from __future__ import annotations

import traceback
from typing import Any, Final

from virnuc_profiler import errors
from virnuc_profiler.sweep.supervision.protocol import MAX_TEXT, Message

_KNOWN: Final = {
    kind.__name__: kind
    for kind in (
        errors.VirnucError,
        errors.LibraryUnavailable,
        errors.UsageError,
        errors.OutputError,
        errors.WorkloadError,
        errors.ModelError,
        errors.PrecisionError,
        errors.WorkerCrash,
        errors.DeadlineExceeded,
        errors.TelemetryFormatError,
        ValueError,
        TypeError,
        MemoryError,
        OSError,
        RuntimeError,
    )
}


def describe_error(error: BaseException) -> dict[str, Any]:
    """As a ``failed`` message holds it: the first of its classes that the supervisor knows."""
    kind = next((base.__name__ for base in type(error).__mro__ if base.__name__ in _KNOWN), "RuntimeError")
    text = str(error) or type(error).__name__
    if kind != type(error).__name__:
        text = f"{type(error).__name__}: {text}"
    trace = "".join(traceback.format_exception(error))
    return {"error": kind, "message": text[:MAX_TEXT], "trace": trace[-MAX_TEXT:]}


def error_from(message: Message) -> Exception:
    """The error that a ``failed`` message describes; one of an unknown kind is a RuntimeError."""
    kind = _KNOWN.get(str(message.get("error")), RuntimeError)
    return kind(str(message.get("message")))
