# SPDX-License-Identifier: MIT
import multiprocessing
import multiprocessing.connection
import os
import queue
import signal
import struct
import threading

import pytest

from virnuc_profiler.inference.loading import watched_queue
from virnuc_profiler.inference.loading.watched_queue import WatchedQueue

LARGE = os.urandom(300_000)


@pytest.fixture
def messages():
    return multiprocessing.get_context("forkserver").Queue()


@pytest.fixture
def worker():
    """A process that lives until it is killed."""
    process = multiprocessing.get_context("forkserver").Process(target=signal.pause)
    process.start()
    yield process
    process.kill()
    process.join()


def test_messages_of_any_size_arrive_unchanged(messages, worker):
    watched = WatchedQueue(messages, [worker], [True])
    sent = [(0, "a"), (1, LARGE), (2, b""), (3, {"b": [1, 2]}), (4, LARGE * 3)]
    for message in sent:
        messages.put(message)
    assert [watched.get(timeout=60) for _ in sent] == sent
    with pytest.raises(queue.Empty):
        watched.get(timeout=0.01)


class CannotBeRead:
    def __reduce__(self):
        return int, ("no number",)


def test_only_the_message_that_cannot_be_unpickled_is_lost(messages, worker):
    watched = WatchedQueue(messages, [worker], [True])
    for message in (CannotBeRead(), LARGE, "next"):
        messages.put(message)
    with pytest.raises(ValueError, match="no number"):
        watched.get(timeout=60)
    assert watched.get(timeout=60) == LARGE
    assert watched.get(timeout=60) == "next"


def test_a_death_is_noticed_before_messages_of_other_workers(messages, worker):
    watched = WatchedQueue(messages, [worker], [True])
    body = bytes(multiprocessing.reduction.ForkingPickler.dumps("sent"))
    for _ in range(3):
        messages._sem.acquire()
    os.write(messages._writer.fileno(), 3 * (struct.pack("!i", len(body)) + body))
    assert watched.get() == "sent"  # the other messages were read ahead with it
    assert watched.get() == "sent"
    worker.kill()
    multiprocessing.connection.wait([worker.sentinel])
    with pytest.raises(queue.Empty):
        watched.get()


def test_a_message_with_an_eight_byte_length(messages, worker):
    body = multiprocessing.reduction.ForkingPickler.dumps("long")
    messages._sem.acquire()
    os.write(messages._writer.fileno(), struct.pack("!iQ", -1, len(body)) + bytes(body))
    assert WatchedQueue(messages, [worker], [True]).get(timeout=60) == "long"


def test_a_timeout_in_the_middle_of_a_message_loses_nothing(messages, worker):
    body = bytes(multiprocessing.reduction.ForkingPickler.dumps(LARGE))
    whole = struct.pack("!i", len(body)) + body
    watched = WatchedQueue(messages, [worker], [True])
    messages._sem.acquire()
    for cut in (2, 4, 1000, 40_000):
        os.write(messages._writer.fileno(), whole[:cut])
        whole = whole[cut:]
        with pytest.raises(queue.Empty):
            watched.get(timeout=0.01)
    writer = threading.Thread(target=messages._writer._send, args=(whole,))
    writer.start()
    assert watched.get() == LARGE
    writer.join()


def test_a_death_ends_the_wait_for_the_other_half_of_a_message(messages, worker):
    watched = WatchedQueue(messages, [worker], [True])
    os.write(messages._writer.fileno(), struct.pack("!i", 1000) + b"half of it")
    with pytest.raises(queue.Empty):
        watched.get(timeout=0.01)
    worker.kill()
    with pytest.raises(queue.Empty):
        watched.get()  # without a timeout it would wait forever


def test_the_time_in_which_a_worker_is_stopped_does_not_count_towards_the_timeout(messages, worker, monkeypatch):
    stopped = threading.Event()
    stopped.set()
    monkeypatch.setattr(watched_queue, "stopped_among", lambda pids: list(pids) if stopped.is_set() else [])
    watched = WatchedQueue(messages, [worker], [True])
    threading.Timer(3.0, messages.put, ["late"]).start()
    assert watched.get(timeout=1.2) == "late"
    stopped.clear()
    with pytest.raises(queue.Empty):
        watched.get(timeout=0.01)


def test_a_worker_that_has_nothing_more_to_send_may_end(messages, worker):
    watched = WatchedQueue(messages, [worker], [False])
    worker.kill()
    worker.join()
    messages.put("from another one")
    assert watched.get(timeout=60) == "from another one"
