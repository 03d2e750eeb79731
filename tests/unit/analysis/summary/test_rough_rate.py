# SPDX-License-Identifier: MIT
"""The rate of a run that is too short for a steady one."""

import pytest

from tests.support.runs import table_of
from virnuc_profiler.analysis.summary.rough_rate import rate_after_first_batch
from virnuc_profiler.telemetry.records import BatchRecord, PackingRecord, StageRecord

S = 1_000_000_000


def batch(index, ended_ns, tokens, sequences):
    packing = PackingRecord(sequences, tokens, 1, tokens, tokens**2, 4096)
    return BatchRecord(index, 0, ended_ns, (StageRecord("forward", 0, ended_ns, None, None),), packing)


def test_start_up_is_left_out_and_packs_count_by_their_tokens():
    machine = [
        batch(0, 60_000_000_000, 3000, 5),
        batch(1, 62_000_000_000, 2000, 20),
        batch(2, 63_000_000_000, 1000, 15),
    ]
    # 1,000 tokens a second, and 6,000 tokens hold 40 sequences
    assert rate_after_first_batch(table_of(machine)) == pytest.approx(40 / 6)


def test_a_single_batch_has_none():
    assert rate_after_first_batch(table_of([batch(0, 10, 100, 5)])) is None
    assert rate_after_first_batch(table_of([])) is None
