# SPDX-License-Identifier: MIT
"""The layout of a layer's intermediate results: separate if needed at the same time, else shared."""

from types import SimpleNamespace

import pytest
import torch

from virnuc_profiler.inference.esm2.encoders.workspace import Workspace


def workspace_for(tokens, hidden_size, heads):
    device = torch.device("cpu")
    model = SimpleNamespace(hidden_size=hidden_size, attention_heads=heads, dtype=torch.float16, device=device)
    return Workspace.for_pack(model, tokens)


@pytest.mark.parametrize("tokens", [0, 1, 64, 1001])
def test_simultaneous_parts_do_not_overlap(tokens):
    workspace = workspace_for(tokens, hidden_size=24, heads=2)
    assert workspace.normed.shape == (tokens, 24)
    assert workspace.qkv.shape == (tokens, 3, 2, 12)
    assert workspace.attended.shape == (tokens, 2, 12)
    assert workspace.inner.shape == (tokens, 96)
    assert all(part.is_contiguous() for part in (workspace.normed, workspace.qkv, workspace.attended, workspace.inner))
    simultaneous = workspace.normed, workspace.qkv, workspace.attended
    for number, part in enumerate(simultaneous):
        part.fill_(number)
    assert [part.eq(number).all().item() for number, part in enumerate(simultaneous)] == [True] * 3
    workspace.inner.fill_(7)
    assert workspace.normed.eq(0).all()


def test_a_workspace_is_one_block_of_5_h_elements_per_token():
    workspace = workspace_for(1024, hidden_size=320, heads=20)
    parts = workspace.normed, workspace.qkv, workspace.attended, workspace.inner
    assert len({part.untyped_storage().data_ptr() for part in parts}) == 1
    assert workspace.normed.untyped_storage().nbytes() == 5 * 1024 * 320 * 2


def test_each_part_starts_at_a_128_byte_line():
    workspace = workspace_for(1001, hidden_size=24, heads=2)
    begin = workspace.normed.data_ptr()
    assert [(part.data_ptr() - begin) % 128 for part in (workspace.qkv, workspace.attended, workspace.inner)] == [
        0,
        0,
        0,
    ]
