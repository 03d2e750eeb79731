# SPDX-License-Identifier: MIT
"""The memory model fitted to measured peaks, and its predictions."""

import pytest

from virnuc_profiler.analysis.memory_footprint import (
    MemoryFootprint,
    PackPeak,
    exceeds_memory,
    fit_footprint,
    largest_fitting_budget,
    largest_pack_tokens,
    max_tokens_in_buffer,
    min_largest_pack_tokens,
    predict_peak_bytes,
)
from virnuc_profiler.inference.packing.collator import VarlenCollator

FOOTPRINT = MemoryFootprint(bytes_per_token=200_000.0, fixed_bytes=1_000_000_000)


def test_the_line_goes_through_both_peaks():
    small, large = PackPeak(2048, 1_409_600_000), PackPeak(4096, 1_819_200_000)
    footprint = fit_footprint(small, large)
    assert footprint == FOOTPRINT
    for peak in (small, large):
        assert predict_peak_bytes(footprint, peak.tokens) == peak.peak_bytes
    assert predict_peak_bytes(footprint, 100_000) == 21_000_000_000
    assert footprint.as_dict() == {"bytes_per_token": 200_000.0, "fixed_bytes": 1_000_000_000}


@pytest.mark.parametrize("large", [0, 999, 1000])
def test_peaks_that_do_not_grow_tell_nothing(large):
    assert fit_footprint(PackPeak(2048, 1000), PackPeak(4096, large)) is None


def test_packs_of_one_size_make_no_line():
    with pytest.raises(ValueError, match="the large pack has 2,048 tokens, the small one 2,048"):
        fit_footprint(PackPeak(2048, 1), PackPeak(2048, 2))


@pytest.mark.parametrize(("predicted", "too_large"), [(100, False), (111, False), (112, True)])
def test_doubt_is_in_favor_of_the_attempt(predicted, too_large):
    assert exceeds_memory(predicted, available_bytes=100) is too_large


def test_the_largest_budget_leaves_a_tenth():
    assert largest_fitting_budget(FOOTPRINT, 10_000_000_000) == 40_000
    assert predict_peak_bytes(FOOTPRINT, 40_000) == 9_000_000_000
    assert largest_fitting_budget(FOOTPRINT, 1_000_000_000) == 0


@pytest.mark.parametrize("available", [2 * 10**9, 10**10, 8 * 10**10])
def test_no_budget_is_called_fitting_and_too_large(available):
    fitting = largest_fitting_budget(FOOTPRINT, available)
    assert not exceeds_memory(predict_peak_bytes(FOOTPRINT, fitting), available)


@pytest.mark.parametrize(
    ("buffer_size", "most"),
    [
        (2_000, 430_000),
        (10_000, 430_000),
        (500, 107_500),
        (1_500, 215_000),  # two buffers, one of them with at least half of the tokens
    ],
)
def test_the_buffer_holds_its_share_of_the_tokens(buffer_size, most):
    assert max_tokens_in_buffer(buffer_size, num_sequences=2_000, tokens=430_000) == most


@pytest.mark.parametrize(
    ("token_budget", "largest", "least"),
    [
        (8_192, 8_192, 7_193),
        (1_500, 1_500, 1_000),  # the longest sequence alone
        (107_600, 107_500, 106_601),
        (10**9, 107_500, 107_500),  # the whole buffer is one pack
    ],
)
def test_a_pack_is_no_larger_than_its_budget_and_what_is_buffered(token_budget, largest, least):
    assert largest_pack_tokens(token_budget, 107_500) == largest
    assert min_largest_pack_tokens(token_budget, 107_500, longest_tokens=1_000) == least


@pytest.mark.parametrize("buffer_size", [7, 40, 64, 300])
@pytest.mark.parametrize("token_budget", [210, 320, 1_100, 5_000, 10**6])
@pytest.mark.parametrize("ascending", [True, False])
def test_a_real_packing_has_no_smaller_largest_pack(token_budget, buffer_size, ascending):
    residues = [10 + 11 * number % 199 for number in range(150)] + [100] * 50
    residues = sorted(residues) if ascending else residues
    collator = VarlenCollator(max_tokens_per_batch=token_budget, buffer_size=buffer_size)
    packs = [*collator([(str(place), "A" * count) for place, count in enumerate(residues)]), *collator.flush()]
    found = max(pack.statistics.tokens for pack in packs)
    buffered = max_tokens_in_buffer(buffer_size, len(residues), sum(residues) + 2 * len(residues))
    assert found >= min_largest_pack_tokens(token_budget, buffered, max(residues) + 2)
