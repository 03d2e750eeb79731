# SPDX-License-Identifier: MIT
"""Simulated runs with several batches in flight, whose true rates are known."""

from tests.support.pipelines import GPU
from tests.support.run_records import batch, packing, run_of, stage

TOKENS = 1000
"""Tokens of each batch."""

_LAUNCH_MS, _EMIT_MS = 0.3, 0.05


def run_in_flight(ready_ms, *, forward_ms=10.0, copy_ms=0.2, in_flight=3, dropped=()):
    """Return a run whose loader has its batches ready at the given times in ms.

    The device computes one batch after the other and copies on separate streams. The host launches a batch as soon as
    it is ready, and takes the oldest results only when `in_flight` batches are queued.
    """
    host = copied_in = computed = copied_out = 0.0
    rows, waiting = [], []

    def take():
        nonlocal host
        row = waiting.pop(0)
        began = max(host, row["d2h"][1]) + 0.02
        host = began + _EMIT_MS
        row["emit"] = (began, host)

    for ready in ready_ms:
        began, host = host, max(host + 0.01, ready)
        fetch, launch, host = (began, host), host, host + _LAUNCH_MS
        h2d = (max(copied_in, launch + 0.02), max(copied_in, launch + 0.02) + copy_ms)
        copied_in = h2d[1]
        forward = (max(computed, copied_in, launch + 0.1), max(computed, copied_in, launch + 0.1) + forward_ms)
        computed = forward[1]
        d2h = (max(copied_out, computed), max(copied_out, computed) + copy_ms)
        copied_out = d2h[1]
        rows.append({"began": began, "fetch": fetch, "launch": launch, "h2d": h2d, "forward": forward, "d2h": d2h})
        waiting.append(rows[-1])
        if len(waiting) == in_flight:
            take()
    while waiting:
        take()
    batches = [_record(number, row, number in dropped) for number, row in enumerate(rows)]
    return run_of(batches, host + 0.1, device=GPU)


def _record(number, row, dropped):
    launch, times = row["launch"], {} if dropped else row
    stages = [
        stage("fetch", *row["fetch"]),
        stage("h2d", launch, launch + 0.05, times.get("h2d")),
        stage("forward", launch + 0.05, launch + _LAUNCH_MS - 0.05, times.get("forward")),
        stage("d2h", launch + _LAUNCH_MS - 0.05, launch + _LAUNCH_MS, times.get("d2h")),
        stage("emit", *row["emit"]),
    ]
    return batch(number, row["began"], row["emit"][1], stages, packing([100] * 10, TOKENS), dropped)
