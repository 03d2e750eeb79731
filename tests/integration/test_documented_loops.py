# SPDX-License-Identifier: MIT
"""The code of docs/profile-your-loop.md runs, and its report says what it did: sequences, stages, packing."""

import json
import re
import time
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from tests.support.compared_runs import noisy_run
from tests.support.nsys_files import write_capture_of
from virnuc_profiler import BatchProfiler, RunResult, compare_runs, padded_statistics, render_run
from virnuc_profiler.errors import UsageError

PAGE = (Path(__file__).parents[2] / "docs" / "profile-your-loop.md").read_text(encoding="utf-8")
SEQUENCES = ["M" * (20 + 7 * number % 60) for number in range(45)]
TOKENS = [len(one) + 2 for one in SEQUENCES]


class Model(torch.nn.Module):
    """Averages embeddings of residues."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(128, 8)
        self.calls = 0

    def forward(self, sequences):
        self.calls += 1
        return self.embedding(pad_sequence([torch.tensor(list(one.encode())) for one in sequences])).mean(0)


class Failing(Model):
    """Fails at its third batch."""

    def forward(self, sequences):
        if self.calls == 2:
            raise RuntimeError("the weights have melted")
        return super().forward(sequences)


class Runner:
    """A runner that somebody else wrote."""

    def __init__(self, model):
        self.model = model

    def run(self, batches):
        for sequences in batches:
            self.model(sequences)
            yield {"lengths": [len(one) + 2 for one in sequences]}

    def run_alone(self, sequences):
        items = iter(sequences)
        while batch := list(islice(items, 8)):
            began = time.monotonic_ns()
            lengths = [len(one) + 2 for one in batch]
            collated = began, time.monotonic_ns()
            self.model(batch)
            yield {"lengths": lengths, "collated_ns": collated}


def blocks(title):
    """The Python blocks of a section, without those of its subsections."""
    level, text = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#+ |\Z)", PAGE, re.MULTILINE | re.DOTALL).groups()
    found = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, f"{level} {title} has no code"
    return found


def execute(*codes, **given):
    """Execute code of the page as one program, and return its names."""
    grouped = blocks("The loader yields single sequences")[0].partition("with BatchProfiler")[0]
    names = {"BatchProfiler": BatchProfiler, "padded_statistics": padded_statistics, **given}
    exec("from typing import Any\n" + grouped, names)
    for code in codes:
        exec(compile(code, "profile-your-loop.md", "exec"), names)
    return names


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def stages(run):
    return [sorted(stage.name for stage in batch.stages) for batch in run.batches]


def assert_padded_batches_of_eight(run):
    """Every sequence and token is counted once, and each batch is packed as it was padded."""
    batches = [TOKENS[start : start + 8] for start in range(0, len(TOKENS), 8)]
    assert [batch.packing.tokens for batch in run.batches] == list(map(sum, batches))
    assert [batch.packing.padding_tokens for batch in run.batches] == [len(b) * max(b) - sum(b) for b in batches]
    assert run.total_sequences == len(SEQUENCES)
    report = render_run(run)
    assert re.search(rf"Sequences: +{len(SEQUENCES)}\n", report)
    assert re.search(rf"Tokens: +{sum(TOKENS):,}\n", report)
    return report


def test_single_sequences_are_grouped():
    done = execute(*blocks("The loader yields single sequences"), loader=SEQUENCES, model=Model())
    run = done["profiler"].result
    assert stages(run) == [["fetch", "forward"]] * 6
    assert_padded_batches_of_eight(run)


def test_a_runner_that_takes_a_loader():
    model = Model()
    batches = [SEQUENCES[start : start + 8] for start in range(0, len(SEQUENCES), 8)]
    done = execute(blocks("A runner fetches by itself")[0], model=model, runner=Runner(model), loader=batches)
    run = done["profiler"].result
    assert stages(run) == [["fetch", "forward"]] * 6
    assert "forward" in assert_padded_batches_of_eight(run)


def test_a_runner_that_makes_its_own_loader():
    model = Model()
    hooks, alone = blocks("A runner fetches by itself")
    hooks = hooks.partition("with BatchProfiler")[0]
    done = execute(hooks, alone, model=model, runner=Runner(model), sequences=SEQUENCES)
    run = done["profiler"].result
    assert stages(run) == [["collate", "forward"]] * 6
    assert_padded_batches_of_eight(run)


def test_the_flush_of_a_buffer_is_a_batch_of_low_efficiency():
    sequences = ["M" * 100] * 26  # five of them are a pack
    run = execute(*blocks("A buffer is flushed at the end"), loader=sequences, model=Model())["profiler"].result
    assert [batch.packing.packing_efficiency for batch in run.batches] == pytest.approx([500 / 512] * 5 + [100 / 512])
    assert run.total_sequences == 26
    average = (5 * 500 + 100) / 512 / 6
    assert f"{average:.1%}" in render_run(run)


def test_batches_in_flight_keep_their_own_stages():
    done = execute(*blocks("Several batches are in flight"), loader=SEQUENCES, model=Model())
    run = done["profiler"].result
    assert stages(run) == [["d2h", "forward"]] * 6
    assert run.batches[0].host_end_ns > run.batches[2].host_start_ns
    assert_padded_batches_of_eight(run)


def test_an_open_batch_is_lost_unless_it_began_last():
    with BatchProfiler() as profiler:
        kept = [profiler.begin_batch() for _ in range(3)]
        kept[0].end()
    assert [batch.index for batch in profiler.result.batches] == [0, 2]


def test_a_run_that_raises_keeps_what_was_done_and_says_why_it_ended(tmp_path):
    with pytest.raises(RuntimeError, match="melted"):
        execute(*blocks("A run raises in the middle"), loader=SEQUENCES, model=Failing())
    run = RunResult.load(tmp_path / "run.json")
    assert stages(run) == [["fetch", "forward"]] * 3
    assert [batch.packing is not None for batch in run.batches] == [True, True, False]
    assert run.total_sequences == 16
    assert run.metadata["status"] == "failed"
    assert "Failed: error: RuntimeError: the weights have melted" in render_run(run)
    with pytest.raises(UsageError, match="error"):
        compare_runs(run, run)


def test_one_call_each_for_telemetry_report_comparison_and_capture(tmp_path, capsys):
    run = noisy_run(seed=1)
    noisy_run(seed=2).save("before.json")
    write_capture_of(run, "batches.sqlite", offset_ns=12_345, utc_epoch_ns=None)
    execute(*blocks("Use your run"), run=run)
    printed = capsys.readouterr().out
    assert "Performance Report" in printed
    assert "What differs, from the reference to the candidate" in printed
    assert "Batches: 200 in the run, 200 in the capture, 200 matched" in " ".join(printed.split())
    assert json.loads(Path("telemetry.json").read_text())["summary"]["total_sequences"] == 200 * 20
    assert json.loads(Path("correlation.json").read_text())["batches"]["matched"] == 200
    with pytest.raises(SystemExit, match="slower"):
        execute(*blocks("Use your run"), run=noisy_run(slowdown=1.5))
