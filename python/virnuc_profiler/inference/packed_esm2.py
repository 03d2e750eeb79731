# SPDX-License-Identifier: MIT
"""ESM-2 on packed sequences: the encoder of fair-esm without padding, for inference only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from virnuc_profiler.inference.architectures import ALPHABET_SIZE, MASK_TOKEN, PADDING_TOKEN, Architecture
from virnuc_profiler.inference.attention import Attend, choose_backend
from virnuc_profiler.inference.pack import Pack
from virnuc_profiler.inference.rotary import apply_rotary, rotary_tables
from virnuc_profiler.inference.weights import architecture_of, copy_weights

PRECISIONS: Final = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

_TRAINING_MASK_RATIO: Final = 0.15 * 0.8
"""Share of tokens that were <mask> in training; ESM-2 scales its embeddings as if they still were."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model is, for the record.

    Attributes:
        model_name: fair-esm's name, or ``custom``.
        weights: ``random seed 0``, the path of the checkpoint, or what else they are.
        weights_source: ``random``, ``cache``, ``download``, ``file`` or ``fair-esm``.
        precision: ``fp32``, ``fp16`` or ``bf16``.
        attention_backend: the one in use.
        parameters: numbers in the encoder; lm head and contact head are not loaded.
    """

    model_name: str
    weights: str
    weights_source: str
    precision: str
    attention_backend: str
    parameters: int


class EncoderLayer(nn.Module):
    """One pre-norm transformer layer, with one matrix product for queries, keys and values."""

    def __init__(self, architecture: Architecture, dtype: torch.dtype) -> None:
        super().__init__()
        width = architecture.embed_dim
        self.heads = architecture.attention_heads
        factory: Any = {"device": "meta", "dtype": dtype}
        self.attention_norm = nn.LayerNorm(width, eps=1e-5, **factory)
        self.qkv = nn.Linear(width, 3 * width, **factory)
        self.attention_out = nn.Linear(width, width, **factory)
        self.feed_forward_norm = nn.LayerNorm(width, eps=1e-5, **factory)
        self.up = nn.Linear(width, 4 * width, **factory)
        self.down = nn.Linear(4 * width, width, **factory)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        """(T, h) to (T, h)."""
        x = x + self.attention(self.attention_norm(x), cos, sin, attend)
        return x + self.feed_forward(self.feed_forward_norm(x))

    def attention(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        """Attention within each sequence, (T, h) to (T, h)."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        q, k = apply_rotary(qkv[:, :2], cos, sin).unbind(1)
        out: Tensor = self.attention_out(attend(q, k, qkv[:, 2]).flatten(1))
        return out

    def feed_forward(self, x: Tensor) -> Tensor:
        """The two outer matrix products with the exact GELU between them, (T, h) to (T, h)."""
        out: Tensor = self.down(F.gelu(self.up(x)))
        return out


