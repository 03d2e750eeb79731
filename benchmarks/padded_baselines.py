# SPDX-License-Identifier: MIT
"""Run the alternatives to packing at their best: fair-esm and Hugging Face's EsmModel over padded batches.

Sequences are sorted by length to keep padding small, and tokens are ready in pinned memory. Each batch is copied to the
device, run through the forward pass, and averaged over residues. Weights are random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import esm
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.passes import Batch, Load, evenly_spread
from virnuc_profiler.analysis.model_cost import ModelShape, forward_flops
from virnuc_profiler.inference.esm2.config import PADDING_TOKEN, Architecture
from virnuc_profiler.targets.adapters.transformers_loader import esm_config

TOGETHER: Final = 4


@dataclass(frozen=True, slots=True)
class PaddedBatch:
    """Padded sequences on the host.

    Attributes:
        tokens: Token ids, (B, longest) int64.
        mask: Attention mask, (B, longest) int64, 1 where there is a token.
        weights: Pooling weights, (B, 1, longest) in the model's dtype: 1 / residues where there is a residue, so that
            pooling is one matrix product.
    """

    tokens: Tensor
    mask: Tensor
    weights: Tensor


def padded_batches(
    sequences: Sequence[NDArray[np.uint8]], max_tokens: int, architecture: Architecture, dtype: torch.dtype
) -> list[Batch]:
    """Make batches of similar lengths with at most this many tokens, padding included; pinned if there is CUDA.

    A few neighbors stay together, because fair-esm keeps its rotary tables from one batch to the next of the same
    length.
    """
    pin = torch.cuda.is_available()
    batches: list[Batch] = []
    for rows in _rows_of_batches(sorted(sequences, key=len), max_tokens):
        lengths = torch.tensor([len(row) for row in rows])
        places = torch.arange(int(lengths.max()))
        tokens = torch.full((len(rows), len(places)), PADDING_TOKEN)
        for target, row in zip(tokens, rows, strict=True):
            target[: len(row)] = torch.from_numpy(row)
        is_residue = (places > 0) & (places < lengths[:, None] - 1)
        weights = (is_residue / (lengths[:, None] - 2)).to(dtype)[:, None]
        mask = (places < lengths[:, None]).long()
        pinned = [tensor.pin_memory() if pin else tensor for tensor in (tokens, mask, weights)]
        total, squares = int(lengths.sum()), int((lengths**2).sum())
        flops = forward_flops(total, squares, ModelShape(architecture.num_layers, architecture.hidden_size))
        batches.append((Load(total, flops), PaddedBatch(*pinned)))
    return evenly_spread(batches, TOGETHER)


def _rows_of_batches(ascending: Sequence[NDArray[np.uint8]], max_tokens: int) -> Iterator[list[NDArray[np.uint8]]]:
    rows: list[NDArray[np.uint8]] = []
    for row in ascending:
        if rows and (len(rows) + 1) * len(row) > max_tokens:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows


def load_fair_esm(architecture: Architecture, device: torch.device) -> tuple[Any, torch.dtype]:
    """Load fair-esm's own model as its users run it: `half()` on a GPU, fp32 on the CPU."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    with torch.device(device):  # made where it will stay: billions of random numbers take minutes on a CPU
        torch.manual_seed(0)
        shape = architecture.num_layers, architecture.hidden_size, architecture.attention_heads
        model = esm.model.esm2.ESM2(*shape)
    return model.to(dtype).eval().requires_grad_(False), dtype


def load_hugging_face(architecture: Architecture, device: torch.device) -> tuple[Any, torch.dtype]:
    """Load Hugging Face's model with SDPA: bf16 on a GPU, fp32 on the CPU.

    Raises:
        ImportError: transformers is not installed.
    """
    import transformers

    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    config = esm_config(
        transformers,
        architecture,
        emb_layer_norm_before=False,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="sdpa",
    )
    with torch.device(device):  # made where it will stay: billions of random numbers take minutes on a CPU
        torch.manual_seed(0)
        model = transformers.EsmModel(config, add_pooling_layer=False)
    return model.to(dtype).eval().requires_grad_(False), dtype


def fair_esm_launch(model: Any, device: torch.device) -> Callable[[PaddedBatch], Tensor]:
    """Copy to the device, run the forward pass without contacts, and average over residues."""
    last = model.num_layers

    def launch(batch: PaddedBatch) -> Tensor:
        tokens = batch.tokens.to(device, non_blocking=True)
        weights = batch.weights.to(device, non_blocking=True)
        hidden = model(tokens, repr_layers=[last], return_contacts=False)["representations"][last]
        return torch.bmm(weights, hidden).squeeze(1)

    return launch


def hugging_face_launch(model: Any, device: torch.device) -> Callable[[PaddedBatch], Tensor]:
    """Copy to the device, run the forward pass, and average over residues."""

    def launch(batch: PaddedBatch) -> Tensor:
        tokens, mask, weights = (
            tensor.to(device, non_blocking=True) for tensor in (batch.tokens, batch.mask, batch.weights)
        )
        hidden = model(input_ids=tokens, attention_mask=mask).last_hidden_state
        return torch.bmm(weights, hidden).squeeze(1)

    return launch
