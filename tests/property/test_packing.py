# SPDX-License-Identifier: MIT
import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from virnuc_profiler import _core
from virnuc_profiler.inference.batches import EncodedChunk
from virnuc_profiler.inference.packing.collator import MAX_HELD_BACK, VarlenCollator

lengths_and_budget = st.integers(1, 300).flatmap(
    lambda budget: st.tuples(st.lists(st.integers(1, 2 * budget), max_size=200), st.just(budget))
)


def packs(lengths, budget):
    order, pack_offsets = _core.pack_sequences(np.array(lengths, dtype=np.int64), budget)
    return [order[a:b].tolist() for a, b in itertools.pairwise(pack_offsets)]


@given(lengths_and_budget)
def test_each_sequence_is_in_one_pack_and_no_pack_is_over_budget(case):
    lengths, budget = case
    found = packs(lengths, budget)
    assert sorted(itertools.chain.from_iterable(found)) == list(range(len(lengths)))
    for pack in found:
        assert sum(lengths[i] for i in pack) <= budget or len(pack) == 1
        assert pack


@given(lengths_and_budget)
def test_packing_is_deterministic_and_ties_go_by_position(case):
    lengths, budget = case
    found = packs(lengths, budget)
    assert found == packs(lengths, budget)
    order = list(itertools.chain.from_iterable(found))
    for length in set(lengths):
        same_length = [i for pack in found for i in pack if lengths[i] == length]
        assert sorted(same_length) == [i for i, one in enumerate(lengths) if one == length]
    # Packs are opened in the order of their longest sequences, the earlier one first among equals.
    openers = [(-lengths[pack[0]], pack[0]) for pack in found]
    assert openers == sorted(openers)
    assert len(order) == len(lengths)


@given(lengths_and_budget)
def test_not_more_packs_than_the_bound(case):
    """Any two packs of a best-fit packing contain more than one budget together."""
    lengths, budget = case
    lengths = [min(length, budget) for length in lengths]
    assert len(packs(lengths, budget)) <= max(2 * math.ceil(sum(lengths) / budget) - 1, 0)


@given(st.integers(2, 1000), st.lists(st.lists(st.integers(1, 999), max_size=8), min_size=1, max_size=20))
def test_near_the_optimum_where_it_is_known(budget, cuts):
    """Best-fit decreasing needs at most 11/9 of the optimal number of packs, plus 4 (Johnson 1974)."""
    lengths = []
    for cut in cuts:
        edges = sorted({0, budget, *(one for one in cut if one < budget)})
        lengths += [b - a for a, b in itertools.pairwise(edges)]
    assert len(cuts) <= len(packs(lengths, budget)) <= 11 / 9 * len(cuts) + 4


@given(
    lengths_and_budget,
    st.integers(1, 60),
    st.lists(st.integers(1, 70), min_size=1, max_size=10),
    st.booleans(),
)
def test_the_collator_emits_each_sequence_once_and_holds_back_a_bounded_share(case, buffer_size, sizes, packing):
    lengths, budget = case
    collator = VarlenCollator(
        max_tokens_per_batch=budget, max_sequence_length=1000, buffer_size=buffer_size, enable_packing=packing
    )
    seen = []
    start = 0
    for size in itertools.cycle(sizes):
        if start >= len(lengths):
            break
        part = np.array(lengths[start : start + size], dtype=np.int64)
        positions = np.arange(start, start + len(part))
        offsets = np.concatenate([[0], np.cumsum(part)])
        emitted = collator(EncodedChunk(positions, np.repeat(positions % 251, part).astype(np.uint8), offsets))
        start += len(part)
        seen += emitted
        waiting = start - sum(len(batch.positions) for batch in seen)
        assert waiting < buffer_size or not packing
        if emitted and packing:
            assert waiting <= MAX_HELD_BACK * buffer_size + size
    seen += collator.flush()
    assert sorted(position for batch in seen for position in batch.positions.tolist()) == list(range(len(lengths)))
    for batch in seen:
        sizes_inside = [lengths[i] for i in batch.positions]
        assert batch.tokens.tolist() == np.repeat(batch.positions % 251, sizes_inside).tolist()
        assert batch.statistics.tokens <= budget or len(sizes_inside) == 1
        efficiency = batch.statistics.packing_efficiency
        assert efficiency is None or 0 < efficiency <= 1
