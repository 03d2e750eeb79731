# SPDX-License-Identifier: MIT
"""Names in an export of Nsight Systems: each text once, whether rows contain it or refer to the table of strings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from virnuc_profiler.analysis.nsys.gpu_capture import Codes
from virnuc_profiler.telemetry.stage_columns import NOT_MEASURED, Column

NO_NAME = -1
"""Code of a text that is missing or empty."""


class Names:
    """Texts with their codes, which are their positions in `texts`."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._ids: Column = np.empty(0, np.int64)
        self._registered: Codes = np.empty(0, np.int32)

    @property
    def texts(self) -> Sequence[str]:
        """The texts by code."""
        return tuple(self._codes)

    def code(self, text: str) -> int:
        """Return the code of a text, which is added if it is new.

        Args:
            text: Any text.
        """
        return self._codes.setdefault(text, len(self._codes))

    def codes(self, texts: Sequence[str | None]) -> Codes:
        """Return the codes of texts, ``NO_NAME`` where there is none.

        Args:
            texts: Texts; None or empty where a row has none.
        """
        known = self._codes
        return np.fromiter((known.setdefault(t, len(known)) if t else NO_NAME for t in texts), np.int32, len(texts))

    def expect(self, ids: Iterable[Column]) -> None:
        """Say which strings of the table are needed. The others are not kept.

        Args:
            ids: Columns of ids, with ``NOT_MEASURED`` where a row has none.
        """
        needed = np.unique(np.concatenate([np.empty(0, np.int64), *map(np.unique, ids)]))
        self._ids = needed[needed != NOT_MEASURED]
        self._registered = np.full(len(self._ids), NO_NAME, np.int32)

    def register(self, ids: Column, texts: Sequence[str | None]) -> None:
        """Add rows of the table of strings.

        Args:
            ids: Ids of the strings.
            texts: The strings.
        """
        at = np.searchsorted(self._ids, ids)
        found = np.flatnonzero(self._ids[np.minimum(at, len(self._ids) - 1)] == ids) if len(self._ids) else at[:0]
        self._registered[at[found]] = self.codes([texts[row] for row in found.tolist()])

    def registered(self, ids: Column) -> Codes:
        """Return the codes of expected strings, ``NO_NAME`` for ids without a string.

        Args:
            ids: Ids of strings, or ``NOT_MEASURED``.
        """
        if not len(self._ids):
            return np.full(len(ids), NO_NAME, np.int32)
        at = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        return np.where(self._ids[at] == ids, self._registered[at], np.int32(NO_NAME))
