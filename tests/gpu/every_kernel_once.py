# SPDX-License-Identifier: MIT
"""Run every kernel once, for ``compute-sanitizer --tool memcheck python -m tests.gpu.every_kernel_once``.

PyTorch's allocator hands out parts of large blocks, inside of which no tool sees a stray access: it is turned off.
"""

import os

os.environ["PYTORCH_NO_CUDA_MEMORY_CACHING"] = "1"

import torch

from tests.support.packed import packed_batch, proteins
from virnuc_profiler import AsyncInferenceRunner, load_esm2_model
from virnuc_profiler.inference.esm2.precision_check import MIN_COSINE
from virnuc_profiler.inference.execution.output_buffers import TimestampedOutput
from virnuc_profiler.inference.kernels.embedding import describe_tokens
from virnuc_profiler.inference.kernels.graph_inputs import load_graph_inputs
from virnuc_profiler.inference.kernels.matmul import fused_matmuls_supported, linear_gelu, qkv_rope
from virnuc_profiler.inference.kernels.mean_pool import mean_pool_indirect

SIZES = ("8M", "35M", "150M")
"""Head sizes of 16, 24 and 32, with and without padding to a power of two."""


def main() -> None:
    """Launch packs of odd sizes. Without the caching allocator, CUDA graphs cannot be captured."""
    batches = [
        packed_batch(proteins(lengths, seed)) for seed, lengths in enumerate([[1], [62, 63, 64, 1022], [7] * 40])
    ]
    batches.append(packed_batch(["M<mask>K" * 5, "<mask>A"]))
    for size in SIZES:
        for precision in ("bf16", "fp16", *(["fp8"] if torch.cuda.get_device_capability() >= (9, 0) else [])):
            model, _ = load_esm2_model(size, "cuda:0", precision=precision, weights="random", cuda_graphs=False)
            runner = AsyncInferenceRunner(model, "cuda:0", min_cosine=MIN_COSINE)
            results = list(runner.run(batches))
            assert all(result.embeddings.isfinite().all() for result in results)
            print(size, precision, "done", runner.precision or "")
    for batch in batches:
        tokens, ends = batch.tokens.cuda(), batch.cu_seqlens.cuda()
        sequences, hidden_size = len(ends) - 1, 320
        output = TimestampedOutput(
            torch.empty(TimestampedOutput.size_for(sequences, hidden_size), device="cuda"), sequences, hidden_size
        )
        target = torch.zeros(3, dtype=torch.int64, device="cuda")
        for _ in range(2):  # once compiled, once from the cache
            load_graph_inputs(
                tokens,
                ends,
                torch.zeros_like(tokens),
                torch.zeros_like(ends),
                target,
                output.vectors,
                output.timestamps,
            )
            describe_tokens(tokens, ends, 32, 0.88, target[2:])
            mean_pool_indirect(torch.ones(len(tokens), hidden_size, device="cuda"), ends, target)
            began, ended = output.timestamps.tolist()
            assert 0 < began < ended
            assert torch.equal(output.vectors, torch.ones_like(output.vectors))
            output.memory.zero_()
    if fused_matmuls_supported(torch.device("cuda", 0)):
        multiply()


def multiply() -> None:
    """Use rows and columns that do not fill the last tile, and many tiles per SM."""
    for rows, width, heads in ((1, 1280, 20), (300, 640, 20), (5000, 1280, 20)):
        x = torch.randn(rows, width, device="cuda", dtype=torch.bfloat16)
        up, qkv = (torch.randn(n * width, width, device="cuda", dtype=torch.bfloat16) for n in (4, 3))
        assert linear_gelu(x, up, up[:, 0].contiguous()).isfinite().all()
        positions = torch.arange(rows, device="cuda", dtype=torch.int32) % 50
        cos, sin = torch.randn(2, 50, width // heads // 2, device="cuda")
        assert qkv_rope(x, qkv, qkv[:, 0].contiguous(), heads, positions, cos, sin).isfinite().all()


if __name__ == "__main__":
    main()
