# SPDX-License-Identifier: MIT
import itertools
import sys
import threading
import time

import numpy as np
import pytest

import virnuc_profiler
from virnuc_profiler import _core
from virnuc_profiler.inference.packing.pack_statistics import PackStatistics


def test_packs_are_offsets_into_an_order():
    order, pack_offsets = _core.pack_sequences(np.array([4, 6, 5, 5]), 10)
    assert order.dtype == pack_offsets.dtype == np.int64
    assert [order[a:b].tolist() for a, b in itertools.pairwise(pack_offsets)] == [
        [1, 0],
        [2, 3],
    ]


def test_results_outlive_the_call():
    results = [_core.pack_sequences(np.full(1000, 10), 10)[0] for _ in range(50)]
    assert all(np.array_equal(order, np.arange(1000)) for order in results)


@pytest.mark.parametrize(
    ("lengths", "budget", "error", "message"),
    [
        (np.array([3, 0]), 10, ValueError, r"lengths\[1\] is 0"),
        (np.array([-4]), 10, ValueError, r"lengths\[0\] is -4"),
        (np.array([3]), 0, ValueError, "token_budget is 0, must be at least 1"),
        (np.ones((2, 2), dtype=np.int64), 10, ValueError, "lengths must be one-dimensional"),
        (np.array([1.5]), 10, TypeError, None),
    ],
)
def test_misuse_of_the_packer(lengths, budget, error, message):
    with pytest.raises(error, match=message):
        _core.pack_sequences(lengths, budget)


@pytest.fixture
def threads_wait_for_the_gil():
    """Disable thread switching, so that other threads run only if one releases the GIL itself."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("threads_wait_for_the_gil")
def test_packing_lets_other_threads_run():
    lengths = np.random.default_rng(0).integers(1, 4000, 1_000_000)
    finished, naps = threading.Event(), []

    def nap():
        while not finished.is_set():
            naps.append(time.sleep(0.001))

    sleeper = threading.Thread(target=nap)
    sleeper.start()
    before = len(naps)
    _core.pack_sequences(lengths, 4096)
    during = len(naps) - before
    finished.set()
    sleeper.join()
    assert during > 3  # at most one would have run if the packer had held the GIL


def test_gather_writes_into_the_given_array():
    tokens, offsets = np.arange(6, dtype=np.uint8), np.array([0, 2, 3, 6])
    out = np.zeros(7, dtype=np.uint8)
    cu_seqlens = _core.gather_sequences(tokens, offsets, np.array([2, 0]), out)
    assert cu_seqlens.dtype == np.int32
    assert cu_seqlens.tolist() == [0, 3, 5]
    assert out.tolist() == [3, 4, 5, 0, 1, 0, 0]


def test_gather_refuses_an_array_that_it_would_have_to_copy():
    tokens, offsets, order = np.arange(6, dtype=np.uint8), np.array([0, 6]), np.array([0])
    with pytest.raises(TypeError):
        _core.gather_sequences(tokens, offsets, order, np.zeros(6, dtype=np.int64))
    read_only = np.zeros(6, dtype=np.uint8)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="not writeable"):
        _core.gather_sequences(tokens, offsets, order, read_only)
    with pytest.raises(ValueError, match="out holds 5 tokens"):
        _core.gather_sequences(tokens, offsets, order, np.zeros(5, dtype=np.uint8))


def test_statistics_of_a_pack():
    statistics = _core.pack_statistics(np.array([0, 5, 7, 17], dtype=np.int32), 20)
    assert (statistics.sequences, statistics.tokens) == (3, 17)
    assert (statistics.min_length, statistics.max_length) == (2, 10)
    assert statistics.mean_length == pytest.approx(17 / 3)
    assert statistics.sum_squared_lengths == 25 + 4 + 100
    assert statistics.packing_efficiency == pytest.approx(0.85)
    assert statistics.padding_tokens == 3 * 10 - 17
    assert not statistics.oversize


def test_an_oversize_pack_is_flagged_and_has_no_efficiency():
    statistics = _core.pack_statistics(np.array([0, 30], dtype=np.int32), 20)
    assert statistics.oversize
    assert statistics.packing_efficiency is None


@pytest.mark.parametrize(
    ("cu_seqlens", "budget", "message"),
    [
        ([], 5, "must start with 0"),
        ([1, 2], 5, "must start with 0"),
        ([0, 3, 2], 5, "decreases at position 2"),
        ([0, 3], 0, "token_budget is 0"),
        ([[0, 3]], 5, "cu_seqlens must be one-dimensional"),
    ],
)
def test_misuse_of_the_statistics(cu_seqlens, budget, message):
    with pytest.raises(ValueError, match=message):
        _core.pack_statistics(np.array(cu_seqlens, dtype=np.int32), budget)


def test_a_budget_that_several_sequences_exceed_is_refused():
    with pytest.raises(ValueError, match="2 sequences holds 30 tokens, more than its budget of 20"):
        _core.pack_statistics(np.array([0, 10, 30], np.int32), 20)


def test_statistics_are_public():
    found = virnuc_profiler.pack_statistics(np.array([0, 4, 10], np.int32), 16)
    assert isinstance(found, PackStatistics)
    assert (found.sequences, found.tokens, found.sum_squared_lengths, found.padding_tokens) == (2, 10, 52, 2)
    assert found.packing_efficiency == pytest.approx(10 / 16)
    padded = virnuc_profiler.pack_statistics(np.array([0, 4], np.int32))
    assert (padded.token_budget, padded.packing_efficiency) == (None, None)
    with pytest.raises(ValueError, match="cu_seqlens"):
        virnuc_profiler.pack_statistics(np.array([1, 4], np.int32))
