# SPDX-License-Identifier: MIT
"""A random sample of a file's sequences, stratified by length, in random order.

The sequences are sorted by length and cut into as many strata of equal count as the sample is to have sequences; one
sequence of each stratum is drawn at random. The sample then has the file's distribution of lengths almost exactly: its
mean length varies far less than that of a simple random sample (W. G. Cochran, Sampling Techniques, 3rd ed. 1977,
chapter 5; one draw of each stratum is section 5A.12). Which lengths are drawn, and in which order, depends on the
lengths of the file and the seed alone: a file gives the same lengths in the same order however it is sorted.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.sweep.plan.workload_part import WorkloadPart

STRATIFIED: Final = "stratified"


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Sequences of a file, in the order in which they are run.

    Attributes:
        positions: (n,) different positions in the file.
        seed: Random seed that they were drawn with; None if they are not random.
        part: Part of the sample that they are; None for all of it.
    """

    positions: NDArray[np.int64]
    seed: int | None
    part: WorkloadPart | None = None

    @property
    def fingerprint(self) -> str:
        """``sha256:`` and the digest of the positions, in order."""
        return f"sha256:{hashlib.sha256(self.positions.astype('<i8').tobytes()).hexdigest()}"

    def facts(self) -> dict[str, Any]:
        """Return what says which sample this is, as workloads and runs hold it."""
        drawn = {"sampling": STRATIFIED, "seed": self.seed, "sample_fingerprint": self.fingerprint}
        return {**({} if self.seed is None else drawn), **({} if self.part is None else {"part": asdict(self.part)})}

    def divided(self, part: WorkloadPart) -> Sample:
        """Return a part of this sample: every `count`-th sequence, so that all parts have about the same lengths.

        Args:
            part: The part.
        """
        return Sample(self.positions[part.index :: part.count], self.seed, part)

    def run_id(self, run_id: str) -> str:
        """Return the name of a run of this sample, which no run of another part has.

        Args:
            run_id: Name of the run if the sample is not divided.
        """
        return run_id if self.part is None else run_id + self.part.suffix


def first_sequences(count: int) -> Sample:
    """Return the first sequences of a file, in its order.

    Args:
        count: Number of sequences.
    """
    return Sample(np.arange(count, dtype=np.int64), None)


def stratified_sample(lengths: NDArray[np.int64], count: int, seed: int) -> Sample:
    """Draw a sample of sequences, stratified by length; a sample of all of them is their random order.

    Args:
        lengths: (n,) lengths of the sequences, from 0 to 65,535; truncate longer ones as the run does.
        count: Number of sequences to draw, from 1 to n.
        seed: Random seed, at least 0.

    Raises:
        ValueError: `count` is out of its range, or a length is.
    """
    if not 1 <= count <= len(lengths):
        raise ValueError(f"count is {count}; it must be from 1 to the number of sequences, {len(lengths)}")
    if lengths.min() < 0 or lengths.max() > np.iinfo(np.uint16).max:
        raise ValueError(f"lengths are from {lengths.min()} to {lengths.max()}; they must be from 0 to 65535")
    by_length = np.argsort(lengths.astype(np.uint16), kind="stable")  # 16 bits are sorted by radix, in linear time
    bounds = np.arange(count + 1, dtype=np.int64) * len(lengths) // count
    # The raw stream of this generator is documented to stay the same; those of NumPy's distributions are not.
    stream = np.random.PCG64(seed)
    ranks = bounds[:-1] + (stream.random_raw(count) % np.diff(bounds).astype(np.uint64)).astype(np.int64)
    order = np.argsort(stream.random_raw(count), kind="stable")
    return Sample(by_length[ranks[order]], seed)
