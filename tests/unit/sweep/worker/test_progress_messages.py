# SPDX-License-Identifier: MIT
"""Progress from the model's process: sequences and tokens, as both sides of the pipe see them."""

import os

from virnuc_profiler.sweep.worker.deadlines import Timeouts
from virnuc_profiler.sweep.worker.message_writer import MessageWriter, ProgressMessages
from virnuc_profiler.sweep.worker.protocol import MESSAGES, LineReader
from virnuc_profiler.sweep.worker.supervisor import Supervisor


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
