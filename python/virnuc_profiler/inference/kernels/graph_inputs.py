# SPDX-License-Identifier: MIT
"""Copy a pack into the fixed inputs of a captured CUDA graph, and tell the graph where its output goes."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

_TOKENS = 1024
_TENSORS = ["tokens", "cu_seqlens", "to_tokens", "to_cu_seqlens", "target", "vectors", "timestamps"]
_SIZES = ["count", "ends", "capacity", "max_ends"]


def load_graph_inputs(
    tokens: Tensor,
    cu_seqlens: Tensor,
    to_tokens: Tensor,
    to_cu_seqlens: Tensor,
    target: Tensor,
    vectors: Tensor | None = None,
    timestamps: Tensor | None = None,
) -> None:
    """Copy a pack into a larger one, whose further sequences hold the remaining tokens or are empty.

    Args:
        tokens: (T,) integers, contiguous.
        cu_seqlens: (B + 1,) integers, contiguous, cumulative lengths from 0 to T.
        to_tokens: (T',) uint8 with T' >= T; tokens after the first T stay as they are.
        to_cu_seqlens: (B' + 1,) int32 with B' >= B; entries after the first B + 1 become T'.
        target: (3,) int64 for ``mean_pool.mean_pool_indirect``; becomes B and the addresses of `vectors` and
            `timestamps`, 0 for None.
        vectors: (B, h) float32, contiguous, for the pooled vectors; None to skip pooling.
        timestamps: (2,) int64 memory for the timestamps that the graph records; None to record none.
    """
    count = tokens.shape[0]
    sizes = count, cu_seqlens.shape[0], to_tokens.shape[0], to_cu_seqlens.shape[0]
    grid = (triton.cdiv(count, _TOKENS), 1, 1)
    arguments = (tokens, cu_seqlens, to_tokens, to_cu_seqlens, target, vectors, timestamps, *sizes, _TOKENS)
    variant = (tokens.device, tokens.dtype, cu_seqlens.dtype, vectors is None, timestamps is None)
    compiled = _compiled.get(variant)
    if compiled is not None:
        compiled[grid](*arguments)
        return
    compiled = _load_graph_inputs[grid](*arguments)
    if _TAKES_CONSTANTS:
        _compiled[variant] = compiled


_TAKES_CONSTANTS = tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 4)
"""Whether a compiled kernel takes all arguments of the kernel; before Triton 3.4 it takes no constants."""

_compiled: dict[object, Any] = {}
"""Compiled kernels by everything in which arguments can differ. Triton's own lookup takes longer than the launch."""


@triton.jit(do_not_specialize=_SIZES, do_not_specialize_on_alignment=_TENSORS)
def _load_graph_inputs(
    tokens,
    cu_seqlens,
    to_tokens,
    to_cu_seqlens,
    target,
    vectors,
    timestamps,
    count,
    ends,
    capacity,
    max_ends,
    BLOCK: tl.constexpr,
):
    first = tl.program_id(0) == 0
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(to_tokens + index, tl.load(tokens + index, index < count, 0), index < count)
    if first:
        _load_target(target, vectors, timestamps, ends)
        for start in range(0, max_ends, BLOCK):
            index = start + tl.arange(0, BLOCK)
            end = tl.load(cu_seqlens + index, index < ends, 0)
            tl.store(to_cu_seqlens + index, tl.where(index < ends, end, capacity), index < max_ends)


@triton.jit
def _load_target(target, vectors, timestamps, ends):
    if vectors is None:
        tl.store(target, 0)
    else:
        tl.store(target, ends - 1)
        tl.store(target + 1, vectors.to(tl.int64))
    if timestamps is None:
        tl.store(target + 2, 0)
    else:
        tl.store(target + 2, timestamps.to(tl.int64))
