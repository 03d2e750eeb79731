# SPDX-License-Identifier: MIT
"""Estimates before a measurement begins."""

from pathlib import Path

import pytest
import torch

from tests.support.fasta_files import random_records, write_fasta
from virnuc_profiler.cli.estimates import estimate
from virnuc_profiler.sweep.plan.request import Request
from virnuc_profiler.sweep.plan.workload import read_workload


@pytest.mark.parametrize(("timeout_s", "seconds"), [(None, 61), (600.0, 61), (7.0, 8)])
def test_a_time_limit_ends_the_passes_of_a_trial(tmp_path, timeout_s, seconds):
    path = write_fasta(tmp_path / "own.faa", random_records(12, longest=40))
    request = Request(
        output_dir=Path(tmp_path),
        device=torch.device("cpu"),
        model="esm2_t6_8M_UR50D",
        fasta=path,
        num_sequences=None,
        cooldown_s=0.0,
        timeout_s=timeout_s,
        trial_seconds=60.0,
    )
    workload = read_workload(path, "file")
    assert estimate(request, workload, [workload.tokens]).seconds == pytest.approx(seconds, abs=0.5)
