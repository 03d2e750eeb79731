# SPDX-License-Identifier: MIT
"""A checksum of all weights of a model, to tell whether two jobs compute with the same ones.

It is computed from the values on the device, so it is the same for a fair-esm checkpoint and a Hugging Face folder of
the same weights, on a CPU and on a GPU, and differs between precisions. It detects any accidental difference; it is not
a cryptographic hash, which would take a minute for the 60 GB of the largest model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor
from torch.nn import functional

from virnuc_profiler.inference.placement import PRECISIONS

if TYPE_CHECKING:
    from virnuc_profiler.inference.esm2.model import PackedESM2

_WORDS: Final = 1 << 14
"""Words of 8 bytes that one 64-bit sum covers."""

_CPU_BLOCKS: Final = 4
"""Blocks that a CPU sums at once, so that they and their products fit into its cache."""

_GPU_BLOCKS: Final = 1 << 10
"""Blocks that a GPU sums at once; it needs 256 MB of temporary memory for them."""


def weights_fingerprint(model: PackedESM2) -> str:
    """Return the checksum of a model's weights, such as ``bf16 sum64 0123456789abcdef``; waits for the device.

    Every bit of every parameter counts, and so does its position: each block is summed modulo 2^64, with an odd
    pseudo-random factor for each word, and the names, the shapes and the sums are hashed.

    Args:
        model: Model whose weights are filled.
    """
    precision = next(name for name, dtype in PRECISIONS.items() if dtype == model.dtype)
    factors = _factors(model.device)
    hashed = hashlib.blake2b(digest_size=8)
    for name, values in _weights(model):
        sums = torch.cat([*_block_sums(values, factors)]).tolist()
        hashed.update(f"{name} {tuple(values.shape)} {sums}\n".encode())
    return f"{precision} sum64 {hashed.hexdigest()}"


def _weights(model: PackedESM2) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield "rotary_frequencies", model.rotary_frequencies


def _block_sums(values: Tensor, factors: Tensor) -> Iterator[Tensor]:
    """Yield the weighted sums of consecutive blocks, int64 on the device."""
    data = values.detach().contiguous().view(torch.uint8).flatten()
    data = functional.pad(data, (0, -len(data) % 8)) if len(data) % 8 else data
    at_once = _CPU_BLOCKS if values.device.type == "cpu" else _GPU_BLOCKS
    for words in torch.split(data.view(torch.int64), at_once * _WORDS):
        # The upper half is mixed into the lower one: a product carries differences only to higher bits.
        mixed = (words >> 32).bitwise_and_(0xFFFFFFFF).bitwise_xor_(words)
        whole = len(mixed) // _WORDS * _WORDS
        yield mixed[:whole].view(-1, _WORDS).mul_(factors).sum(1)
        if whole < len(mixed):
            yield mixed[whole:].mul_(factors[: len(mixed) - whole]).sum(0, keepdim=True)


def _factors(device: torch.device) -> Tensor:
    """Return an odd pseudo-random number for each word of a block, by integer arithmetic that wraps around."""
    mixed = torch.arange(1, _WORDS + 1, dtype=torch.int64, device=device) * -0x61C8864680B583EB
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        mixed = (mixed ^ (mixed >> shift)) * factor
    return mixed | 1
