# SPDX-License-Identifier: MIT
"""CUDA graphs of the forward: one launch instead of hundreds, for packs whose time launching would dominate."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import torch
from torch import Tensor

from virnuc_profiler.inference.esm2.encoders.captured_graph import CapturedGraph, GraphSize
from virnuc_profiler.inference.esm2.encoders.encoder_contract import EncodedModel
from virnuc_profiler.inference.marks import ForwardMarks
from virnuc_profiler.inference.ops.pack import Pack

if TYPE_CHECKING:
    from virnuc_profiler.inference.esm2.config import Architecture

_MAX_GRAPHS: Final = 64

_LAUNCH_S: Final = 12e-6
_LAUNCHES_PER_LAYER: Final = 9
"""Largest number of launches; two fewer if the matrix products have a fused epilogue."""
_FLOPS_PER_S: Final = 4e14
_MIN_LAUNCH_SHARE: Final = 0.25
"""Share of the device's time above which launching is worth avoiding, because the host has other work to do."""


class CapturableEncoder(Protocol):
    """An encoder that queues a forward whatever the values of tokens and lengths, and never waits for the device."""

    def prepare(self, model: EncodedModel) -> object:
        """Return what the encoder derives from the weights; another object if they have moved or changed."""

    def __call__(self, model: EncodedModel, tokens: Tensor, pack: Pack, timestamps: Tensor | None = None) -> Tensor:
        """Compute the last layer's representation.

        Args:
            model: Weights of the encoder.
            tokens: (T,) integers.
            pack: The sequences of the pack.
            timestamps: Memory for the device timestamp of the start, as for ``embedding.describe_tokens``.

        Returns:
            (T, h) in the model's data type.
        """

    def pooled(self, model: EncodedModel, tokens: Tensor, pack: Pack, marks: ForwardMarks) -> Tensor:
        """Compute the mean over each sequence's residues.

        Args:
            model: Weights of the encoder.
            tokens: (T,) integers.
            pack: The sequences of the pack.
            marks: Receiver of the stages, and provider of the output memory.

        Returns:
            (B, h) float32.
        """


class CudaGraphEncoder:
    """Capture an encoder's forward when a size of pack comes for the second time, and replay it from then on.

    A graph works on its own memory: inputs are copied in, and the result is copied out or pooled into the caller's
    memory. If there is not enough memory for the graph of a size, packs of that size are launched as before.

    Args:
        encoder: Encoder that is captured.
        always: Whether to capture packs of every size, instead of only those whose launches take a large share of the
            time.
    """

    def __init__(self, encoder: CapturableEncoder, *, always: bool = False) -> None:
        self._encoder = encoder
        self._always = always
        self._prepared: object = None
        self._seen: set[GraphSize] = set()
        self._too_large: set[GraphSize] = set()
        self._graphs: dict[GraphSize, CapturedGraph] = {}
        self._pool: Any = None

    def __call__(self, model: EncodedModel, tokens: Tensor, pack: Pack) -> Tensor:
        """Compute the last layer's representation.

        Args:
            model: Weights of the encoder.
            tokens: (T,) integers.
            pack: The sequences of the pack.

        Returns:
            (T, h) in the model's data type.
        """
        graph = self._graph_for(model, tokens, pack)
        return self._encoder(model, tokens, pack) if graph is None else graph.encode(tokens, pack)

    def pooled(self, model: EncodedModel, tokens: Tensor, pack: Pack, marks: ForwardMarks) -> Tensor:
        """Compute the mean over each sequence's residues.

        Args:
            model: Weights of the encoder.
            tokens: (T,) integers.
            pack: The sequences of the pack.
            marks: Receiver of the stages, and provider of the output memory.

        Returns:
            (B, h) float32.
        """
        graph = self._graph_for(model, tokens, pack)
        if graph is None:
            return self._encoder.pooled(model, tokens, pack, marks)
        output = marks.output_buffer(pack.num_sequences, model.hidden_size)
        if output is None:
            vectors = torch.empty(pack.num_sequences, model.hidden_size, dtype=torch.float32, device=tokens.device)
            graph.load(tokens, pack, vectors)
        else:
            vectors = output.vectors
            graph.load(tokens, pack, vectors, output.timestamps)
        # The stage begins after the copy into the graph's memory: on an idle device, that copy is done long before the
        # replay is launched.
        marks.begin_pass(gapless=True)
        graph.replay()
        return vectors

    def release(self) -> None:
        """Drop all graphs and release their memory."""
        self._seen.clear()
        self._too_large.clear()
        self._drop_graphs()

    def _graph_for(self, model: EncodedModel, tokens: Tensor, pack: Pack) -> CapturedGraph | None:
        """Return the graph of a pack's size, capturing it if that pays and the size has come before; else None."""
        size = GraphSize.for_pack(pack)
        if self._graphs:
            self._drop_stale_graphs(model)
            if (graph := self._graphs.get(size)) is not None:
                return graph
        if not self._always and not launches_matter(pack.total_tokens, model.architecture):
            return None
        if size not in self._seen:
            self._seen.add(size)
            return None
        may_capture = size not in self._too_large and len(self._graphs) < _MAX_GRAPHS
        return self._capture(model, size, tokens.device) if may_capture else None

    def _capture(self, model: EncodedModel, size: GraphSize, device: torch.device) -> CapturedGraph | None:
        self._drop_stale_graphs(model)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        try:
            graph = CapturedGraph(partial(self._encoder, model), size, device, self._pool)
        except torch.OutOfMemoryError:
            self._too_large.add(size)
            if not self._graphs:
                self._pool = None
            return None
        self._graphs[size] = graph
        return graph

    def _drop_stale_graphs(self, model: EncodedModel) -> None:
        """Drop all graphs if the model's weights have moved or changed."""
        prepared = self._encoder.prepare(model)
        if prepared is not self._prepared:
            self._drop_graphs()
            self._prepared = prepared

    def _drop_graphs(self) -> None:
        self._graphs.clear()
        self._pool = None  # the pool is freed with the last graph that uses it


def launches_matter(total_tokens: int, architecture: Architecture) -> bool:
    """Return whether launching a forward's kernels takes a large share of the time that the device computes.

    The device's time is estimated from the 24 h² FLOPs per token and layer of the matrix products.

    Args:
        total_tokens: Tokens in the pack.
        architecture: Shape of the encoder.
    """
    num_layers, hidden_size = architecture.num_layers, architecture.hidden_size
    device_s = num_layers * 24 * hidden_size**2 * total_tokens / _FLOPS_PER_S
    return num_layers * _LAUNCHES_PER_LAYER * _LAUNCH_S > _MIN_LAUNCH_SHARE * device_s
