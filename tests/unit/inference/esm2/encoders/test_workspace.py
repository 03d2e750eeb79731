# SPDX-License-Identifier: MIT
"""Where a layer puts what it makes: apart where it must be, in one place where it may be."""

from types import SimpleNamespace

import pytest
import torch

from virnuc_profiler.inference.esm2.encoders.fused import Workspace


def room_for(tokens, width, heads):
    device = torch.device("cpu")
    model = SimpleNamespace(embed_dim=width, attention_heads=heads, dtype=torch.float16, device=device)
    return Workspace.of(model, tokens)


@pytest.mark.parametrize("tokens", [0, 1, 64, 1001])
def test_what_is_needed_at_the_same_time_lies_apart(tokens):
    room = room_for(tokens, width=24, heads=2)
    assert room.normed.shape == (tokens, 24)
    assert room.qkv.shape == (tokens, 3, 2, 12)
    assert room.attended.shape == (tokens, 2, 12)
    assert room.inner.shape == (tokens, 96)
    assert all(part.is_contiguous() for part in (room.normed, room.qkv, room.attended, room.inner))
    together = room.normed, room.qkv, room.attended
    for number, part in enumerate(together):
        part.fill_(number)
    assert [part.eq(number).all().item() for number, part in enumerate(together)] == [True] * 3
    room.inner.fill_(7)
    assert room.normed.eq(0).all()


def test_it_is_one_piece_of_five_numbers_a_token_and_place():
    room = room_for(1024, width=320, heads=20)
    parts = room.normed, room.qkv, room.attended, room.inner
    assert len({part.untyped_storage().data_ptr() for part in parts}) == 1
    assert room.normed.untyped_storage().nbytes() == 5 * 1024 * 320 * 2


def test_each_part_begins_at_a_line_of_memory():
    room = room_for(1001, width=24, heads=2)
    begin = room.normed.data_ptr()
    assert [(part.data_ptr() - begin) % 128 for part in (room.qkv, room.attended, room.inner)] == [0, 0, 0]
