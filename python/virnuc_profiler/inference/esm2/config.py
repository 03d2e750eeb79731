# SPDX-License-Identifier: MIT
"""The six ESM-2 architectures, under fair-esm's checkpoint names. Imports no torch."""

from dataclasses import dataclass
from typing import Final

from virnuc_profiler.errors import UsageError

ALPHABET_SIZE: Final = 33
"""Number of tokens in fair-esm's ESM-1b alphabet, which all ESM-2 models use."""

PADDING_TOKEN: Final = 1
MASK_TOKEN: Final = 32


@dataclass(frozen=True, slots=True)
class Architecture:
    """The shape of an ESM-2 encoder, whose feed-forward layers have 4 `hidden_size` inner activations.

    Attributes:
        num_layers: Number of transformer layers.
        hidden_size: Size h of a token's representation (fair-esm: ``embed_dim``).
        attention_heads: Number of heads in each layer; it divides `hidden_size`.
    """

    num_layers: int
    hidden_size: int
    attention_heads: int

    def __post_init__(self) -> None:
        if self.hidden_size % (2 * self.attention_heads):
            raise ValueError(
                f"{self.attention_heads} attention heads do not divide hidden_size {self.hidden_size} into heads of "
                "even size, which rotary embeddings need"
            )

    @property
    def head_dim(self) -> int:
        """Size of one attention head."""
        return self.hidden_size // self.attention_heads

    def __str__(self) -> str:
        return f"{self.num_layers} layers of hidden size {self.hidden_size} with {self.attention_heads} heads"


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


def model_name_of(architecture: Architecture) -> str | None:
    """Return the full name of the model with this architecture; None if there is none."""
    return next((name for name, known in ARCHITECTURES.items() if known == architecture), None)


def resolve_model_name(name: str) -> str:
    """Return the full name of a model; ``3B`` and ``esm2_t36_3B_UR50D`` name the same one.

    Args:
        name: Full name, or the part with the number of parameters.

    Raises:
        UsageError: There is no such model; the message lists all of them.
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
