# SPDX-License-Identifier: MIT
"""The protocol between supervisor and model process: one JSON object per line. Nothing is unpickled."""

from __future__ import annotations

import json
import traceback
from typing import Any, Final

from virnuc_profiler import errors
from virnuc_profiler.errors import VirnucError

VERSION: Final = 3
"""Protocol version, which both sides must share. Raise it when a field changes its meaning."""

MAX_LINE_BYTES: Final = 1 << 20
"""Longest line in bytes, a hundred times the longest regular one (the description of a machine)."""

MAX_TEXT: Final = 4096
"""Longest text of a log message or an error, in characters."""

REQUESTS: Final = frozenset({"resolve_device", "target", "load", "warm_up", "trial", "predict", "stop"})
MESSAGES: Final = frozenset(
    {
        "hello",
        "device",
        "knobs",
        "loaded",
        "warmed_up",
        "progress",
        "result",
        "predicted",
        "log",
        "failed",
        "interrupted",
    }
)

Message = dict[str, Any]


class ProtocolError(VirnucError):
    """A line does not follow this protocol."""


def encode(kind: str, **fields: Any) -> bytes:
    """Encode a message as one line.

    Args:
        kind: Kind of the message.
        fields: JSON-serializable fields of the message.

    Raises:
        ProtocolError: The line would exceed MAX_LINE_BYTES.
        TypeError: A field is not JSON-serializable.
    """
    line = json.dumps({"version": VERSION, "kind": kind, **fields}).encode() + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError(f"a {kind!r} message has {len(line):,} bytes, more than the limit of {MAX_LINE_BYTES:,}")
    return line


class LineReader:
    """Assembles messages from the pieces that a pipe delivers.

    Args:
        kinds: Kinds of messages to accept.
    """

    def __init__(self, kinds: frozenset[str]) -> None:
        self._kinds = kinds
        self._rest = b""

    def feed(self, piece: bytes) -> list[Message]:
        """Add a piece, and return the messages that it completes.

        Raises:
            ProtocolError: A line is too long, is no JSON object, or has another version or an unexpected kind.
        """
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            raise ProtocolError(f"a message of more than {MAX_LINE_BYTES:,} bytes")
        return [self._decode(line) for line in lines]

    def _decode(self, line: bytes) -> Message:
        try:
            message = json.loads(line) if len(line) <= MAX_LINE_BYTES else None
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise ProtocolError(f"a line that is no message: {line[:80]!r}")
        if message.get("version") != VERSION:
            raise ProtocolError(f"a message of protocol version {message.get('version')!r}; this side has {VERSION}")
        if message.get("kind") not in self._kinds:
            raise ProtocolError(f"a message of the unexpected kind {message.get('kind')!r}")
        return message


_ERRORS_BY_NAME: Final = {
    error_class.__name__: error_class
    for error_class in (
        errors.VirnucError,
        errors.LibraryUnavailable,
        errors.EnvironmentFailure,
        errors.UsageError,
        errors.OutputError,
        errors.WorkloadError,
        errors.ModelError,
        errors.TargetError,
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
    """Return the fields of a ``failed`` message. The class is the first base class that the supervisor knows."""
    name = next((base.__name__ for base in type(error).__mro__ if base.__name__ in _ERRORS_BY_NAME), "RuntimeError")
    text = str(error) or type(error).__name__
    if name != type(error).__name__:
        text = f"{type(error).__name__}: {text}"
    trace = "".join(traceback.format_exception(error))
    return {"error": name, "message": text[:MAX_TEXT], "trace": trace[-MAX_TEXT:]}


def error_from_message(message: Message) -> Exception:
    """Rebuild the error that a ``failed`` message describes, or a RuntimeError if its class is unknown."""
    error_class = _ERRORS_BY_NAME.get(str(message.get("error")), RuntimeError)
    return error_class(str(message.get("message")))
