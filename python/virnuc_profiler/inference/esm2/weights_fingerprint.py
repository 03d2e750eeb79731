# SPDX-License-Identifier: MIT
"""A SHA-256 of a model's weights, to tell whether two jobs compute with the same ones.

It covers the values that the model computes with, not a file: a fair-esm checkpoint and a Hugging Face folder of the
same weights have the same fingerprint, on a CPU and on a GPU. Another precision has another one.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

if TYPE_CHECKING:
    from virnuc_profiler.inference.esm2.model import PackedESM2

_THREADS: Final = 4
"""Tensors that are hashed at once, at 1 to 2 GB/s each. Those of a GPU are copied to the host, one per thread."""


def weights_fingerprint(model: PackedESM2) -> str:
    """Return ``sha256:`` and the hash of names, types, shapes and values of all weights; waits for the device.

    Args:
        model: Model whose weights are filled.
    """
    weights = [*model.named_parameters(), ("rotary_frequencies", model.rotary_frequencies)]
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)  # the threads copy on other streams than the one that filled the model
    with ThreadPoolExecutor(_THREADS) as threads:
        hashes = threads.map(_hash, (values for _, values in weights))
        lines = [
            f"{name} {values.dtype} {tuple(values.shape)} {found}\n"
            for (name, values), found in zip(weights, hashes, strict=True)
        ]
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def _hash(values: Tensor) -> str:
    data = values.detach().cpu().contiguous().view(torch.uint8)
    return hashlib.sha256(data.numpy().data).hexdigest()
