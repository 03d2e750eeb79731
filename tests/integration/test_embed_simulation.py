# SPDX-License-Identifier: MIT
"""The simulation of a job against real ones, whose ranks claimed, computed and reported."""

from itertools import accumulate

import pytest
from benchmarks.embed_simulation import claim_of, run_cases

from tests.support.fasta_files import random_records, write_fasta
from tests.support.paced_embed import PacedJob
from virnuc_profiler import aggregate_telemetry_shards
from virnuc_profiler.analysis.projection.rank_simulation import RankPace, ShardWork, simulate_ranks
from virnuc_profiler.embed.job_forecast import read_ahead
from virnuc_profiler.embed.measured_ranks import read_measured
from virnuc_profiler.embed.streaming.shard_source import count_ranges

pytestmark = pytest.mark.slow

POINTS = 0.05


def times_of_shards(job, log):
    """Return how long a rank took for each of its shards, with all that it did in between."""
    ends = list(accumulate(sequences for _, _, sequences in log["batches"]))
    times, begun_s, done = {}, log["batches"][0][0], 0
    for _, number in log["claims"]:
        done += job.shards[number].num_sequences
        end_s = log["batches"][ends.index(done)][1]
        times[number] = end_s - begun_s
        begun_s = end_s
    return times


def replayed(job):
    """Simulate a job with the times that its ranks took for starting and for their shards."""
    logs = job.logs()
    seconds, paces = {}, []
    first_s = min(log["claims"][0][0] for log in logs)
    for log, slowness in zip(logs, job.slowness, strict=True):
        seconds |= {number: time / slowness for number, time in times_of_shards(job, log).items()}
        begin_s = log["claims"][0][0]
        paces.append(RankPace(begin_s - first_s, log["batches"][0][0] - begin_s, slowness))
    ahead = read_ahead(job.configuration)
    works = [
        ShardWork(seconds[shard.number], shard.num_sequences, count_ranges(shard, ahead.ranges)) for shard in job.shards
    ]
    return simulate_ranks(works, paces, ahead), logs, first_s


@pytest.mark.parametrize(("slowness", "num_workers", "shards"), [((1.0, 1.0), 1, 14), ((1.0, 1.0, 1.0, 2.2), 0, 13)])
def test_ranks_claim_and_end_when_the_simulation_says_so(tmp_path, slowness, num_workers, shards):
    """The times are those that were recorded, so a busy machine is in both."""
    fasta = write_fasta(tmp_path / "sequences.faa", random_records(800, longest=60))
    job = PacedJob(str(fasta), str(tmp_path / "job"), shards, 1e8, slowness, num_workers)
    job.run()
    run, logs, first_s = replayed(job)
    scaling = aggregate_telemetry_shards(job.telemetry)["scaling"]
    time_of_all_s = len(slowness) * scaling["seconds"]  # loader workers start before the first claim
    assert run.idle_s / time_of_all_s == pytest.approx(scaling["tail_share"], abs=POINTS)
    last_s = max(log["batches"][-1][1] for log in logs)
    assert run.seconds == pytest.approx(last_s - first_s, rel=POINTS)
    expected = sorted(claim_s for rank in run.ranks for claim_s in rank.claims_s)
    claims = sorted(claim_s - first_s for log in logs for claim_s, _ in log["claims"])
    assert expected == pytest.approx(claims, abs=0.1 * run.seconds)
    for rank, log in zip(run.ranks, logs, strict=True):
        assert abs(len(rank.shards) - len(log["claims"])) <= 1


def test_the_benchmark_predicts_and_measures(tmp_path):
    """How near they are is not tested here, since it depends on what else the machine does."""
    cases = run_cases(tmp_path, seconds=6.0, seed=1, shards=(7,), ranks=(2,))
    assert [(case.shards, case.slowness) for case in cases] == [(7, (1.0, 1.0)), (7, (1.0, 2.0))]
    for case in cases:
        assert case.predicted_s > 3.0
        assert case.measured_s > 3.0
        assert 0 < case.predicted_tail < 50
        assert 0 <= case.measured_tail < 50
        assert 50 < case.predicted_efficiency < 100
    assert claim_of(cases).measured.startswith("within ")


def test_the_folder_of_a_job_tells_how_much_its_ranks_differ(tmp_path):
    fasta = write_fasta(tmp_path / "sequences.faa", random_records(600, longest=60))
    job = PacedJob(str(fasta), str(tmp_path / "job"), 24, 2e8, (1.0, 1.0, 2.0))
    job.run()
    measured = read_measured(tmp_path / "job")
    assert measured.spread.measured_ranks == 3
    assert measured.spread.log_sd > 0.2
    assert measured.source.path == tmp_path / "job"
    assert measured.source.before_s > 0
