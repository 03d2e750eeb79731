# SPDX-License-Identifier: MIT
"""Recognize the format of weights by their path, open them, and fill a model with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from virnuc_profiler.inference.esm2.checkpoints.copy_weights import copy_weights
from virnuc_profiler.inference.esm2.checkpoints.fair_esm_checkpoint import read_fair_esm_checkpoint
from virnuc_profiler.inference.esm2.checkpoints.huggingface_weights import (
    INDEX_SUFFIX,
    SUFFIX,
    open_hugging_face_weights,
    refuse_pickled_weights,
)
from virnuc_profiler.inference.esm2.checkpoints.stored_weights import StoredWeights

if TYPE_CHECKING:
    from virnuc_profiler.inference.esm2.model import PackedESM2


def fill_from_file(model: PackedESM2, path: Path) -> None:
    """Fill a model in place from a file, tensor by tensor.

    Args:
        model: Model to fill.
        path: Path of a fair-esm checkpoint, of a Hugging Face folder, or of a safetensors file.

    Raises:
        ModelError: The weights cannot be read, or belong to another model.
        LibraryUnavailable: They are in safetensors, and that package is not installed.
    """
    copy_weights(model, open_weights(path))
    model.weights = str(path)


def open_weights(path: Path) -> StoredWeights:
    """Open weights in any supported format, memory-mapped.

    Args:
        path: Path of a fair-esm checkpoint, of a Hugging Face folder, or of a safetensors file or index.

    Raises:
        ModelError: The weights cannot be read, or are not those of an ESM-2 model.
        LibraryUnavailable: They are in safetensors, and that package is not installed.
    """
    if path.is_dir() or path.name.endswith((SUFFIX, INDEX_SUFFIX)):
        return open_hugging_face_weights(path)
    if path.suffix == ".bin":
        refuse_pickled_weights(path)
    return read_fair_esm_checkpoint(path)