class PackedESM2(nn.Module):
    """The encoder. Its weights are uninitialised until `weights.py` or :meth:`from_fair_esm` fills them.

    Parameters are made where they will stay, in the dtype they will keep: there is never a second copy.

    Args:
        architecture: the shape.
        device: where to run.
        dtype: of weights and activations.
        attention: ``auto`` or the name of a backend.
        model_name: for the record.

    Raises:
        UsageError: the attention backend cannot run there.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        attention: str = "auto",
        model_name: str = "custom",
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.model_name = model_name
        self.weights = "uninitialised"
        self.weights_source = "none"
        self._attention = choose_backend(attention, torch.device(device), dtype, architecture.head_dim)

        factory: Any = {"device": "meta", "dtype": dtype}
        width = architecture.embed_dim
        self.embed_tokens = nn.Embedding(ALPHABET_SIZE, width, PADDING_TOKEN, **factory)
        self.layers = nn.ModuleList(EncoderLayer(architecture, dtype) for _ in range(architecture.num_layers))
        self.final_norm = nn.LayerNorm(width, eps=1e-5, **factory)
        self.to_empty(device=device).requires_grad_(False).eval()

    @classmethod
    def from_fair_esm(
        cls,
        esm_model: nn.Module,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        attention: str = "auto",
    ) -> PackedESM2:
        """Takes the weights of an ``esm.model.esm2.ESM2``.

        Raises:
            ModelError: it is not an ESM-2 model of fair-esm.
            UsageError: the attention backend cannot run there.
        """
        model = cls(architecture_of(esm_model), device=device, dtype=dtype, attention=attention)
        copy_weights(model, esm_model.state_dict(), "the fair-esm model")
        model.weights, model.weights_source = "taken from a fair-esm model", "fair-esm"
        return model

    def forward(
        self, tokens: Tensor, cu_seqlens: Tensor, max_seqlen: int, host_cu_seqlens: Tensor | None = None
    ) -> Tensor:
        """Computes the last layer's representation of each token. Never waits for the device.

        Args:
            tokens: (T,) integers, each sequence with its BOS and EOS.
            cu_seqlens: (B + 1,) int32 on the same device, cumulative lengths from 0.
            max_seqlen: the longest sequence in tokens.
            host_cu_seqlens: a copy of `cu_seqlens` on the CPU. Only attention backend ``sdpa`` on a GPU gains
                from it: without it that pads every sequence to the longest.

        Returns:
            (T, embed_dim) in the model's dtype, the final layer norm applied.

        Raises:
            ValueError: tokens or cu_seqlens of a wrong shape.
        """
        if tokens.dim() != 1 or cu_seqlens.dim() != 1:
            raise ValueError(
                "PackedESM2 takes packed sequences, tokens (T,) and cu_seqlens (B + 1,); "
                f"got {tuple(tokens.shape)} and {tuple(cu_seqlens.shape)}"
            )
        pack = Pack.build(tokens.shape[0], cu_seqlens, max_seqlen, host_cu_seqlens)
        cos, sin = rotary_tables(pack.positions, self.architecture.head_dim, self.dtype)
        attend = self._attention.plan(pack)
        x = self.embed(tokens, pack)
        for layer in self.layers:
            x = layer(x, cos, sin, attend)
        out: Tensor = self.final_norm(x)
        return out

    def embed(self, tokens: Tensor, pack: Pack) -> Tensor:
        """Embeds tokens and scales them as ESM-2 was trained to see them, (T,) to (T, h).

        Masked tokens are zero, and each sequence is scaled by (1 - 0.12) / (1 - its share of masked tokens).
        """
        is_mask = tokens == MASK_TOKEN
        lengths = pack.lengths.float()
        masked = torch.zeros_like(lengths).index_add_(0, pack.sequence_of, is_mask.float())
        scales = (1 - _TRAINING_MASK_RATIO) / (1 - masked / lengths)
        scale = scales[pack.sequence_of].masked_fill_(is_mask, 0.0)
        # In fp32: 0.88 rounded to bf16 would make every embedding 0.13 % too small.
        x: Tensor = self.embed_tokens(tokens.int()) * scale[:, None]
        return x.to(self.dtype)

    @property
    def embed_dim(self) -> int:
        """Width of the representation."""
        return self.architecture.embed_dim

    @property
    def num_layers(self) -> int:
        """Transformer layers."""
        return self.architecture.num_layers

    @property
    def attention_heads(self) -> int:
        """Heads of each layer."""
        return self.architecture.attention_heads

    @property
    def dtype(self) -> torch.dtype:
        """Of weights, activations and results."""
        return self.embed_tokens.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.embed_tokens.weight.device

    @property
    def attention_backend(self) -> str:
        """Name of the attention backend in use."""
        return self._attention.name

    @property
    def info(self) -> ModelInfo:
        """What this model is, for the record."""
        return ModelInfo(
            model_name=self.model_name,
            weights=self.weights,
            weights_source=self.weights_source,
            precision=next(name for name, dtype in PRECISIONS.items() if dtype == self.dtype),
            attention_backend=self.attention_backend,
            parameters=sum(parameter.numel() for parameter in self.parameters()),
        )
