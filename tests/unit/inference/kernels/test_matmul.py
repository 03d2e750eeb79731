# SPDX-License-Identifier: MIT
"""Products with what follows them in one kernel, against one step after the other; by Triton's interpreter on CPUs."""

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("triton")
pytest.importorskip("triton.tools.tensor_descriptor")

from virnuc_profiler.inference.kernels.elementwise import rotate_
from virnuc_profiler.inference.kernels.matmul import (
    filled,
    fused_products_run_on,
    linear_gelu,
    qkv_rope,
    rotates_in_tiles,
)
from virnuc_profiler.inference.ops.rotary import RotaryAngles

DEVICE = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
HALF = torch.float16

pytestmark = pytest.mark.skipif(
    DEVICE.type == "cuda" and not fused_products_run_on(DEVICE), reason="needs Hopper's copy engine"
)


def random(*shape, seed=0, scale=1.0):
    return (scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))).to(DEVICE, HALF)


@pytest.mark.parametrize(("rows", "depth", "columns"), [(1, 64, 256), (128, 128, 512), (300, 320, 1280), (130, 72, 24)])
def test_a_product_with_the_exact_gelu(rows, depth, columns):
    x, weight, bias = random(rows, depth), random(columns, depth, seed=1, scale=depth**-0.5), random(columns, seed=2)
    found = linear_gelu(x, weight, bias)
    expected = F.gelu(x.float() @ weight.float().t() + bias.float())
    assert (found.dtype, found.shape) == (HALF, (rows, columns))
    torch.testing.assert_close(found.float(), expected, rtol=2e-3, atol=2e-3)
    room = torch.empty_like(found)
    assert linear_gelu(x, weight, bias, out=room) is room
    assert torch.equal(room, found)


@pytest.mark.parametrize(("heads", "head_dim", "rows"), [(4, 64, 130), (8, 32, 200), (16, 16, 5), (2, 128, 129)])
def test_a_product_with_queries_and_keys_rotated(heads, head_dim, rows):
    assert rotates_in_tiles(heads, head_dim)
    width = heads * head_dim
    x, weight, bias = (
        random(rows, width),
        random(3 * width, width, seed=1, scale=width**-0.5),
        random(3 * width, seed=2),
    )
    positions = (torch.arange(rows, device=DEVICE) % 77).int()
    cos, sin = RotaryAngles().covering(77, head_dim, DEVICE)
    found = qkv_rope(x, weight, bias, heads, positions, cos, sin)
    expected = (x.float() @ weight.float().t() + bias.float()).view(rows, 3, heads, head_dim)
    rotate_(expected, positions, cos, sin)
    torch.testing.assert_close(found.float(), expected.view(rows, -1), rtol=2e-3, atol=2e-3)
    room = torch.empty_like(found)
    assert qkv_rope(x, weight, bias, heads, positions, cos, sin, out=room) is room
    assert torch.equal(room, found)


def test_heads_that_do_not_fit_tiles_are_known():
    assert rotates_in_tiles(40, 64)  # 3B
    assert rotates_in_tiles(20, 64)  # 650M
    assert rotates_in_tiles(20, 32)  # 150M
    assert not rotates_in_tiles(2, 256)  # as wide as a tile, which is finished in two halves
    assert not rotates_in_tiles(20, 24)  # 35M: a head lies across two tiles
    assert not rotates_in_tiles(20, 16)  # 8M: so do keys and values


def test_what_the_last_round_leaves_idle_counts():
    at_a_time = torch.cuda.get_device_properties(DEVICE).multi_processor_count if DEVICE.type == "cuda" else 1
    assert filled(128 * at_a_time, 256, DEVICE) == 1
    assert filled(128 * at_a_time + 1, 256, DEVICE) == (at_a_time + 1) / (2 * at_a_time)
    assert filled(1, 1, DEVICE) == 1 / at_a_time
