from virnuc_profiler.cli.embed.job_meter import JobMeter
from virnuc_profiler.embed.shard_plan import Shard


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_rate_and_time_left_are_those_of_the_last_minute():
    clock = Clock()
    meter = JobMeter(100_000, 10, clock)
    clock.now += 5
    assert str(meter) == "no rate yet, 5 s so far, 0 of 10 shards written"
    for second in range(1, 101):  # a slow start, then ten times as fast
        clock.now += 1
        done = 10 * second if second < 40 else 400 + 100 * (second - 40)
        meter.batch_done(done, 10 * done)
    meter.shard_done(Shard(0, 0, 10, 100, 1))
    assert meter.rates() == (100.0, 1000.0)
    assert str(meter) == "64.0%, 100 sequences/s, 1,000 tokens/s, 1 of 10 shards written, about 36 s left"
    meter.batch_done(10_000, 100_000)
    assert str(meter).endswith(", writing the last")
    assert meter.share == 1


def test_a_job_without_tokens_is_done():
    assert JobMeter(0, 0, Clock()).share == 1


def test_what_other_ranks_have_finished_counts_too():
    """Half of the rest is this process's, and half of it is done by another rank meanwhile."""
    now = [0.0]
    meter = JobMeter(1000, 10, lambda: now[0], others=lambda: 400, ranks=2)
    meter.batch_done(1, 100)
    now[0] = 10.0
    meter.batch_done(2, 200)
    assert meter.share == 0.6
    assert "60.0%" in str(meter)
    assert str(meter).endswith("0 of 10 shards written here, about 20 s left")
