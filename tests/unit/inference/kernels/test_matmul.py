# SPDX-License-Identifier: MIT
"""Fused matrix products compared with separate steps; in Triton's interpreter if there is no GPU."""

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("triton")
pytest.importorskip("triton.tools.tensor_descriptor")

from virnuc_profiler.inference.kernels.elementwise import rotate_
from virnuc_profiler.inference.kernels.matmul import (
    fused_matmuls_supported,
    linear_gelu,
    qkv_rope,
    rope_fits_tiles,
    wave_efficiency,
)
from virnuc_profiler.inference.ops.rotary import RotaryAngles, exact_frequencies

DEVICE = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
HALF = torch.float16

pytestmark = pytest.mark.skipif(
    DEVICE.type == "cuda" and not fused_matmuls_supported(DEVICE), reason="needs Hopper's copy engine"
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
    out = torch.empty_like(found)
    assert linear_gelu(x, weight, bias, out=out) is out
    assert torch.equal(out, found)


@pytest.mark.parametrize(("heads", "head_dim", "rows"), [(4, 64, 130), (8, 32, 200), (16, 16, 5), (2, 128, 129)])
def test_a_product_with_queries_and_keys_rotated(heads, head_dim, rows):
    assert rope_fits_tiles(heads, head_dim)
    hidden_size = heads * head_dim
    x, weight, bias = (
        random(rows, hidden_size),
        random(3 * hidden_size, hidden_size, seed=1, scale=hidden_size**-0.5),
        random(3 * hidden_size, seed=2),
    )
    positions = (torch.arange(rows, device=DEVICE) % 77).int()
    cos, sin = RotaryAngles().covering(77, exact_frequencies(head_dim).to(DEVICE))
    found = qkv_rope(x, weight, bias, heads, positions, cos, sin)
    expected = (x.float() @ weight.float().t() + bias.float()).view(rows, 3, heads, head_dim)
    rotate_(expected, positions, cos, sin)
    torch.testing.assert_close(found.float(), expected.view(rows, -1), rtol=2e-3, atol=2e-3)
    out = torch.empty_like(found)
    assert qkv_rope(x, weight, bias, heads, positions, cos, sin, out=out) is out
    assert torch.equal(out, found)


def test_heads_that_do_not_fit_tiles_are_recognized():
    assert rope_fits_tiles(40, 64)  # 3B
    assert rope_fits_tiles(20, 64)  # 650M
    assert rope_fits_tiles(20, 32)  # 150M
    assert not rope_fits_tiles(2, 256)  # a head fills a tile, whose halves are finished separately
    assert not rope_fits_tiles(20, 24)  # 35M: a head spans two tiles
    assert not rope_fits_tiles(20, 16)  # 8M: a tile holds keys and values


def test_wave_efficiency_counts_the_idle_part_of_the_last_wave():
    multiprocessors = torch.cuda.get_device_properties(DEVICE).multi_processor_count if DEVICE.type == "cuda" else 1
    assert wave_efficiency(128 * multiprocessors, 256, DEVICE) == 1
    assert wave_efficiency(128 * multiprocessors + 1, 256, DEVICE) == (multiprocessors + 1) / (2 * multiprocessors)
    assert wave_efficiency(1, 1, DEVICE) == 1 / multiprocessors
