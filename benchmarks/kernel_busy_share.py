# SPDX-License-Identifier: MIT
r"""Compare the GPU's busy share by captured kernels with that of Nsight Systems, and with the share in device stages.

Two loops over the same sequences: Hugging Face's EsmModel, eager and padded, which waits for each batch (launch-bound
at small sizes), and this package's runner. CUPTI serves one tool at a time, so Nsight Systems sees a run of its own:

    python -m benchmarks.kernel_busy_share --loop huggingface --model 8M                      # our capture
    nsys profile -t cuda,nvtx --sample=none --cpuctxsw=none -o hf python -m benchmarks.kernel_busy_share \
        --loop huggingface --model 8M --run-only hf.json
    nsys export -t sqlite -o hf.sqlite hf.nsys-rep
    python -m benchmarks.kernel_busy_share --loop huggingface --model 8M --nsys-run hf.json --export hf.sqlite

Both tools slow down the host. Each share is therefore given at the pace of its own run, and as the same busy time
divided by the time that the batches took without any tool, which is what a user wants to know.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from benchmarks.claim import Claim
from benchmarks.padded_baselines import hugging_face_launch, load_hugging_face, padded_batches
from benchmarks.report import parser, publish, publish_claims
from virnuc_profiler import (
    AsyncInferenceRunner,
    BatchProfiler,
    RunResult,
    SequenceDataset,
    VarlenCollator,
    create_async_dataloader,
    generate_tuning_workload,
    load_esm2_model,
    pack_statistics,
)
from virnuc_profiler.analysis.diagnosis.observation import observe
from virnuc_profiler.analysis.nsys.correlation import correlate
from virnuc_profiler.analysis.nsys.gpu_capture import GpuCapture
from virnuc_profiler.analysis.nsys.projection import project
from virnuc_profiler.analysis.nsys.range_selection import ranges_named, resolve_run_domain, select_ranges
from virnuc_profiler.analysis.timing.completion import completions_of
from virnuc_profiler.analysis.timing.interval_columns import clip, length
from virnuc_profiler.errors import LibraryUnavailable
from virnuc_profiler.inference.esm2.config import ARCHITECTURES, resolve_model_name
from virnuc_profiler.inference.placement import resolve_device
from virnuc_profiler.reports.captures.nsys_export import read_nsys_export
from virnuc_profiler.sweep.kernels.kernel_pass import captured_activity
from virnuc_profiler.telemetry.number_text import share

MAX_DIFFERENCE: Final = 0.02
"""Largest claimed difference of two busy shares."""

NAMES: Final = ("in device stages, at most", "busy by captured kernels", "busy by Nsight Systems")

Loop = Callable[[BatchProfiler], Iterator[object]]


def main() -> None:
    """Measure one loop, and print its shares."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--loop", choices=("huggingface", "packed"), default="huggingface")
    options.add_argument("--model", default="8M")
    options.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu to try the script itself")
    options.add_argument("--tokens", type=int, default=4096, help="most tokens of a batch, padding included")
    options.add_argument("--num-sequences", type=int, default=500)
    options.add_argument("--batches", type=int, default=200, help="batches of the measured run")
    options.add_argument("--kernels", type=int, default=40, help="batches to capture")
    options.add_argument("--run-only", type=Path, help="only run, save the run here, and capture no kernels")
    options.add_argument("--nsys-run", type=Path, help="run that --run-only saved under nsys")
    options.add_argument("--export", type=Path, help="SQLite export of that capture")
    arguments = options.parse_args()
    if (arguments.nsys_run is None) != (arguments.export is None):
        options.error("--nsys-run and --export belong together")
    loop = make_loop(arguments)
    run = measured_run(loop, arguments)
    if arguments.run_only is not None:
        print(f"saved as {run.save(arguments.run_only)}; in device stages, at most: {share(observe(run).stage_share)}")
        return
    try:
        figures = figures_of(run, loop, arguments)
    except LibraryUnavailable as error:
        raise SystemExit(str(error)) from error
    rows = [[name, *(share(figures.get(f"{name}, {pace}")) for pace in ("own pace", "bare pace"))] for name in NAMES]
    publish(f"GPU busy share, {arguments.loop} {arguments.model}", ["share", "own pace", "bare pace"], rows, figures,
            arguments.json)  # fmt: skip
    publish_claims(claims(figures))


def make_loop(arguments: argparse.Namespace) -> Loop:
    """Return the loop, which goes on until it is closed, with its model and its batches ready."""
    device = resolve_device(arguments.device)
    with tempfile.TemporaryDirectory() as folder:
        dataset = SequenceDataset(generate_tuning_workload(folder, num_sequences=arguments.num_sequences))
        collator = VarlenCollator(max_tokens_per_batch=arguments.tokens)
        packs = list(create_async_dataloader(dataset, collator, num_workers=0, pin_memory=device.type == "cuda"))
    if arguments.loop == "packed":
        precision = "bf16" if device.type == "cuda" else "fp32"
        model = load_esm2_model(arguments.model, device, precision=precision, weights="random")[0]
        return lambda profiler: AsyncInferenceRunner(model, device, profiler=profiler).run(cycle(packs))
    architecture = ARCHITECTURES[resolve_model_name(arguments.model)]
    model, dtype = load_hugging_face(architecture, device)
    tokens = [np.split(pack.tokens.numpy(), pack.cu_seqlens.numpy()[1:-1]) for pack in packs]
    batches = padded_batches([one for pack in tokens for one in pack], arguments.tokens, architecture, dtype)
    launch = hugging_face_launch(model, device)
    return lambda profiler: padded_loop(profiler, [batch for _, batch in batches], launch)


