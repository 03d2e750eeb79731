# SPDX-License-Identifier: MIT
"""CUDA graphs of the forward: one launch by the host instead of hundreds, where launching would take the time."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import torch
from torch import Tensor

from virnuc_profiler.inference.esm2.encoders.contract import EncodedModel
from virnuc_profiler.inference.marks import PassMarks
from virnuc_profiler.inference.ops.pack import Pack
from virnuc_profiler.inference.ops.pooling import encode_and_pool

if TYPE_CHECKING:
    from virnuc_profiler.inference.esm2.config import Architecture

_MAX_GRAPHS: Final = 64
_MIN_STEP: Final = 128
_STEPS: Final = 128
"""Token counts are rounded up to a 128th of the next power of two: at most 1.6 % of a pack is filler."""
_MIN_SEQUENCES: Final = 32
_MIN_LIMIT: Final = 1024
"""Recordings allow for sequences of at least so many tokens, which is also the most that filler takes."""

_LAUNCH_S: Final = 12e-6
_LAUNCHES_PER_LAYER: Final = 9
"""At most: two fewer where products take what follows them along."""
_FLOPS_PER_S: Final = 4e14
_WORTHWHILE: Final = 0.25
"""Graphs pay where launching would take this share of the device's time: above it, the host has better things to do."""


class RecordableEncoder(Protocol):
    """What can be recorded: it queues a forward whatever the values of tokens and lengths, and never waits."""

    def prepare(self, model: EncodedModel) -> object:
        """What it has worked out from the weights; another object when they have moved or changed."""

    def __call__(self, model: EncodedModel, tokens: Tensor, pack: Pack) -> Tensor:
        """(T,) tokens to the last layer's representation, (T, h)."""


