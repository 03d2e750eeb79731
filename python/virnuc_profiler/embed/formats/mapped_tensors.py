# SPDX-License-Identifier: MIT
"""The tensors of a safetensors file as views of the mapped file.

The library's own reader for NumPy copies what it reads. The tensors are found by the file's header: its length in eight
bytes, its JSON text, and then the tensors at the offsets that it names.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_DTYPES: Final = {"F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "BOOL": "?", "U8": "u1"}


class MappedTensors:
    """A safetensors file.

    Args:
        path: The file.
        names: Tensors that it must have.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a safetensors file with these tensors.
    """

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self._data = np.memmap(path, dtype=np.uint8, mode="r")
        size = int.from_bytes(self._data[:8].tobytes(), "little")
        if not 0 < size <= len(self._data) - 8:
            raise ValueError("it is not a safetensors file")
        self._header: dict[str, Any] = json.loads(self._data[8 : 8 + size].tobytes())
        self._start = 8 + size
        if missing := set(names) - self._header.keys():
            raise ValueError(f"it has no tensor {min(missing)!r}")

    def start_of(self, name: str) -> int:
        """Return the byte of the file at which a tensor begins."""
        start: int = self._header[name]["data_offsets"][0]
        return self._start + start

    def __getitem__(self, name: str) -> NDArray[Any]:
        entry = self._header[name]
        start, end = entry["data_offsets"]
        raw = np.asarray(self._data[self._start + start : self._start + end])
        tensor: NDArray[Any] = raw.view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
        return tensor
