# SPDX-License-Identifier: MIT
"""Helpers of the launcher's tests: batches, and marks that know the simulated streams."""

from tests.support.packed import RecordedBatch, packed_batch, proteins

COMPUTE, COPY_IN, COPY_OUT = 0, 1, 2


class Marks(RecordedBatch):
    """Keeps the stream of each stage, and what the stream had waited for by then."""

    def __init__(self, cuda):
        super().__init__(0)
        self.cuda = cuda
        self.streams = []
        self.knew = {}

    def mark(self, stage, stream=None):
        super().mark(stage, stream)
        self.streams.append((stage, stream))
        self.knew[stage] = dict(next(s for s in self.cuda.streams if s.cuda_stream == stream).knows)


def batch_of(*lengths):
    return packed_batch(proteins(lengths))


def token_four_times(tokens, *_):
    """A model that returns each token four times, (T, 4)."""
    return tokens[:, None].float().repeat(1, 4)
