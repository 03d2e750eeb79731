# SPDX-License-Identifier: MIT
"""What the supervisor is made of, without any process: protocol, deadlines, policy, counters."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch

from tests.support.sweeps import failure, success
from virnuc_profiler.errors import CudaError, ModelError, UsageError
from virnuc_profiler.sweep.plan.configuration import BASELINE
from virnuc_profiler.sweep.plan.request import DeviceName, Request
from virnuc_profiler.sweep.worker.damage import MAX_NEW_BYTES, Resources, damage, growth
from virnuc_profiler.sweep.worker.deadlines import Watch
from virnuc_profiler.sweep.worker.outcomes import failed_trial, lost
from virnuc_profiler.sweep.worker.process import OutputFile
from virnuc_profiler.sweep.worker.protocol import (
    MAX_LINE_BYTES,
    MESSAGES,
    LineReader,
    ProtocolError,
    describe_error,
    encode,
    error_from,
)

CLEAN = {"workers_left": [], "leaked_device_bytes": 0, "device_memory_before": 10**9}


def test_messages_survive_any_cut():
    sent = encode("progress", sequences=7) + encode("log", level=30, text="ü\n\u2028")
    for size in (1, 2, 7, len(sent)):
        reader = LineReader(MESSAGES)
        read = [message for at in range(0, len(sent), size) for message in reader.feed(sent[at : at + size])]
        assert [message["kind"] for message in read] == ["progress", "log"]
        assert (read[0]["sequences"], read[1]["text"]) == (7, "ü\n\u2028")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"Segmentation fault\n", "not a message: b'Segmentation fault'"),
        (b"[1]\n", "not a message"),
        (b"[" * 100_000 + b"\n", "not a message"),
        (b'{"version": 1, "kind": "hello"}\n', "protocol version 1; this side has 2"),
        (b'{"version": 2, "kind": "stop"}\n', "unknown kind 'stop'"),
        (b"x" * (MAX_LINE_BYTES + 1), "more than 1,048,576 bytes"),
    ],
)
def test_what_is_no_message_is_refused(line, words):
    with pytest.raises(ProtocolError, match=words):
        LineReader(MESSAGES).feed(line)


def test_too_long_a_message_is_not_sent():
    with pytest.raises(ProtocolError, match="'result' message"):
        encode("result", text="x" * MAX_LINE_BYTES)


def test_a_request_arrives_as_it_was_sent():
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
def test_errors_keep_their_kind_as_far_as_it_is_known(error, kind, message):
    arrived = error_from(json.loads(json.dumps(describe_error(error))))
    assert isinstance(arrived, kind)
    assert str(arrived) == message


def test_an_error_cannot_name_just_any_class():
    assert type(error_from({"error": "SystemExit", "message": "0"})) is RuntimeError


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_silence_is_counted_from_the_last_message():
    clock = Clock()
    watch = Watch(progress_s=10.0, extra_s=2.0, clock=clock)
    clock.now += 11
    watch.heard()
    assert (watch.left_s(), watch.passed()) == (12.0, None)
    clock.now += 12
    passed = watch.passed()
    assert (passed.deadline, passed.limit_s, passed.waited_s, watch.left_s()) == ("hang", 10.0, 12.0, 0.0)
    assert "no batch was finished for 10 s" in str(passed)


def test_progress_does_not_extend_the_total():
    clock = Clock()
    watch = Watch(progress_s=10.0, total_s=15.0, clock=clock)
    watch.begun()
    for _ in range(3):
        clock.now += 6
        watch.heard()
    assert watch.passed().deadline == "total"


def test_a_start_has_one_deadline_and_without_any_there_is_no_end():
    clock = Clock()
    watch, endless = Watch(start_s=5.0, clock=clock), Watch(clock=clock)
    clock.now += 5
    watch.heard()
    assert watch.passed().deadline == "start"
    assert (endless.left_s(), endless.passed()) == (None, None)


def outcome(reason, cleanup=CLEAN, **changes):
    return failure(BASELINE, reason, cleanup=cleanup, **changes)


@pytest.mark.parametrize("reason", ["cuda_error", "timeout", "worker_crash", "error", "something new"])
def test_whatever_else_fails_is_damage(reason):
    assert damage(outcome(reason)) == f"the trial failed with {reason}"


def test_memory_that_ran_out_is_damage_only_if_it_stays_away():
    assert damage(outcome("OOM", memory="device")) is None
    assert damage(outcome("OOM", memory="host", cleanup={**CLEAN, "leaked_device_bytes": None})) is None
    assert "not known" in damage(outcome("OOM", memory="device", cleanup={**CLEAN, "leaked_device_bytes": None}))
    assert "not known" in damage(outcome("OOM", None, memory="device"))
    assert "did not come back" in damage(outcome("OOM", {**CLEAN, "leaked_device_bytes": 10**9}))
    assert damage(outcome("OOM", None, predicted=True)) is None


def test_a_success_can_leave_damage_too():
    assert damage(success(BASELINE, cleanup=CLEAN)) is None
    assert damage(success(BASELINE)) is None
    assert damage(success(BASELINE, cleanup={**CLEAN, "workers_left": [7, 8]})) == "worker processes were left: 7, 8"
    assert "did not come back" in damage(success(BASELINE, cleanup={**CLEAN, "leaked_device_bytes": 10**8}))
    assert damage(success(BASELINE, cleanup={**CLEAN, "leaked_device_bytes": 10**7})) is None


def test_growth_is_told_from_warming_up():
    first = Resources(10**9, 40, 2)
    assert growth(first, Resources(10**9 + MAX_NEW_BYTES, 104, 6)) is None
    assert "device memory" in growth(first, Resources(10**9 + MAX_NEW_BYTES + 1, 40, 2))
    assert "65 open files" in growth(first, Resources(10**9, 105, 2))
    assert "5 processes" in growth(first, Resources(None, 40, 7))
    assert growth(Resources(None, 40, 2), Resources(None, 40, 2)) is None


FATE = {"pid": 7, "exit_code": None, "signal": "SIGKILL", "stopped_by": None, "processes_left": []}


def test_only_what_the_kernel_killed_ran_out_of_memory():
    out_of_memory = failed_trial(BASELINE, lost(FATE, [], {"/proc/vmstat": 1}), None)
    assert (out_of_memory.reason, out_of_memory.memory) == ("OOM", "host")
    killed = failed_trial(BASELINE, lost(FATE, ["last words"], {}), None)
    assert (killed.reason, killed.memory) == ("error", None)
    assert "(pid 7) was killed by SIGKILL; it last printed: last words; its telemetry is missing" in killed.message
    crashed = failed_trial(BASELINE, lost({**FATE, "signal": "SIGABRT"}, [], {"/proc/vmstat": 1}), None)
    assert crashed.reason == "error"


def test_the_last_words_are_kept_and_the_rest_is_not():
    file = OutputFile()
    with open(file.descriptor, "w", closefd=False) as printer:
        printer.write("".join(f"line {number}\n\n" for number in range(5000)))
        printer.flush()
        assert file.take()[-2:] == ["line 4998", "line 4999"]
        printer.write("after\n")
    assert file.last_lines(20) == ["after"]
    file.close()


def test_output_without_end_is_shortened_and_its_last_words_are_kept():
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
