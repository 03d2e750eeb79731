# SPDX-License-Identifier: MIT
"""Compare fused matrix products with a cuBLAS product followed by a separate kernel, at ESM-2's own shapes.

The claim: wherever the forward pass uses a fused product, it is no slower. A ratio above 1 is a gain. Shapes for which
the forward pass prefers cuBLAS are shown too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import Final

import torch
from torch import Tensor, nn

from benchmarks.claim import Claim
from benchmarks.paired import MIN_PAIRS, Ratio, bare_goes_first, number_of_pairs, ratio_of_pairs
from benchmarks.report import parser, publish
from virnuc_profiler.inference.esm2.config import ARCHITECTURES, resolve_model_name
from virnuc_profiler.inference.esm2.encoders.projections import MIN_WAVE_EFFICIENCY, Rotation
from virnuc_profiler.inference.kernels.elementwise import gelu_
from virnuc_profiler.inference.kernels.matmul import (
    fused_matmuls_supported,
    linear_gelu,
    qkv_rope,
    rope_fits_tiles,
    wave_efficiency,
)
from virnuc_profiler.inference.ops.rotary import RotaryAngles, exact_frequencies
from virnuc_profiler.inference.placement import resolve_device

CALLS: Final = 10
"""Number of calls recorded in a graph, one after the other."""
POSITIONS: Final = 400


@dataclass(frozen=True, slots=True)
class Comparison:
    """One product of one model.

    Attributes:
        model: Short name of the model.
        tokens: Number of tokens in the pack.
        product: What follows the product.
        filled: Share of the processors that have work.
        used: Whether the forward pass uses the fused product.
        fused_us: Median time of a fused call, in µs.
        apart_us: Median time of the cuBLAS product and the kernel after it, in µs.
        gain: Time of the separate kernels divided by the time of the fused one.
    """

    model: str
    tokens: int
    product: str
    filled: float
    used: bool
    fused_us: float
    apart_us: float
    gain: Ratio

    @property
    def slower(self) -> bool:
        """Whether the fused product is slower beyond doubt."""
        return self.gain.high < 1

    @property
    def row(self) -> list[str]:
        """Return the cells of the table."""
        times = [f"{self.fused_us:,.1f}", f"{self.apart_us:,.1f}"]
        gain = [f"x{self.gain.typical:.3f}", f"{self.gain.low:.3f} to {self.gain.high:.3f}"]
        used = "yes" if self.used else ""
        return [self.model, f"{self.tokens:,}", self.product, f"{self.filled:.2f}", used, *times, *gain]


def main() -> None:
    """Measure all shapes, print the table, and print whether the claim held."""
    arguments = parse_arguments()
    device = resolve_device(arguments.device)
    if not fused_matmuls_supported(device):
        raise SystemExit(f"{device} cannot run them: they need Hopper, and Triton 3.4 or newer")
    found = [
        comparison
        for model in arguments.models.split(",")
        for tokens in map(int, arguments.tokens.split(","))
        for comparison in compare(model, tokens, device, arguments.pairs, arguments.segment_s)
    ]
    header = ["model", "tokens", "product with", "filled", "used", "fused us", "apart us", "gain", "95 %"]
    publish("Fused products", header, [one.row for one in found], [asdict(one) for one in found], arguments.json)
    slower = sum(one.slower for one in found if one.used)
    claim = Claim("none in use is slower than cuBLAS with a kernel after it", f"{slower} are", slower == 0)
    print(f"{claim.verdict}: {claim.text}: {claim.measured}")


def parse_arguments() -> argparse.Namespace:
    """Parse the options. The defaults take about 30 s."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--device", default="cuda")
    options.add_argument("--models", default="8M,35M,150M,650M,3B")
    options.add_argument("--tokens", default="1024,2048,4096,8192,16384,65536")
    options.add_argument("--pairs", type=number_of_pairs, default=8, help=f"number of pairs, at least {MIN_PAIRS}")
    options.add_argument("--segment-s", type=float, default=0.02, help="seconds per half of a pair")
    return options.parse_args()


@torch.inference_mode()
def compare(model: str, tokens: int, device: torch.device, pairs: int, segment_s: float) -> list[Comparison]:
    """Compare both products of a model's layers on a pack of this many tokens, in bf16."""
    architecture = ARCHITECTURES[resolve_model_name(model)]
    width, heads, head_dim = architecture.hidden_size, architecture.attention_heads, architecture.head_dim
    options = {"device": device, "dtype": torch.bfloat16}
    x = torch.randn(tokens, width, **options)
    qkv, up = nn.Linear(width, 3 * width, **options), nn.Linear(width, 4 * width, **options)
    cos, sin = RotaryAngles().covering(POSITIONS, exact_frequencies(head_dim).to(device))
    rotation = Rotation((torch.arange(tokens, device=device) % POSITIONS).int(), cos, sin)

    def rotated_apart() -> Tensor:
        found: Tensor = qkv(x)
        rotation.apply(found.view(tokens, 3, heads, head_dim))
        return found

    def rotated_in_one() -> Tensor:
        return qkv_rope(x, qkv.weight, qkv.bias, heads, rotation.positions, cos, sin)

    products = {"GELU": (up, lambda: linear_gelu(x, up.weight, up.bias), lambda: gelu_(up(x)))}
    if rope_fits_tiles(heads, head_dim):
        products["rotation"] = (qkv, rotated_in_one, rotated_apart)
    found = []
    for name, (linear, fused, apart) in products.items():
        share = wave_efficiency(tokens, linear.out_features, device)
        fused_s, apart_s = in_turn(fused, apart, pairs, segment_s)
        times_us = (median(seconds) * 1e6 for seconds in (fused_s, apart_s))
        gain = ratio_of_pairs(apart_s, fused_s)
        found.append(Comparison(model, tokens, name, share, share >= MIN_WAVE_EFFICIENCY, *times_us, gain))
    return found


def in_turn(
    fused: Callable[[], Tensor], apart: Callable[[], Tensor], pairs: int, segment_s: float
) -> tuple[list[float], list[float]]:
    """Return the seconds per call of both variants, pair by pair, replayed from CUDA graphs to exclude the host."""
    seconds: tuple[list[float], list[float]] = [], []
    halves = list(zip(map(recorded, (fused, apart)), seconds, strict=True))
    for pair in range(pairs):
        for graph, its in halves if bare_goes_first(pair) else reversed(halves):
            its.append(seconds_of(graph, segment_s) / CALLS)
    return seconds


def recorded(call: Callable[[], Tensor]) -> torch.cuda.CUDAGraph:
    """Record a graph of `CALLS` calls."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        call()  # kernels are compiled and loaded, which a recording does not allow
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            for _ in range(CALLS):
                call()
    return graph


def seconds_of(graph: torch.cuda.CUDAGraph, at_least_s: float) -> float:
    """Return the mean seconds of a replay, after one that does not count."""
    graph.replay()
    torch.cuda.synchronize()
    started, replays = perf_counter(), 0
    while perf_counter() - started < at_least_s:
        graph.replay()
        torch.cuda.synchronize()
        replays += 1
    return (perf_counter() - started) / replays


if __name__ == "__main__":
    main()