@torch.inference_mode()
def padded_loop(profiler: BatchProfiler, batches: list[Any], launch: Callable[[Any], torch.Tensor]) -> Iterator[object]:
    """Run padded batches one after the other, again and again, and wait for each."""
    for batch in profiler.batches(cycle(batches)):
        lengths = batch.mask.sum(1).numpy()
        profiler.current_batch.set_packing(pack_statistics(np.append(0, lengths.cumsum()).astype(np.int32)))
        with profiler.stage("forward"):
            vectors = launch(batch)
        with profiler.stage("d2h"):
            vectors.float().cpu()
        yield batch


def measured_run(loop: Loop, arguments: argparse.Namespace) -> RunResult:
    """Run some batches without a capture, after as many that are not measured."""
    for _ in range(2):
        profiler = BatchProfiler(device=arguments.device)
        with profiler:
            iterator = loop(profiler)
            for _ in islice(iterator, arguments.batches):
                pass
            iterator.close()  # type: ignore[attr-defined]  # both loops are generators
    return profiler.result


def figures_of(run: RunResult, loop: Loop, arguments: argparse.Namespace) -> dict[str, float | None]:
    """Return the shares by name and pace."""
    found = captured_activity(run, loop, num_batches=arguments.kernels, device=arguments.device)
    stages, kernels, nsys = NAMES
    figures: dict[str, float | None] = {
        f"{stages}, own pace": observe(run).stage_share,
        f"{stages}, bare pace": observe(run).stage_share,
        f"{kernels}, own pace": found.busy_share,
        f"{kernels}, bare pace": found.busy_share_at_own_pace,
        "slowdown by the capture": found.slowdown,
    }
    if arguments.export is not None:
        other = RunResult.load(arguments.nsys_run)
        capture = read_nsys_export(arguments.export)
        busy_ns, window_ns = nsys_busy_ns(other, capture, found.first_batch, found.batches)
        figures[f"{nsys}, own pace"] = busy_ns / window_ns
        figures[f"{nsys}, bare pace"] = None if found.reference_ns is None else busy_ns / found.reference_ns
        figures["slowdown by nsys"] = None if found.reference_ns is None else window_ns / found.reference_ns
    return figures


def nsys_busy_ns(run: RunResult, capture: GpuCapture, first_batch: int, batches: int) -> tuple[int, int]:
    """Return busy time and length of the window of some batches of a run, by its capture.

    Args:
        run: Run that nsys captured.
        capture: Its capture.
        first_batch: Index of the first of the batches, not the first of the run.
        batches: Number of the batches.

    Raises:
        SystemExit: The capture is not of this run, or the run lacks some of the batches.
    """
    domain = resolve_run_domain(capture)
    ranges = ranges_named(select_ranges(capture.ranges, domain), run.stage_names)
    clock = correlate(run, project(ranges, capture.calls, capture.operations), domain).clock
    if clock is None:
        raise SystemExit("no batch of the run occurs in the capture: they are not of the same run")
    indices, at_ns = run.batches.columns["index"].tolist(), completions_of(run.batches).at_ns.tolist()
    completed = dict(zip(indices, at_ns, strict=True))
    if not {first_batch - 1, first_batch + batches - 1} <= completed.keys():
        raise SystemExit(
            f"the run of nsys has {len(run.batches)} batches, and batches {first_batch - 1} to "
            f"{first_batch + batches - 1} are needed: run it again with more --batches"
        )
    ends = [completed[index] for index in range(first_batch - 1, first_batch + batches)]
    window = ends[0] + round(clock.offset_ns), max(ends) + round(clock.offset_ns)
    operations = capture.operations
    return length(*clip(operations.start_ns, operations.end_ns, window)), window[1] - window[0]


def claims(figures: dict[str, float | None]) -> list[Claim]:
    """Return what is claimed of the shares."""
    stages, kernels, nsys = (figures.get(f"{name}, bare pace") for name in NAMES)
    apart = None if kernels is None or nsys is None else abs(kernels - nsys)
    above = None if stages is None or kernels is None else kernels - stages
    return [
        _at_most("captured kernels and Nsight Systems differ", apart),
        _at_most("captured kernels are above the share in device stages", above),
    ]


def _at_most(text: str, difference: float | None) -> Claim:
    text = f"busy share: {text} by at most {MAX_DIFFERENCE:.0%} of the time"
    if difference is None:
        return Claim(text, "n/a", None)
    return Claim(text, f"{difference:.2%}", difference <= MAX_DIFFERENCE)


if __name__ == "__main__":
    main()
