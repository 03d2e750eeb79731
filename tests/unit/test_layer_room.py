# SPDX-License-Identifier: MIT
"""Where a layer puts what it makes: apart where it must be, in one place where it may be."""

import pytest
import torch

from virnuc_profiler.inference.layer_room import LayerRoom


@pytest.mark.parametrize("tokens", [0, 1, 64, 1001])
def test_what_is_needed_at_the_same_time_lies_apart(tokens):
    x = torch.empty(tokens, 24, dtype=torch.float16)
    room = LayerRoom.like(x, heads=2)
    assert room.normed.shape == x.shape
    assert room.qkv.shape == (tokens, 3, 2, 12)
    assert room.attended.shape == (tokens, 2, 12)
    assert room.inner.shape == (tokens, 96)
    parts = room.normed, room.qkv, room.attended, room.inner
    assert all(part.is_contiguous() and part.dtype == x.dtype for part in parts)
    for number, part in enumerate(parts[:3]):
        part.fill_(number)
    assert [part.eq(number).all().item() for number, part in enumerate(parts[:3])] == [True] * 3
    room.inner.fill_(7)
    assert room.normed.eq(0).all()


def test_it_is_one_piece_of_five_numbers_a_token_and_place():
    room = LayerRoom.like(torch.empty(1024, 320, dtype=torch.bfloat16), heads=20)
    pieces = {part.untyped_storage().data_ptr() for part in (room.normed, room.qkv, room.attended, room.inner)}
    assert len(pieces) == 1
    assert room.normed.untyped_storage().nbytes() == 5 * 1024 * 320 * 2


def test_each_part_begins_at_a_line_of_memory():
    room = LayerRoom.like(torch.empty(1001, 24, dtype=torch.float16), heads=2)
    begin = room.normed.data_ptr()
    assert [(part.data_ptr() - begin) % 128 for part in (room.qkv, room.attended, room.inner)] == [0, 0, 0]
