# SPDX-License-Identifier: MIT
"""A pack put where a recording expects it, and told where its vectors shall go."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from torch import Tensor
from triton.language.extra.cuda import globaltimer

_TOKENS = 1024
_TENSORS = ["tokens", "cu_seqlens", "to_tokens", "to_cu_seqlens", "order", "vectors", "stamps"]
_SIZES = ["count", "ends", "room", "max_ends"]


def load_graph_inputs(
    tokens: Tensor,
    cu_seqlens: Tensor,
    to_tokens: Tensor,
    to_cu_seqlens: Tensor,
    order: Tensor,
    vectors: Tensor | None = None,
    stamps: Tensor | None = None,
) -> None:
    """Copies a pack into a larger one, whose last sequences are what is left of its tokens, and empty ones.

    Args:
        tokens: (T,) integers, contiguous.
        cu_seqlens: (B + 1,) integers, contiguous, cumulative lengths from 0 to T.
        to_tokens: (T',) uint8, T' at least T; what comes after the first T is left as it is.
        to_cu_seqlens: (B' + 1,) int32, B' at least B; T' is what follows the first B + 1.
        order: (3,) int64, for ``pooling.mean_pool_to_order``: becomes B and the addresses of the next two, 0 of None.
        vectors: (B, h) float32, contiguous; without it nothing is pooled.
        stamps: (2,) int64; the first becomes the device's time when this begins, in ns, and the second 0.
    """
    count = tokens.shape[0]
    sizes = count, cu_seqlens.shape[0], to_tokens.shape[0], to_cu_seqlens.shape[0]
    grid = (triton.cdiv(count, _TOKENS), 1, 1)
    arguments = (tokens, cu_seqlens, to_tokens, to_cu_seqlens, order, vectors, stamps, *sizes, _TOKENS)
    variant = (tokens.device, tokens.dtype, cu_seqlens.dtype, vectors is None, stamps is None)
    compiled = _compiled.get(variant)
    if compiled is not None:
        compiled[grid](*arguments)
        return
    compiled = _put_pack[grid](*arguments)
    if _TAKES_CONSTANTS:
        _compiled[variant] = compiled


_TAKES_CONSTANTS = tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 4)
"""Whether a compiled kernel is called with all arguments, as before it was compiled; older ones want the constants left
out."""

_compiled: dict[object, Any] = {}
"""Found by all that arguments can differ in: Triton takes longer to find out which one it is than to launch it."""


@triton.jit(do_not_specialize=_SIZES, do_not_specialize_on_alignment=_TENSORS)
def _put_pack(
    tokens,
    cu_seqlens,
    to_tokens,
    to_cu_seqlens,
    order,
    vectors,
    stamps,
    count,
    ends,
    room,
    max_ends,
    BLOCK: tl.constexpr,
):
    first = tl.program_id(0) == 0
    if stamps is not None:
        tl.store(stamps, globaltimer(), first)
        tl.store(stamps + 1, 0, first)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(to_tokens + place, tl.load(tokens + place, place < count, 0), place < count)
    if first:
        _put_order(order, vectors, stamps, ends)
        for start in range(0, max_ends, BLOCK):
            place = start + tl.arange(0, BLOCK)
            end = tl.load(cu_seqlens + place, place < ends, 0)
            tl.store(to_cu_seqlens + place, tl.where(place < ends, end, room), place < max_ends)


@triton.jit
def _put_order(order, vectors, stamps, ends):
    if vectors is None:
        tl.store(order, 0)
    else:
        tl.store(order, ends - 1)
        tl.store(order + 1, vectors.to(tl.int64))
    if stamps is None:
        tl.store(order + 2, 0)
    else:
        tl.store(order + 2, stamps.to(tl.int64))
