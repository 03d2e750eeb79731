# SPDX-License-Identifier: MIT
import pytest
import torch

from virnuc_profiler.targets.adapters.probe_batches import probe_pack, probe_padded


@pytest.mark.parametrize(("tokens", "expected"), [(1, (3, 1)), (100, (100, 1)), (4096, (4096, 4)), (5000, (4096, 4))])
def test_a_probe_has_about_the_tokens_that_were_asked_for(tokens, expected):
    ids, cu_seqlens, longest = probe_pack(tokens)
    assert (len(ids), len(cu_seqlens) - 1) == expected
    assert cu_seqlens.dtype == torch.int32
    assert cu_seqlens[-1] == len(ids) == longest * expected[1]


def test_a_padded_probe_is_the_same_pack_in_rows():
    given = []

    def forward(ids, mask):
        given.append((ids, mask))
        return torch.zeros(*ids.shape, 4)

    probe_padded(forward, 3072, "cpu")
    ((ids, mask),) = given
    assert ids.shape == mask.shape == (3, 1024)
    assert torch.equal(ids.flatten(), probe_pack(3072)[0])
    assert mask.all()
