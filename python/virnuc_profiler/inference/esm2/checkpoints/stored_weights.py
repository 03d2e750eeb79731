# SPDX-License-Identifier: MIT
"""Weights in a file, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from virnuc_profiler.errors import ModelError
from virnuc_profiler.inference.esm2.checkpoints.weight_names import EMBEDDING, TIED_EMBEDDING
from virnuc_profiler.inference.esm2.config import Architecture

_DTYPES: Final = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """The weights of an ESM-2 model in a file.

    Attributes:
        origin: Description of the file, for messages.
        architecture: Shape of the encoder that the file declares.
        state: Tensors by fair-esm's names. Looking one up maps it from the file; nothing is kept.
        name_in_file: Function that returns the name in the file of a tensor with a name in fair-esm, for messages.
    """

    origin: str
    architecture: Architecture
    state: Mapping[str, Tensor]
    name_in_file: Callable[[str], str] = str

    def require(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return a tensor, which must have this shape and a floating-point type.

        Args:
            name: Name of the tensor in fair-esm.
            shape: Shape that it must have.

        Raises:
            ModelError: There is no such tensor, or it has another shape or an integer or quantized type.
        """
        if name == EMBEDDING and name not in self.state and TIED_EMBEDDING in self.state:
            name = TIED_EMBEDDING
        key = self.name_in_file(name)
        if name not in self.state:
            raise ModelError(f"{self.origin} has no tensor {key}: it is not a complete ESM-2 model; get it again")
        found = self.state[name]
        if not isinstance(found, Tensor):
            raise ModelError(f"{self.origin} has {key}, which is no tensor but {type(found).__name__}")
        if found.shape != shape:
            raise ModelError(
                f"{self.origin} has {key} of shape {tuple(found.shape)} instead of {shape}: it does not belong to a "
                f"model of {self.architecture}"
            )
        if found.dtype not in _DTYPES:
            raise ModelError(
                f"{self.origin} has {key} in {str(found.dtype).removeprefix('torch.')}: quantized weights are not "
                "supported; use the weights in fp32, bf16 or fp16"
            )
        return found
