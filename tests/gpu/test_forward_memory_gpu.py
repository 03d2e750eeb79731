# SPDX-License-Identifier: MIT
"""Device memory that a forward pass takes in addition to the weights."""

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
    gpu = torch.device("cuda", torch.cuda.current_device())
    gc.collect()
    DeviceMemory(gpu).release_cache()
    return gpu


def peak_elements_per_token_and_channel(model, packs):
    """Peak memory in addition to the weights, per token of the largest pack and per element of h."""
    on_device = [(pack.tokens.cuda(), pack.cu_seqlens.cuda(), pack.max_seqlen) for pack in packs]
    with torch.inference_mode():
        model(*on_device[0])  # allocates tables, kernels and cuBLAS's workspace
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        for pack in on_device:
            model(*pack)
    return (torch.cuda.max_memory_allocated() - before) / max(len(pack.tokens) for pack in packs) / model.hidden_size


@pytest.mark.parametrize(("precision", "numbers"), [("bf16", 6), ("fp8", 8)])
def test_a_pass_takes_no_more_than_a_layer_needs(device, precision, numbers):
    """A pass takes `numbers` bf16 elements per token and element of h, the residual stream included."""
    model, _ = load_esm2_model("650M", device, precision=precision, weights="random")
    packs = [packed_batch(proteins(lengths)) for lengths in PACKS]
    assert peak_elements_per_token_and_channel(model, packs) < 1.03 * numbers * model.dtype.itemsize


def test_packs_of_other_sizes_do_not_fragment_memory(device):
    """Under a memory limit, the allocator reserves hardly more than the peak of what is in use."""
    model, _ = load_esm2_model("650M", device, precision="bf16", weights="random")
    packs = [packed_batch(proteins(lengths)) for lengths in PACKS]
    largest = max(len(pack.tokens) for pack in packs)
    limit = 1.15 * 6 * largest * model.hidden_size * model.dtype.itemsize
    total = torch.cuda.get_device_properties(device).total_memory
    with torch.inference_mode():
        small = packs[0]
        model(small.tokens.cuda(), small.cu_seqlens.cuda(), small.max_seqlen)
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + limit) / total, device)
        try:
            for pack in 3 * packs:
                model(pack.tokens.cuda(), pack.cu_seqlens.cuda(), pack.max_seqlen)
            torch.cuda.synchronize()
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, device)
