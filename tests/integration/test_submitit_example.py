# SPDX-License-Identifier: MIT
"""The example for submitit, with submitit's own processes on this host in the place of Slurm."""

import pytest
from benchmarks.embed_launchers import claims_of, run_launchers

pytest.importorskip("submitit")
pytestmark = pytest.mark.slow


def test_the_tasks_of_submitit_are_ranks_of_one_job(tmp_path):
    outcomes = run_launchers(tmp_path, 60, 6, ["submitit, 2 tasks"])
    assert [claim for claim in claims_of(outcomes, 60) if not claim.holds] == []
