# SPDX-License-Identifier: MIT
"""Samples of sequences that are stratified by length."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virnuc_profiler.sweep.plan.sample import stratified_sample

LENGTHS = st.lists(st.integers(2, 1024), min_size=1, max_size=300).map(np.array)


@st.composite
def drawings(draw):
    lengths = draw(LENGTHS)
    return lengths, draw(st.integers(1, len(lengths))), draw(st.integers(0, 10**18))


@given(drawings())
def test_a_sample_has_the_right_count_and_no_sequence_twice(drawing):
    lengths, count, seed = drawing
    positions = stratified_sample(lengths, count, seed).positions
    assert len(positions) == len(set(positions.tolist())) == count
    assert positions.min() >= 0
    assert positions.max() < len(lengths)


@given(drawings())
def test_each_range_of_lengths_has_its_share_within_one_sequence(drawing):
    lengths, count, seed = drawing
    drawn = lengths[stratified_sample(lengths, count, seed).positions]
    for limit in range(0, 1100, 50):
        share = (lengths <= limit).sum() * count / len(lengths)
        assert abs((drawn <= limit).sum() - share) <= 1 + 1e-9


@given(drawings())
def test_the_mean_length_is_close_to_that_of_the_file(drawing):
    """By the distribution of lengths being off by one sequence at most."""
    lengths, count, seed = drawing
    drawn = lengths[stratified_sample(lengths, count, seed).positions]
    assert abs(drawn.mean() - lengths.mean()) <= (lengths.max() - lengths.min()) / count + 1e-9


@given(drawings(), st.randoms(use_true_random=False))
def test_the_order_of_the_file_does_not_matter(drawing, random):
    lengths, count, seed = drawing
    drawn = lengths[stratified_sample(lengths, count, seed).positions]
    order = list(range(len(lengths)))
    random.shuffle(order)
    for other in (lengths[order], np.sort(lengths), np.sort(lengths)[::-1]):
        assert (other[stratified_sample(other, count, seed).positions] == drawn).all()


@given(drawings())
def test_the_same_seed_draws_the_same_sample(drawing):
    one, other = (stratified_sample(*drawing) for _ in range(2))
    assert (one.positions == other.positions).all()
    assert one.facts() == other.facts()


def test_the_stream_of_random_numbers_does_not_change():
    """A sweep that another version of NumPy resumes has the same sequences."""
    assert stratified_sample(np.arange(2, 102), 8, 42).positions.tolist() == [8, 97, 33, 76, 14, 57, 68, 49]


def test_another_seed_draws_another_sample_in_random_order():
    lengths = np.arange(2, 1002)
    one, other = (stratified_sample(lengths, 100, seed) for seed in (1, 2))
    assert one.fingerprint != other.fingerprint
    assert abs(np.corrcoef(np.arange(100), lengths[one.positions])[0, 1]) < 0.3


def test_every_sequence_is_drawn_about_equally_often():
    samples = (stratified_sample(np.arange(2, 42), 7, seed) for seed in range(2000))
    counts = sum(np.bincount(sample.positions, minlength=40) for sample in samples)
    assert counts.min() > 0.7 * 2000 * 7 / 40
    assert counts.max() < 1.4 * 2000 * 7 / 40


@pytest.mark.parametrize("count", [0, 4])
def test_a_count_that_the_file_does_not_have_is_refused(count):
    message = f"count is {count}; it must be from 1 to the number of sequences, 3"
    with pytest.raises(ValueError, match=re.escape(message)):
        stratified_sample(np.array([2, 3, 4]), count, 0)


def test_lengths_that_are_not_truncated_are_refused():
    with pytest.raises(ValueError, match="lengths are from 2 to 70000; they must be from 0 to 65535"):
        stratified_sample(np.array([2, 70_000]), 1, 0)
