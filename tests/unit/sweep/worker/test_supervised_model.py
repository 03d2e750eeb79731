# SPDX-License-Identifier: MIT
"""Protocol, deadlines, results of crashes, and the policy that replaces a process, all without a process."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch

from tests.support.sweeps import failure, success
from virnuc_profiler.errors import CudaError, ModelError, UsageError
from virnuc_profiler.sweep.plan.request import DeviceName, Request
from virnuc_profiler.sweep.worker.damage import MAX_NEW_BYTES, Resources, damage, growth
from virnuc_profiler.sweep.worker.deadlines import Watchdog
from virnuc_profiler.sweep.worker.outcomes import crash_error, failed_trial
from virnuc_profiler.sweep.worker.output_file import OutputFile
from virnuc_profiler.sweep.worker.protocol import (
    MAX_LINE_BYTES,
    MESSAGES,
    LineReader,
    ProtocolError,
    describe_error,
    encode,
    error_from_message,
)
from virnuc_profiler.targets.knobs.configuration import BASELINE

CLEAN = {"workers_left": [], "leaked_device_bytes": 0, "device_memory_before": 10**9}


def test_messages_are_assembled_from_pieces_of_any_size():
    sent = encode("progress", sequences=7) + encode("log", level=30, text="ü\n\u2028")
    for size in (1, 2, 7, len(sent)):
        reader = LineReader(MESSAGES)
        read = [message for at in range(0, len(sent), size) for message in reader.feed(sent[at : at + size])]
        assert [message["kind"] for message in read] == ["progress", "log"]
        assert (read[0]["sequences"], read[1]["text"]) == (7, "ü\n\u2028")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"Segmentation fault\n", "a line that is no message: b'Segmentation fault'"),
        (b"[1]\n", "a line that is no message"),
        (b"[" * 100_000 + b"\n", "a line that is no message"),
        (b'{"version": 1, "kind": "hello"}\n', "protocol version 1; this side has 3"),
        (b'{"version": 3, "kind": "stop"}\n', "unexpected kind 'stop'"),
        (b"x" * (MAX_LINE_BYTES + 1), "more than 1,048,576 bytes"),
    ],
)
def test_an_invalid_line_is_refused(line, words):
    with pytest.raises(ProtocolError, match=words):
        LineReader(MESSAGES).feed(line)


def test_encode_refuses_a_message_that_is_too_long():
    with pytest.raises(ProtocolError, match="'result' message"):
        encode("result", text="x" * MAX_LINE_BYTES)


def test_a_request_survives_the_protocol():
    sent = Request(
        Path("out"), DeviceName("cuda", 1), "m", fasta=Path("a.fa"), timeout_s=1.5,
        model_knobs={"precision": "bf16"}, varied=("precision",),
    )  # fmt: skip
    assert Request.from_json(json.loads(json.dumps(sent.to_json()))) == sent
    here = dataclasses.replace(sent, device=torch.device("cuda:1"), fasta=None)
    assert Request.from_json(here.to_json()) == dataclasses.replace(sent, fasta=None)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (UsageError("no"), UsageError, "no"),
        (ModelError("none"), ModelError, "none"),
        (FileNotFoundError("gone"), OSError, "FileNotFoundError: gone"),
        (CudaError("lost", 700, "cuCtx"), Exception, "CudaError: lost"),
        (torch.cuda.OutOfMemoryError("full"), RuntimeError, "OutOfMemoryError: full"),
        (KeyError("x"), RuntimeError, "KeyError: 'x'"),
    ],
)
def test_errors_keep_their_nearest_known_class(error, kind, message):
    arrived = error_from_message(json.loads(json.dumps(describe_error(error))))
    assert isinstance(arrived, kind)
    assert str(arrived) == message


def test_an_unknown_error_class_becomes_a_runtime_error():
    assert type(error_from_message({"error": "SystemExit", "message": "0"})) is RuntimeError


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_the_progress_deadline_counts_from_the_last_message():
    clock = Clock()
    watchdog = Watchdog(progress_s=10.0, extra_s=2.0, clock=clock)
    clock.now += 11
    watchdog.reset_progress()
    assert (watchdog.remaining_s(), watchdog.expired()) == (12.0, None)
    clock.now += 12
    expired = watchdog.expired()
    assert (expired.deadline, expired.limit_s, expired.waited_s, watchdog.remaining_s()) == ("hang", 10.0, 12.0, 0.0)
    assert "no batch finished for 10 s" in str(expired)


def test_messages_do_not_extend_the_total_deadline():
    clock = Clock()
    watchdog = Watchdog(progress_s=10.0, total_s=15.0, clock=clock)
    watchdog.start_measuring()
    for _ in range(3):
        clock.now += 6
        watchdog.reset_progress()
    assert watchdog.expired().deadline == "total"


def test_the_start_deadline_is_fixed_and_without_deadlines_none_expires():
    clock = Clock()
    watchdog, endless = Watchdog(start_s=5.0, clock=clock), Watchdog(clock=clock)
    clock.now += 5
    watchdog.reset_progress()
    assert watchdog.expired().deadline == "start"
    assert (endless.remaining_s(), endless.expired()) == (None, None)


def test_a_clock_that_stands_still_keeps_stopped_time_out_of_every_deadline():
    clock, running = Clock(), Clock()
    watchdog = Watchdog(start_s=20.0, progress_s=10.0, total_s=15.0, clock=clock)
    watchdog.use_clock(running)
    watchdog.start_measuring()
    clock.now += 3600
    assert (watchdog.expired(), watchdog.remaining_s(), watchdog.poll_s()) == (None, 10.0, 1.0)
    running.now += 9.5
    assert (watchdog.expired(), watchdog.poll_s()) == (None, 0.5)
    running.now += 0.5
    assert watchdog.expired().deadline == "hang"
    assert Watchdog(clock=clock).poll_s() is None


def outcome(reason, cleanup=CLEAN, **changes):
    return failure(BASELINE, reason, cleanup=cleanup, **changes)


@pytest.mark.parametrize("reason", ["cuda_error", "timeout", "worker_crash", "error", "something new"])
def test_every_other_failure_counts_as_damage(reason):
    assert damage(outcome(reason)) == f"the trial failed with {reason}"


def test_out_of_memory_is_damage_only_if_memory_leaked():
    assert damage(outcome("OOM", memory="device")) is None
    assert damage(outcome("OOM", memory="host", cleanup={**CLEAN, "leaked_device_bytes": None})) is None
    assert "not known" in damage(outcome("OOM", memory="device", cleanup={**CLEAN, "leaked_device_bytes": None}))
    assert "not known" in damage(outcome("OOM", None, memory="device"))
    assert "did not come back" in damage(outcome("OOM", {**CLEAN, "leaked_device_bytes": 10**9}))
    assert damage(outcome("OOM", None, predicted=True)) is None


def test_a_successful_trial_can_leave_damage():
    assert damage(success(BASELINE, cleanup=CLEAN)) is None
    assert damage(success(BASELINE)) is None
    assert damage(success(BASELINE, cleanup={**CLEAN, "workers_left": [7, 8]})) == "worker processes were left: 7, 8"
    assert "did not come back" in damage(success(BASELINE, cleanup={**CLEAN, "leaked_device_bytes": 10**8}))
    assert damage(success(BASELINE, cleanup={**CLEAN, "leaked_device_bytes": 10**7})) is None


def test_growth_beyond_a_warm_up_is_reported():
    first = Resources(10**9, 40, 2)
    assert growth(first, Resources(10**9 + MAX_NEW_BYTES, 104, 6)) is None
    assert "device memory" in growth(first, Resources(10**9 + MAX_NEW_BYTES + 1, 40, 2))
    assert "65 open files" in growth(first, Resources(10**9, 105, 2))
    assert "5 processes" in growth(first, Resources(None, 40, 7))
    assert growth(Resources(None, 40, 2), Resources(None, 40, 2)) is None


EXIT_INFO = {"pid": 7, "exit_code": None, "signal": "SIGKILL", "stopped_by": None, "processes_left": []}


def test_sigkill_is_out_of_memory_only_if_the_kernel_counted_an_oom_kill():
    out_of_memory = failed_trial(BASELINE, crash_error(EXIT_INFO, [], {"/proc/vmstat": 1}), None)
    assert (out_of_memory.reason, out_of_memory.memory) == ("OOM", "host")
    killed = failed_trial(BASELINE, crash_error(EXIT_INFO, ["last line"], {}), None)
    assert (killed.reason, killed.memory) == ("error", None)
    assert "(pid 7) was killed by SIGKILL; it last printed: last line; its telemetry is missing" in killed.message
    crashed = failed_trial(BASELINE, crash_error({**EXIT_INFO, "signal": "SIGABRT"}, [], {"/proc/vmstat": 1}), None)
    assert crashed.reason == "error"


def test_take_returns_the_last_lines_and_empties_the_file():
    file = OutputFile()
    with open(file.descriptor, "w", closefd=False) as printer:
        printer.write("".join(f"line {number}\n\n" for number in range(5000)))
        printer.flush()
        assert file.take()[-2:] == ["line 4998", "line 4999"]
        printer.write("after\n")
    assert file.last_lines(20) == ["after"]
    file.close()


def test_endless_output_is_cut_down_to_its_last_lines():
    file = OutputFile()
    with open(file.descriptor, "wb", closefd=False) as printer:
        printer.write(b"a line of twenty-four by\n" * 1_000_000)
        printer.write(b"the last\n")
        printer.flush()
        file.shorten()
        assert os.fstat(file.descriptor).st_size < 100_000
        assert file.last_lines(2) == ["a line of twenty-four by", "the last"]
        printer.write(b"after\n")
    file.shorten()
    assert file.last_lines(2) == ["the last", "after"]
    file.close()
