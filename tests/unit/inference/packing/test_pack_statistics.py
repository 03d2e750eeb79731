# SPDX-License-Identifier: MIT
"""The packing of padded batches, from their lengths."""

import pytest
import torch

from virnuc_profiler import padded_statistics


def test_the_efficiency_of_a_padded_batch_is_the_share_that_is_not_padding():
    statistics = padded_statistics([10, 5, 7], 12)
    assert (statistics.sequences, statistics.tokens, statistics.max_length) == (3, 22, 10)
    assert statistics.packing_efficiency == pytest.approx(22 / 36)


def test_rows_are_as_long_as_the_longest_sequence_by_default():
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    assert padded_statistics(mask.sum(1)).packing_efficiency == pytest.approx(6 / 8)


@pytest.mark.parametrize(
    ("lengths", "padded_to", "message"),
    [
        ([], None, "at least one"),
        ([[3, 4]], None, "at least one"),
        ([3, -1], None, "at least one"),
        ([3, 40], 10, "padded_to is 10, but the longest sequence has 40 tokens"),
    ],
)
def test_lengths_that_no_padded_batch_has_are_refused(lengths, padded_to, message):
    with pytest.raises(ValueError, match=message):
        padded_statistics(lengths, padded_to)
