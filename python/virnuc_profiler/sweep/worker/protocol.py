# SPDX-License-Identifier: MIT
"""What supervisor and model process say to each other: one JSON object a line. Nothing is unpickled."""

from __future__ import annotations

import json
import traceback
from typing import Any, Final

from virnuc_profiler import errors
from virnuc_profiler.errors import VirnucError

VERSION: Final = 2
"""Of the protocol; both sides must have the same. It rises whenever a field changes its meaning."""

MAX_LINE_BYTES: Final = 1 << 20
"""The longest line: a hundred times the largest honest one, a machine's description, and too little to hurt."""

MAX_TEXT: Final = 4096
"""Characters of a log message or an error that are passed on."""

REQUESTS: Final = frozenset({"resolve_device", "load", "warm_up", "trial", "predict", "stop"})
MESSAGES: Final = frozenset(
    {"hello", "device", "loaded", "warmed_up", "progress", "result", "predicted", "log", "failed", "interrupted"}
)

Message = dict[str, Any]


class ProtocolError(VirnucError):
    """A line is not one of this protocol."""


def encode(kind: str, **fields: Any) -> bytes:
    """One line.

    Raises:
        ProtocolError: it would be longer than the other side reads.
        TypeError: a field is not plain JSON.
    """
    line = json.dumps({"version": VERSION, "kind": kind, **fields}).encode() + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError(f"a {kind!r} message has {len(line):,} bytes; at most {MAX_LINE_BYTES:,} are passed on")
    return line


class LineReader:
    """Puts lines together from the pieces in which a pipe delivers them.

    Args:
        kinds: that may come.
    """

    def __init__(self, kinds: frozenset[str]) -> None:
        self._kinds = kinds
        self._rest = b""

    def feed(self, piece: bytes) -> list[Message]:
        """The messages that `piece` completes.

        Raises:
            ProtocolError: too long a line, no JSON object, another version, or a kind that may not come.
        """
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            raise ProtocolError(f"a message has more than {MAX_LINE_BYTES:,} bytes")
        return [self._decode(line) for line in lines]

    def _decode(self, line: bytes) -> Message:
        try:
            message = json.loads(line) if len(line) <= MAX_LINE_BYTES else None
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise ProtocolError(f"not a message: {line[:80]!r}")
        if message.get("version") != VERSION:
            raise ProtocolError(f"a message of protocol version {message.get('version')!r}; this side has {VERSION}")
        if message.get("kind") not in self._kinds:
            raise ProtocolError(f"a message of the unknown kind {message.get('kind')!r}")
        return message


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
