# SPDX-License-Identifier: MIT
"""The six ESM-2 architectures, by the names that fair-esm gives their checkpoints. Imports no torch."""

from dataclasses import dataclass
from typing import Final

from virnuc_profiler.errors import UsageError

ALPHABET_SIZE: Final = 33
"""Tokens in fair-esm's ESM-1b alphabet, which all ESM-2 models use."""

PADDING_TOKEN: Final = 1
MASK_TOKEN: Final = 32


@dataclass(frozen=True, slots=True)
class Architecture:
    """The shape of an ESM-2 encoder. The feed-forward part is 4 x `embed_dim` wide.

    Attributes:
        num_layers: transformer layers.
        embed_dim: width of the residual stream.
        attention_heads: heads of each layer; they divide `embed_dim`.
    """

    num_layers: int
    embed_dim: int
    attention_heads: int

    def __post_init__(self) -> None:
        if self.embed_dim % (2 * self.attention_heads):
            raise ValueError(
                f"{self.attention_heads} attention heads do not divide embed_dim {self.embed_dim} into heads of "
                "even width, which rotary embeddings need"
            )

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.embed_dim // self.attention_heads

    def __str__(self) -> str:
        return f"{self.num_layers} layers of width {self.embed_dim} with {self.attention_heads} heads"


ARCHITECTURES: Final = {
    "esm2_t6_8M_UR50D": Architecture(6, 320, 20),
    "esm2_t12_35M_UR50D": Architecture(12, 480, 20),
    "esm2_t30_150M_UR50D": Architecture(30, 640, 20),
    "esm2_t33_650M_UR50D": Architecture(33, 1280, 20),
    "esm2_t36_3B_UR50D": Architecture(36, 2560, 40),
    "esm2_t48_15B_UR50D": Architecture(48, 5120, 40),
}

MODEL_NAMES: Final = tuple(ARCHITECTURES)

_SHORT_NAMES: Final = {name.split("_")[2].lower(): name for name in MODEL_NAMES}


def resolve_model_name(name: str) -> str:
    """Returns the full name of a model: ``3B`` and ``esm2_t36_3B_UR50D`` both name the same.

    Raises:
        UsageError: no such model; the message lists those there are.
    """
    if name in ARCHITECTURES:
        return name
    full_name = _SHORT_NAMES.get(name.lower())
    if full_name is None:
        raise UsageError(
            f"unknown model {name!r}: choose one of {', '.join(MODEL_NAMES)}, "
            f"or for short {', '.join(known.split('_')[2] for known in MODEL_NAMES)}"
        )
    return full_name