class _Size(NamedTuple):
    """What a graph has room for."""

    tokens: int
    sequences: int
    longest: int

    @classmethod
    def of(cls, pack: Pack) -> _Size:
        """The smallest that holds a pack and, in a sequence of their own, the tokens that fill it up."""
        step = min(_MIN_LIMIT, max(_MIN_STEP, _power_of_two(pack.total_tokens) // _STEPS))
        return cls(
            tokens=-(-pack.total_tokens // step) * step,
            sequences=max(_MIN_SEQUENCES, _power_of_two(pack.num_sequences + 1)),
            longest=max(_MIN_LIMIT, _power_of_two(pack.max_seqlen)),
        )


class ForwardGraphs:
    """An encoder whose launches are recorded when a size of pack comes for the second time, and replayed after.

    What is replayed works on memory of its own: inputs are copied in, and the result is copied out, or pooled to where
    the caller wants it. Where there is not enough of it, that size of pack is launched as before.

    Args:
        encoder: what is recorded.
        always: whether it is done for packs of any size, not only where launching takes a good part of the time.
    """

    def __init__(self, encoder: RecordableEncoder, *, always: bool = False) -> None:
        self._encoder = encoder
        self._always = always
        self._prepared: object = None
        self._seen: set[_Size] = set()
        self._too_large: set[_Size] = set()
        self._graphs: dict[_Size, _Graph] = {}
        self._pool: Any = None

    def __call__(self, model: EncodedModel, tokens: Tensor, pack: Pack) -> Tensor:
        """(T,) tokens to the last layer's representation, (T, h)."""
        graph = self._find(model, pack)
        return self._encode_without(model, tokens, pack) if graph is None else graph.encoded(tokens, pack)

    def pooled(self, model: EncodedModel, tokens: Tensor, pack: Pack, marks: PassMarks) -> Tensor:
        """(T,) tokens to the mean over each sequence's residues, (B, h) in fp32."""
        graph = self._find(model, pack)
        if graph is None:  # if it is recorded now, that is a part of this forward
            return encode_and_pool(self._encode_without, model, tokens, pack, marks)
        vectors = marks.output_buffer(pack.num_sequences, model.embed_dim)
        if vectors is None:
            vectors = torch.empty(pack.num_sequences, model.embed_dim, dtype=torch.float32, device=tokens.device)
        graph.replay(tokens, pack, vectors, marks.replays())
        return vectors

    def _find(self, model: EncodedModel, pack: Pack) -> _Graph | None:
        """The recording of a pack's size."""
        if not self._graphs:
            return None
        self._forget_what_is_outdated(model)
        return self._graphs.get(_Size.of(pack))

    def _encode_without(self, model: EncodedModel, tokens: Tensor, pack: Pack) -> Tensor:
        """A pack of whose size there is no recording yet."""
        graph = self._record_if_due(model, tokens, pack)
        return self._encoder(model, tokens, pack) if graph is None else graph.encoded(tokens, pack)

    def _record_if_due(self, model: EncodedModel, tokens: Tensor, pack: Pack) -> _Graph | None:
        """Records a pack's size if that pays, and it has come before."""
        if not self._always and not launches_matter(pack.total_tokens, model.architecture):
            return None
        size = _Size.of(pack)
        if size not in self._seen:
            self._seen.add(size)
            return None
        room = size not in self._too_large and len(self._graphs) < _MAX_GRAPHS
        return self._record(model, size, tokens.device) if room else None

    def release(self) -> None:
        """Forgets all recordings, whose memory is then free for others."""
        self._seen.clear()
        self._too_large.clear()
        self._drop_graphs()

    def _drop_graphs(self) -> None:
        self._graphs.clear()
        self._pool = None  # it ends with the last graph that uses it

    def _record(self, model: EncodedModel, size: _Size, device: torch.device) -> _Graph | None:
        self._forget_what_is_outdated(model)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        try:
            graph = _Graph(lambda tokens, pack: self._encoder(model, tokens, pack), size, device, self._pool)
        except torch.OutOfMemoryError:
            self._too_large.add(size)
            if not self._graphs:
                self._pool = None
            return None
        self._graphs[size] = graph
        return graph

    def _forget_what_is_outdated(self, model: EncodedModel) -> None:
        prepared = self._encoder.prepare(model)
        if prepared is not self._prepared:
            self._drop_graphs()
            self._prepared = prepared


class _Graph:
    """The forward of one size.

    All graphs of a pool work on the same memory, their results included: one is replayed after the other, and each
    result is copied out before the next.
    """

    def __init__(self, encode: Callable[[Tensor, Pack], Tensor], size: _Size, device: torch.device, pool: Any) -> None:
        from virnuc_profiler.inference.kernels.mean_pool import mean_pool_to_order

        def whole_pass(tokens: Tensor, pack: Pack) -> Tensor:
            hidden = encode(tokens, pack)
            mean_pool_to_order(hidden, pack.cu_seqlens, self._order)
            return hidden

        stream = _recording_stream(device)
        self._tokens = torch.zeros(size.tokens, dtype=torch.uint8, device=device)
        # While it is recorded, too, no sequence may be longer than the tables are that it looks positions up in.
        ends = torch.arange(size.sequences + 1, dtype=torch.int32, device=device) * size.longest
        self._cu_seqlens = ends.clamp_(max=size.tokens)
        self._order = torch.zeros(3, dtype=torch.int64, device=device)
        pack = Pack(size.tokens, self._cu_seqlens, size.longest)
        self._graph = torch.cuda.CUDAGraph()
        caller = torch.cuda.current_stream(device)
        stream.wait_stream(caller)
        try:
            with torch.cuda.stream(stream), _no_garbage_collected():
                whole_pass(self._tokens, pack)  # kernels are compiled and loaded, which a recording does not allow
                # Other threads may go on with their work: only this one's is recorded.
                self._graph.capture_begin(pool=pool, capture_error_mode="thread_local")
                try:
                    hidden = whole_pass(self._tokens, pack)
                except BaseException:
                    with suppress(RuntimeError):  # what went wrong is more to the point than that nothing came of it
                        self._graph.capture_end()
                    raise
                self._graph.capture_end()
        finally:
            caller.wait_stream(stream)  # for what is queued there still reads the memory above, also after an error
        self._hidden = non_owning_view(hidden)

    def encoded(self, tokens: Tensor, pack: Pack) -> Tensor:
        """(T, h) for a pack that fits."""
        self.replay(tokens, pack)
        return self._hidden[: pack.total_tokens].clone()

    def replay(self, tokens: Tensor, pack: Pack, vectors: Tensor | None = None, stamps: Tensor | None = None) -> None:
        """Encodes a pack that fits, and pools it into (B, h) `vectors` if there are any; see `load_graph_inputs`."""
        from virnuc_profiler.inference.kernels.graph_inputs import load_graph_inputs

        ends = pack.cu_seqlens.contiguous()
        load_graph_inputs(tokens.contiguous(), ends, self._tokens, self._cu_seqlens, self._order, vectors, stamps)
        self._graph.replay()


@cache
def _recording_stream(device: torch.device) -> torch.cuda.Stream:
    """The same one for all, because cuBLAS keeps a work space (32 MB on Hopper) for each that it has seen."""
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return stream


@contextmanager
def _no_garbage_collected() -> Iterator[None]:
    """Keeps Python from freeing what it comes across: a graph, say, whose end would spoil a recording."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def launches_matter(total_tokens: int, architecture: Architecture) -> bool:
    """Whether launching a forward's kernels takes a good part of the time that the device needs for them."""
    layers, width = architecture.num_layers, architecture.embed_dim
    device_s = layers * 24 * width**2 * total_tokens / _FLOPS_PER_S
    return layers * _LAUNCHES_PER_LAYER * _LAUNCH_S > _WORTHWHILE * device_s


def _power_of_two(count: int) -> int:
    """The next one that is not less."""
    return 1 << max(0, count - 1).bit_length()


class _Borrowed:
    """Says where a tensor's memory is, in the terms by which array libraries exchange it; holds none of it."""

    def __init__(self, tensor: Tensor) -> None:
        self.__cuda_array_interface__ = {
            "shape": (tensor.numel() * tensor.element_size(),),
            "typestr": "|u1",
            "data": (tensor.data_ptr(), False),
            "version": 3,
        }


def non_owning_view(tensor: Tensor) -> Tensor:
    """The same memory, which goes back to its allocator once `tensor` itself is let go.

    Args:
        tensor: contiguous, on a CUDA device.
    """
    memory = torch.as_tensor(_Borrowed(tensor), device=tensor.device)
    return memory.view(tensor.dtype).view(tensor.shape)
