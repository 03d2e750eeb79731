# SPDX-License-Identifier: MIT
"""The metrics of an embed job."""

from virnuc_profiler.cli.embed.embed_metrics import embed_metrics
from virnuc_profiler.cli.embed.job_meter import JobMeter
from virnuc_profiler.embed.shard_plan import Shard


def test_what_a_process_has_done_and_what_is_left():
    now = [0.0]
    meter = JobMeter(1000, 10, lambda: now[0], others=lambda: 400, ranks=2)
    for second in (1, 2, 3):
        now[0] = float(second)
        meter.batch_done(second, 100 * second)
    meter.shard_done(Shard(0, 0, 10, 100, 1))
    labels = {"job": "/data/vectors", "rank": "1"}
    metrics = embed_metrics(meter, None, 120, labels, running=True)
    values = {}
    for metric in metrics:
        ((found, value),) = metric.samples
        assert found == labels
        values[metric.name.removeprefix("virnuc_embed_")] = value
    assert values == {
        "running": 1,
        "sequences": 3,
        "tokens": 300,
        "batches": 3,
        "shards": 1,
        "planned_shards": 10,
        "planned_tokens": 1000,
        "done_ratio": 0.7,
        "sequences_per_second": 1.0,
        "tokens_per_second": 100.0,
        "packing_ratio": 300 / 360,
        "remaining_seconds": 1.5,
    }


def test_nothing_is_known_before_the_first_batch():
    metrics = embed_metrics(JobMeter(1000, 10), None, 120, {}, running=False)
    values = {metric.name.removeprefix("virnuc_embed_"): metric.samples[0][1] for metric in metrics}
    assert (values["running"], values["tokens"]) == (0, 0)
    assert values["packing_ratio"] is values["remaining_seconds"] is values["tokens_per_second"] is None
