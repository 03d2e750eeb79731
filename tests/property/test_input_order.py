# SPDX-License-Identifier: MIT
"""Input order is restored after any packing, and results are delivered as early as possible."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from virnuc_profiler.inference.batches import InferenceResult
from virnuc_profiler.inference.input_order import InputOrder


@st.composite
def packings(draw):
    """Return positions by place, and the batches in which the places arrive."""
    count = draw(st.integers(0, 60))
    positions = draw(st.permutations(range(count)))
    places = draw(st.permutations(range(count)))
    cuts = sorted(draw(st.lists(st.integers(0, count), max_size=20)))
    return np.array(positions, dtype=np.int64), np.split(np.array(places, dtype=np.int64), cuts)


@given(packings())
def test_sequences_come_in_input_order_each_once_and_as_early_as_can_be(packing):
    position_of, batches = packing
    order = InputOrder()
    come, groups, max_held_back = set(), [], 0
    for number, places in enumerate(batches):
        positions = position_of[places]
        embeddings = torch.from_numpy(np.stack((places, positions), axis=1).astype(np.float32))
        result = InferenceResult([f"seq{one}" for one in positions], embeddings, number, positions)
        groups += order.add(result, places)
        come |= set(places.tolist())
        first_missing = next(place for place in range(len(position_of) + 1) if place not in come)
        assert sum(len(group.positions) for group in groups) == first_missing
        assert order.held_back == len(come) - first_missing
        max_held_back = max(max_held_back, order.held_back)
    groups += order.rest()
    largest_batch = max(map(len, batches))
    assert len(order._store._positions) <= 2 * (max_held_back + largest_batch)
    assert order.held_back == 0
    assert [group.batch_idx for group in groups] == list(range(len(groups)))
    assert all(len(group.positions) for group in groups)
    found = [int(position) for group in groups for position in group.positions]
    assert found == position_of.tolist()
    assert [name for group in groups for name in group.sequence_ids] == [f"seq{one}" for one in position_of]
    rows = [row.tolist() for group in groups for row in group.embeddings]
    assert rows == [[place, position] for place, position in enumerate(position_of.tolist())]


@given(packings(), st.data())
def test_places_with_gaps_come_ascending_too(packing, data):
    position_of, batches = packing
    missing = data.draw(st.sets(st.integers(0, max(0, len(position_of) - 1))))
    order = InputOrder()
    found = []
    for places in batches:
        kept = np.array([place for place in places if place not in missing], dtype=np.int64)
        result = InferenceResult([""] * len(kept), torch.zeros(len(kept), 1), 0, kept)
        found += [place for group in order.add(result, kept) for place in group.positions]
    found += [place for group in order.rest() for place in group.positions]
    assert found == [place for place in range(len(position_of)) if place not in missing]
