# SPDX-License-Identifier: MIT
"""Which ESM-2 model an adapter builds, in which precision, and with which weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from virnuc_profiler.errors import UsageError
from virnuc_profiler.inference.esm2.config import ARCHITECTURES, Architecture, resolve_model_name

if TYPE_CHECKING:
    import torch

TINY: Final = "tiny"
"""A model for trying things out, with random weights: two layers of hidden size 32."""


@dataclass(frozen=True, slots=True)
class ModelSize:
    """A model that can be built without its weights.

    Attributes:
        name: Full name, such as ``esm2_t33_650M_UR50D``, or ``tiny``.
        architecture: Its layers.
    """

    name: str
    architecture: Architecture

    @property
    def description(self) -> dict[str, str | int]:
        """Name and shape, as a target describes its model."""
        shape = self.architecture
        return {"model_name": self.name, "num_layers": shape.num_layers, "hidden_size": shape.hidden_size}

    def with_layers(self, num_layers: int) -> ModelSize:
        """Return this model with another number of layers."""
        return ModelSize(self.name, replace(self.architecture, num_layers=num_layers))


def resolve_size(model: str | None, default: str = "650M") -> ModelSize:
    """Return the model that a user named.

    Args:
        model: Full or short name of an ESM-2 model, or ``tiny``; None for the default.
        default: Short name of the target's default model.

    Raises:
        UsageError: There is no such model.
    """
    if model == TINY:
        return ModelSize(TINY, Architecture(num_layers=2, hidden_size=32, attention_heads=2))
    name = resolve_model_name(model or default)
    return ModelSize(name, ARCHITECTURES[name])


def check_precision(target: str, precision: str | None, default: str, *others: str) -> str:
    """Return the precision to run in.

    Args:
        target: Name of the target, for the message.
        precision: Precision that the user asked for; None for the default.
        default: Precision that the program has if nobody asks.
        *others: Other precisions that it can have.

    Raises:
        UsageError: The program cannot run in this precision.
    """
    if precision in (None, default, *others):
        return precision or default
    raise UsageError(f"--target {target} cannot run in {precision!r}: choose {' or '.join((default, *others))}")


def torch_dtype(precision: str) -> torch.dtype:
    """Return PyTorch's data type of a precision."""
    import torch

    dtypes: Mapping[str, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    return dtypes[precision]


@contextmanager
def random_weights_on(device: str, seed: int = 0) -> Iterator[None]:
    """Create tensors on a device and draw the same random weights each time; the global random state stays as it is.

    Args:
        device: Device that the weights are created on, which saves a copy in host memory.
        seed: Random seed.
    """
    import torch

    devices = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.device(device):
        torch.manual_seed(seed)
        yield
