# SPDX-License-Identifier: MIT
"""What a pass holds on the device beside the weights."""

import gc

import pytest
import torch

from tests.support.packed import packed_batch, proteins
from virnuc_profiler import load_esm2_model
from virnuc_profiler.sweep.machine.device_memory import DeviceMemory

pytestmark = pytest.mark.gpu

PACKS = ([400] * 60, [700] * 40, [90] * 250, [1022] * 30)


@pytest.fixture
def device():
    place = torch.device("cuda", torch.cuda.current_device())
    gc.collect()
    DeviceMemory(place).release_cache()
    return place


def max_held_per_token_and_place(model, packs):
    """The most bytes beside the weights while packs are encoded one by one, for the tokens of the largest."""
    on_device = [(pack.tokens.cuda(), pack.cu_seqlens.cuda(), pack.max_seqlen) for pack in packs]
    with torch.inference_mode():
        model(*on_device[0])  # tables, kernels, and cuBLAS's work space
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        for pack in on_device:
            model(*pack)
    return (torch.cuda.max_memory_allocated() - before) / max(len(pack.tokens) for pack in packs) / model.embed_dim


@pytest.mark.parametrize(("precision", "numbers"), [("bf16", 6), ("fp8", 8)])
def test_no_more_is_held_than_a_layer_needs(device, precision, numbers):
    """For each token and place of its vector so many numbers in bf16, the residual stream's among them."""
    model, _ = load_esm2_model("650M", device, precision=precision, weights="random")
    packs = [packed_batch(proteins(lengths)) for lengths in PACKS]
    assert max_held_per_token_and_place(model, packs) < 1.03 * numbers * model.dtype.itemsize


def test_packs_of_other_sizes_leave_no_pieces_that_fit_nothing(device):
    """What the allocator has taken is hardly more than what is held at the same time, once a cap makes it tidy up."""
    model, _ = load_esm2_model("650M", device, precision="bf16", weights="random")
    packs = [packed_batch(proteins(lengths)) for lengths in PACKS]
    largest = max(len(pack.tokens) for pack in packs)
    room = 1.15 * 6 * largest * model.embed_dim * model.dtype.itemsize
    total = torch.cuda.get_device_properties(device).total_memory
    with torch.inference_mode():
        small = packs[0]
        model(small.tokens.cuda(), small.cu_seqlens.cuda(), small.max_seqlen)
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + room) / total, device)
        try:
            for pack in 3 * packs:
                model(pack.tokens.cuda(), pack.cu_seqlens.cuda(), pack.max_seqlen)
            torch.cuda.synchronize()
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, device)
