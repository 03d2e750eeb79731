# SPDX-License-Identifier: MIT
"""The example of a stranger's loop: it runs, it is right, and it is as short as it says."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from virnuc_profiler import RunResult

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "huggingface_esm.py"
SEQUENCES, BATCH_SIZE = 40, 16


def run_example(output: Path, *options: str) -> tuple[str, RunResult]:
    """What it prints, and the run that it saved."""
    size = ["--sequences", str(SEQUENCES), "--batch-size", str(BATCH_SIZE), "--output", str(output)]
    done = subprocess.run([sys.executable, str(EXAMPLE), *options, *size], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, RunResult.load(output)


def check_run(run: RunResult) -> None:
    """Every sequence is in it, with exact tokens and padding, and every stage of each batch."""
    spec = importlib.util.spec_from_file_location("huggingface_esm", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    lengths = [len(sequence) + 2 for sequence in example.random_proteins(SEQUENCES)]
    batches = [lengths[start : start + BATCH_SIZE] for start in range(0, SEQUENCES, BATCH_SIZE)]
    assert [batch.packing.tokens for batch in run.batches] == [sum(batch) for batch in batches]
    padding = [len(batch) * max(batch) - sum(batch) for batch in batches]
    assert [batch.packing.padding_tokens for batch in run.batches] == padding
    stages = ["fetch", "h2d", "forward", "pool", "d2h"]
    assert [[stage.name for stage in batch.stages] for batch in run.batches] == [stages] * len(batches)


def test_what_it_adds_to_a_loop_is_nine_lines_and_all_of_it_is_marked() -> None:
    code = EXAMPLE.read_text().split('"""', 2)[2]
    added = [line for line in code.splitlines() if line.endswith("  # +")]
    assert len(added) == 9
    ours = re.compile(r"virnuc|[Pp]rofiler|padded_statistics|render_stages")
    assert [line for line in code.splitlines() if ours.search(line)] == added


def test_it_runs_on_the_cpu(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    options = ["--device", "cpu", "--num-layers", "1", "--hidden-size", "32", "--num-heads", "2", "--workers", "1"]
    printed, run = run_example(tmp_path / "run.json", *options)
    check_run(run)
    assert printed.startswith("Stages (ms)")
    assert printed.endswith(f"{SEQUENCES} embeddings\n")


@pytest.mark.gpu
@pytest.mark.slow
def test_it_runs_on_a_gpu(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    _, run = run_example(tmp_path / "run.json", "--device", "cuda")
    check_run(run)
    assert run.device.timed
    assert run.device.dropped_batches == 0
    forward_ns = [stage.device_ns for batch in run.batches for stage in batch.stages if stage.name == "forward"]
    assert all(ns is not None and ns > 1_000_000 for ns in forward_ns)  # 33 layers do not run in a millisecond
