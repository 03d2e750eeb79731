# SPDX-License-Identifier: MIT
"""Replay the NVTX ranges of this process, nested as an attached tool sees them."""

from collections import defaultdict
from dataclasses import dataclass

from tests.support.standin import nvtx_calls


@dataclass(frozen=True)
class ReplayedRanges:
    """Ranges that were open at the end, and the count of each stage."""

    open_at_the_end: list[str]
    counts: dict[str, int]


def replay_ranges() -> ReplayedRanges:
    """Replay all pushes and pops by thread; a pop without a push is an error."""
    stacks: dict[int, list[str]] = defaultdict(list)
    counts: dict[str, int] = defaultdict(int)
    for call in nvtx_calls():
        if call.call == "push":
            stacks[call.thread].append(call.fields[0])
            counts[call.fields[0]] += 1
        elif call.call == "pop":
            assert stacks[call.thread], "a range was popped that had not been pushed"
            stacks[call.thread].pop()
    return ReplayedRanges([stage for stack in stacks.values() for stage in stack], dict(counts))
