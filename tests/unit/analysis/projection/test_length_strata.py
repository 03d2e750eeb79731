# SPDX-License-Identifier: MIT
"""Lengths counted in strata."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virnuc_profiler.analysis.model_cost import ModelShape, forward_flops
from virnuc_profiler.analysis.projection.length_strata import UPPER_BOUNDS, LengthStrata, strata_of
from virnuc_profiler.sweep.plan.sample import stratified_sample

LENGTHS = st.lists(st.integers(2, 1024), min_size=1, max_size=200).map(np.array)


@given(LENGTHS)
def test_each_stratum_counts_the_sequences_of_its_lengths(lengths):
    strata = strata_of(lengths)
    lower = 0
    for place, bound in enumerate(UPPER_BOUNDS):
        inside = lengths[(lengths > lower) & (lengths <= bound)]
        assert strata.sequences[place] == len(inside)
        assert strata.tokens[place] == inside.sum()
        assert strata.squares[place] == (inside**2).sum()
        lower = bound
    assert (strata.total_sequences, strata.total_tokens) == (len(lengths), lengths.sum())
    assert strata.mean_tokens == pytest.approx(lengths.mean())


@given(LENGTHS)
def test_the_work_of_the_strata_adds_up_to_that_of_the_sequences(lengths):
    shape = ModelShape(6, 320)
    strata = strata_of(lengths)
    assert sum(strata.work(shape)) == forward_flops(int(lengths.sum()), int((lengths**2).sum()), shape)
    assert sum(strata.work(None)) == lengths.sum()


def test_longer_sequences_than_the_last_bound_are_counted_with_it():
    assert strata_of(np.array([2, 5000])).sequences == (1, 0, 0, 0, 0, 0, 0, 0, 1)


@given(LENGTHS)
def test_strata_are_the_same_after_a_round_trip(lengths):
    strata = strata_of(lengths)
    assert LengthStrata.from_json(json.loads(json.dumps(strata.to_json()))) == strata


@pytest.mark.parametrize(
    "damage",
    [
        {"tokens": None},
        {"tokens": [1]},
        {"tokens": [-1] * 9},
        {"tokens": [10**400] * 9},
        {"tokens": [0] * 9},
        {"squares": [1] * 9},
        {"sequences": [0.5] * 9},
        {"sequences": [0] * 9},
        {"upper_bounds": list(range(9, 0, -1))},
    ],
)
def test_metadata_that_are_no_strata_are_none(damage):
    assert LengthStrata.from_json({**strata_of(np.array([2, 100])).to_json(), **damage}) is None
    assert LengthStrata.from_json("strata") is None


@given(LENGTHS.filter(lambda lengths: len(lengths) > 1))
def test_the_error_of_a_random_samples_mean_is_that_of_the_textbook(lengths):
    expected = lengths.std(ddof=1) / lengths.mean() / np.sqrt(len(lengths))
    assert strata_of(lengths).error_of_mean(stratified=False) == pytest.approx(expected, abs=1e-7)


def test_a_stratified_samples_mean_is_surer():
    lengths = np.arange(2, 1024)
    simple, stratified = (strata_of(lengths).error_of_mean(stratified=flag) for flag in (False, True))
    assert stratified < simple / 4


@pytest.mark.parametrize("count", [2, 4, 12, 23, 24, 72])
def test_the_error_of_a_small_stratified_sample_holds_its_mean(count):
    random = np.random.default_rng(1)
    file = np.concatenate(
        [random.integers(52, 102, 4000), random.integers(103, 302, 3500), random.integers(303, 1002, 2500)]
    )
    held = 0
    for seed in range(200):
        lengths = file[stratified_sample(file, count, seed).positions]
        error = strata_of(lengths).error_of_mean(stratified=True)
        held += abs(np.log(lengths.mean() / file.mean())) <= 1.96 * error
    assert held >= 0.93 * 200


def test_one_sequence_says_little_of_a_mean():
    assert strata_of(np.array([52])).error_of_mean(stratified=False) == 1
