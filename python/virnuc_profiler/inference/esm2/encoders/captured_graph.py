# SPDX-License-Identifier: MIT
"""One captured CUDA graph: the forward and the pooling of packs up to one size."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from virnuc_profiler.capture.start_up.preparation import preparing
from virnuc_profiler.inference.ops.pack import Pack
from virnuc_profiler.telemetry.parts.start_up_records import RECORDING_GRAPHS

_MIN_STEP: Final = 128
_STEPS: Final = 128
"""Token counts are rounded up to a 128th of the next power of two, so that at most 1.6 % of a pack is filler."""
_MIN_SEQUENCES: Final = 32
_MIN_LONGEST: Final = 1024
"""Graphs allow for sequences of at least this many tokens, which is also the largest step, and so the most filler."""


class GraphSize(NamedTuple):
    """The largest pack that a graph can take.

    Attributes:
        tokens: Number of tokens.
        sequences: Number of sequences.
        longest: Tokens of the longest sequence.
    """

    tokens: int
    sequences: int
    longest: int

    @classmethod
    def for_pack(cls, pack: Pack) -> GraphSize:
        """Return the smallest size that holds a pack and one more sequence, which takes the filler tokens."""
        step = min(_MIN_LONGEST, max(_MIN_STEP, _next_power_of_two(pack.total_tokens) // _STEPS))
        return cls(
            tokens=-(-pack.total_tokens // step) * step,
            sequences=max(_MIN_SEQUENCES, _next_power_of_two(pack.num_sequences + 1)),
            longest=max(_MIN_LONGEST, _next_power_of_two(pack.max_seqlen)),
        )


class CapturedGraph:
    """The captured forward and pooling of packs up to one size.

    All graphs of a memory pool share their memory, results included: they are replayed one after the other, and each
    result is copied out before the next replay.

    Args:
        encode: Function that queues the forward of (T,) tokens and returns (T, h). Its third argument is the memory for
            the timestamp of its start, as for ``embedding.describe_tokens``.
        size: Largest pack that the graph must take.
        device: CUDA device.
        pool: Handle of the memory pool.
    """

    def __init__(
        self, encode: Callable[[Tensor, Pack, Tensor], Tensor], size: GraphSize, device: torch.device, pool: Any
    ) -> None:
        from virnuc_profiler.inference.kernels.mean_pool import mean_pool_indirect

        def whole_pass(tokens: Tensor, pack: Pack) -> Tensor:
            hidden = encode(tokens, pack, self._target[2:])
            mean_pool_indirect(hidden, pack.cu_seqlens, self._target)
            return hidden

        stream = _capture_stream(device)
        self._tokens = torch.zeros(size.tokens, dtype=torch.uint8, device=device)
        # No sequence may be longer than the rotary tables, during the capture as well as in a replay.
        ends = torch.arange(size.sequences + 1, dtype=torch.int32, device=device) * size.longest
        self._cu_seqlens = ends.clamp_(max=size.tokens)
        self._target = torch.zeros(3, dtype=torch.int64, device=device)
        pack = Pack(size.tokens, self._cu_seqlens, size.longest)
        self._graph = torch.cuda.CUDAGraph()
        caller = torch.cuda.current_stream(device)
        stream.wait_stream(caller)
        try:
            with preparing(RECORDING_GRAPHS), torch.cuda.stream(stream), _garbage_collection_paused():
                whole_pass(self._tokens, pack)  # compiles and loads kernels, which a capture does not allow
                # thread_local: other threads may use CUDA meanwhile, and their work is not captured.
                self._graph.capture_begin(pool=pool, capture_error_mode="thread_local")
                try:
                    hidden = whole_pass(self._tokens, pack)
                except BaseException:
                    with suppress(RuntimeError):  # keep the original error; capture_end() would raise a less useful one
                        self._graph.capture_end()
                    raise
                self._graph.capture_end()
        finally:
            caller.wait_stream(stream)  # after an error too: work queued on the stream still reads the memory above
        self._hidden = non_owning_view(hidden)

    def encode(self, tokens: Tensor, pack: Pack) -> Tensor:
        """Return the last layer's representation, (T, h), of a pack that fits.

        Args:
            tokens: (T,) integers.
            pack: The sequences of the pack.
        """
        self.load(tokens, pack)
        self.replay()
        return self._hidden[: pack.total_tokens].clone()

    def load(self, tokens: Tensor, pack: Pack, vectors: Tensor | None = None, timestamps: Tensor | None = None) -> None:
        """Copy a pack that fits into the graph's memory, for the next replay.

        Args:
            tokens: (T,) integers.
            pack: The sequences of the pack.
            vectors: (B, h) float32 memory for the pooled vectors; None skips pooling.
            timestamps: (2,) int64 memory for the device timestamps of the replay's start and end; None records none.
        """
        from virnuc_profiler.inference.kernels.graph_inputs import load_graph_inputs

        ends = pack.cu_seqlens.contiguous()
        load_graph_inputs(tokens.contiguous(), ends, self._tokens, self._cu_seqlens, self._target, vectors, timestamps)

    def replay(self) -> None:
        """Encode the loaded pack, and pool it."""
        self._graph.replay()


@cache
def _capture_stream(device: torch.device) -> torch.cuda.Stream:
    """Return one stream for all captures: cuBLAS keeps a workspace (32 MB on Hopper) for every stream it has seen."""
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return stream


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """Pause garbage collection, which might free another CUDA graph and thereby invalidate the capture."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _next_power_of_two(count: int) -> int:
    return 1 << max(0, count - 1).bit_length()


class _ArrayInterface:
    """Describe a tensor's memory by ``__cuda_array_interface__``, without owning any of it."""

    def __init__(self, tensor: Tensor) -> None:
        self.__cuda_array_interface__ = {
            "shape": (tensor.numel() * tensor.element_size(),),
            "typestr": "|u1",
            "data": (tensor.data_ptr(), False),
            "version": 3,
        }


def non_owning_view(tensor: Tensor) -> Tensor:
    """Return a view that does not keep the memory allocated once `tensor` itself is freed.

    Args:
        tensor: Contiguous tensor on a CUDA device.
    """
    memory = torch.as_tensor(_ArrayInterface(tensor), device=tensor.device)
    return memory.view(tensor.dtype).view(tensor.shape)
