# SPDX-License-Identifier: MIT
"""Progress from the model's process: sequences and tokens, as both sides of the pipe see them."""

import os

from virnuc_profiler.sweep.trial.loaded_model import LiveFigures
from virnuc_profiler.sweep.worker.deadlines import Timeouts
from virnuc_profiler.sweep.worker.message_writer import MessageWriter, ProgressMessages
from virnuc_profiler.sweep.worker.protocol import MESSAGES, LineReader
from virnuc_profiler.sweep.worker.supervisor import Supervisor
from virnuc_profiler.telemetry.records import GpuReading


def test_a_message_names_the_tokens_that_are_done():
    reading, writing = os.pipe()
    progress = ProgressMessages(MessageWriter(writing))
    progress(0)
    progress.count_tokens(4096)
    progress(19)
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123  a descriptor
        messages = LineReader(MESSAGES).feed(pipe.read())
    assert [(message["sequences"], message.get("tokens")) for message in messages] == [(0, None), (19, 4096)]
    sequences, tokens = [], []
    with Supervisor(Timeouts()) as supervisor:
        for message in messages:
            supervisor._handle(message, sequences.append, tokens.append)
            supervisor._handle(message, None, None)
    assert (sequences, tokens) == ([0, 19], [4096])


def test_messages_count_batches_and_name_the_newest_reading_once_per_second(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("virnuc_profiler.sweep.worker.message_writer.time.monotonic", lambda: now[0])
    monkeypatch.setattr(
        "virnuc_profiler.sweep.worker.message_writer.latest_reading", lambda: GpuReading(int(now[0]), 97)
    )
    reading, writing = os.pipe()
    progress = ProgressMessages(MessageWriter(writing))
    progress(0)
    for batch in range(1, 26):
        progress(19 * batch)
        now[0] += 0.1
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123  a descriptor
        messages = LineReader(MESSAGES).feed(pipe.read())
    assert [message["batches"] for message in messages[1:]][-1] >= 24
    assert [message["gpu"]["at_ns"] for message in messages if "gpu" in message] == [100, 101, 102]
    with Supervisor(Timeouts()) as supervisor:
        for message in messages:
            supervisor._handle(message, None, None)
        assert supervisor.figures.batches == messages[-1]["batches"]
        assert supervisor.figures.gpu == GpuReading(102, 97)
        supervisor._handle({**messages[-1], "gpu": {"no": "reading"}}, None, None)
        assert supervisor.figures.gpu == GpuReading(102, 97)
        supervisor._handle(messages[0], None, None)
        assert supervisor.figures == LiveFigures()
