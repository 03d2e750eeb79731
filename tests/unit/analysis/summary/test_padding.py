# SPDX-License-Identifier: MIT
"""Padded batches differ from packs in their budgets, and what was computed for padding is reported as such."""

import numpy as np
import pytest

from virnuc_profiler import BatchProfiler, pack_statistics
from virnuc_profiler.analysis.summary.padding import padded_tokens
from virnuc_profiler.analysis.summary.run_summary import run_summary
from virnuc_profiler.reports.performance_text import generate_performance_report
from virnuc_profiler.reports.run_page import render_page

BATCHES = [[30, 50, 20], [12, 12], [7]]


def run_of(batches, budget):
    with BatchProfiler(device="cpu") as profiler:
        for lengths in profiler.batches(batches):
            ends = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
            profiler.current_batch.set_packing(pack_statistics(ends, budget(lengths)))
    return profiler.result


@pytest.mark.parametrize(
    ("budget", "tokens"),
    [
        (lambda lengths: len(lengths) * max(lengths), 181),
        (lambda lengths: len(lengths) * -(-max(lengths) // 8) * 8, 208),
        (lambda lengths: len(lengths) * 64, 384),
        (lambda lengths: 128, None),
        (lambda lengths: 120, None),
        (lambda lengths: None, None),
    ],
)
def test_the_budget_of_a_padded_batch_is_that_of_its_rows(budget, tokens):
    run = run_of(BATCHES, budget)
    assert padded_tokens(run.batches.packed()) == tokens
    assert run_summary(run).get("padded_tokens") == tokens


def test_packs_of_equal_sequences_are_no_padded_batches():
    assert padded_tokens(run_of([[40, 40], [40, 40], [40]], lambda lengths: 100).batches.packed()) is None
    assert padded_tokens(run_of([[40], [30]], lambda lengths: 100).batches.packed()) is None
    assert padded_tokens(run_of([], lambda lengths: 100).batches.packed()) is None


def test_reports_name_the_share_of_padding_and_ask_no_packing_of_it():
    run = run_of(BATCHES, lambda lengths: len(lengths) * max(lengths))
    assert "Padding: 27.6% of the 181 tokens that were computed" in render_page(run)
    report = generate_performance_report(run)
    assert "Padding computed:                      27.6% of 181 tokens" in report
    assert "PERF-05 is asked of packs" in report
    assert "Padding avoided" not in report
    packed = run_of(BATCHES, lambda lengths: 128)
    assert "Packing: " in render_page(packed)
    assert "Padding avoided" in generate_performance_report(packed)
