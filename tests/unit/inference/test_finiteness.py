# SPDX-License-Identifier: MIT
import logging

import pytest
import torch

from virnuc_profiler.errors import NonFiniteError
from virnuc_profiler.inference.finiteness import check_finite, non_finite_rows

IDS = [f"seq{number}" for number in range(20)]


def broken(*rows, value=torch.nan, column=3):
    embeddings = torch.randn(20, 8)
    embeddings[list(rows), column] = value
    return embeddings


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("column", [0, 7])
def test_a_single_non_finite_value_is_found(value, column):
    assert non_finite_rows(broken(4, 11, value=value, column=column)).tolist() == [4, 11]


def test_infinities_that_cancel_out_are_found():
    embeddings = broken(2, value=torch.inf)
    embeddings[2, 0] = -torch.inf
    embeddings[9, 0] = -torch.inf
    assert non_finite_rows(embeddings).tolist() == [2, 9]


def test_large_numbers_are_finite_although_their_sum_is_not():
    assert non_finite_rows(torch.full((20, 8), 3e38)).tolist() == []
    assert non_finite_rows(torch.empty(0, 8)).tolist() == []


@pytest.mark.parametrize("reaction", ["report", "raise"])
def test_finite_embeddings_are_not_mentioned(reaction, caplog):
    assert check_finite(broken(), IDS, 0, reaction) == ()
    assert caplog.records == []


def test_a_warning_names_five_and_counts_all(caplog):
    with caplog.at_level(logging.WARNING):
        assert check_finite(broken(*range(8)), IDS, 3, "report") == IDS[:8]
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "NaN or infinity in the embeddings of 8 of the 20 sequences of batch 3: "
        "seq0, seq1, seq2, seq3, seq4 and 3 more; check the weights"
    )


def test_the_error_carries_all_identifiers(caplog):
    with pytest.raises(NonFiniteError, match=r"of 2 of the 20 sequences of batch 3: seq5, seq17; check") as caught:
        check_finite(broken(5, 17), IDS, 3, "raise")
    assert caught.value.sequence_ids == ["seq5", "seq17"]
    assert caplog.records == []


def test_identifiers_are_escaped_in_the_message_only(caplog):
    names = ["a\x1b[2J", "\u202egnp", "x" * 5000, *IDS[3:]]
    with pytest.raises(NonFiniteError, match=r"a\\x1b\[2J, \\u202egnp, x+…; check") as caught:
        check_finite(broken(0, 1, 2), names, 3, "raise")
    assert str(caught.value).isprintable()
    assert caught.value.sequence_ids == names[:3]
    check_finite(broken(0, 1, 2), names, 3, "report")
    assert caplog.records[0].getMessage() == str(caught.value)
