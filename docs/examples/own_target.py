# SPDX-License-Identifier: MIT
"""Tune a loop of your own: the program comes first, the target that wraps it last.

virnuc-profiler profile --target own_target.py:make --knob batch_size=16
virnuc-profiler sweep --target own_target.py:make --knob batch_size=4,16,64
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from virnuc_profiler import (
    BatchProfiler,
    BooleanKnob,
    Configuration,
    IntegerKnob,
    Knob,
    TargetOptions,
    TargetWorkload,
    padded_statistics,
)

BOS, PAD, EOS = 0, 1, 2


def load_model(device: str) -> nn.Module:
    """Make an encoder of one layer; yours reads a checkpoint."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(64, 4, 256, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Embedding(128, 64), layer).eval().to(device)


def padded_batches(records: Iterable[tuple[str, str]], size: int, sort: bool) -> Iterator[Tensor]:
    """Yield token ids, (B, longest)."""
    rows = [torch.tensor([BOS, *residues.encode(), EOS]) for _, residues in records]
    if sort:
        rows.sort(key=len)
    for start in range(0, len(rows), size):
        yield pad_sequence(rows[start : start + size], batch_first=True, padding_value=PAD)


class OwnTarget:
    """The loop, as the sweep drives it."""

    min_packing = None  # padded batches need not be 90 % full

    def __init__(self, options: TargetOptions) -> None:
        self.device = options.device
        self.model = load_model(options.device)

    def describe(self) -> dict[str, Any]:
        return {"name": "own loop", "model_name": "one layer", "versions": {"torch": torch.__version__}}

    def knobs(self) -> list[Knob]:
        size = IntegerKnob(name="batch_size", default=4, low=1, high=512, tries=(4, 16), help="sequences of a batch")
        return [size, BooleanKnob(name="sort_by_length", default=False, help="puts similar lengths together")]

    def run(self, workload: TargetWorkload, configuration: Configuration, profiler: BatchProfiler) -> Iterator[int]:
        batches = padded_batches(workload.records(), configuration.batch_size, configuration.sort_by_length)
        for tokens in profiler.batches(batches):
            profiler.current_batch.set_packing(padded_statistics((tokens != PAD).sum(1)))
            with torch.inference_mode(), profiler.stage("forward"):
                vectors = self.model(tokens.to(self.device)).mean(1)
            with profiler.stage("d2h"):
                vectors.cpu()
            yield len(tokens)


def make(options: TargetOptions) -> OwnTarget:
    """Return the target; `--target own_target.py:make` calls this."""
    return OwnTarget(options)
