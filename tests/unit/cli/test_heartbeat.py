# SPDX-License-Identifier: MIT
"""Lines that say how far a long command is."""

from virnuc_profiler.cli.heartbeat import EVERY_S, Heartbeat, TokenMeter


class Clock:
    """A clock that also is the wait of a heartbeat: it lets some waits pass, and then the block has ended."""

    def __init__(self, waits=0):
        self.now = 0.0
        self.left = waits

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds
        self.left -= 1
        return self.left < 0


def test_a_line_every_ten_seconds_says_what_is_done(capsys):
    clock = Clock(waits=2)
    with Heartbeat("loading the model", clock, clock.wait) as beat:
        beat._thread.join()
    assert EVERY_S == 10
    output = capsys.readouterr()
    assert output.err.splitlines() == ["loading the model: 10 s so far", "loading the model: 20 s so far"]
    assert output.out == ""


def test_a_block_that_is_short_says_nothing(capsys):
    with Heartbeat("loading the model"):
        pass
    assert capsys.readouterr().err == ""


def test_an_empty_line_is_not_printed(capsys):
    clock = Clock(waits=3)
    with Heartbeat(lambda: "", clock, clock.wait) as beat:
        beat._thread.join()
    assert capsys.readouterr().err == ""


def test_a_reader_that_has_left_ends_no_run(monkeypatch):
    def refuse(*arguments, **options):
        raise BrokenPipeError

    clock = Clock(waits=1)
    monkeypatch.setattr("builtins.print", refuse)
    with Heartbeat("loading", clock, clock.wait) as beat:
        beat._thread.join()
    assert not beat._thread.is_alive()


def test_the_time_left_comes_from_tokens_and_leaves_out_the_start():
    clock = Clock()
    meter = TokenMeter(100_000, clock)
    clock.now = 30.0
    assert str(meter) == "no batch finished yet, 30 s so far"
    meter.count(10_000)
    assert str(meter) == "10,000 of 100,000 tokens (10%), 333 tokens/s, about 4 min 30 s left"
    clock.now = 40.0
    meter.count(20_000)
    assert str(meter) == "20,000 of 100,000 tokens (20%), 1,000 tokens/s, about 1 min 20 s left"
    clock.now = 45.0  # in the middle of the next batch
    assert str(meter).endswith("about 1 min 15 s left")
    meter.count(100_000)
    assert str(meter) == "all 100,000 tokens are done, cleaning up"


def test_further_passes_are_shown_one_by_one():
    clock = Clock()
    meter = TokenMeter(100_000, clock)
    for tokens in (10_000, 100_000, 130_000):
        clock.now += 10.0
        meter.count(tokens)
    assert str(meter) == "pass 2: 30,000 of 100,000 tokens (30%), 6,000 tokens/s"
    meter.count(300_000)
    assert str(meter) == "all 100,000 tokens are done 3 times"


def test_a_batch_that_ends_at_once_has_no_rate():
    meter = TokenMeter(100, Clock())
    meter.count(50)
    assert str(meter) == "50 of 100 tokens (50%)"
