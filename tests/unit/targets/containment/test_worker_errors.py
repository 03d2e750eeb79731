# SPDX-License-Identifier: MIT
"""Errors of plain loaders and pools are recognized, also those of PyTorch's own words; others are left alone."""

from concurrent.futures.process import BrokenProcessPool

import pytest

from virnuc_profiler.targets.containment.worker_errors import as_worker_crash


def linked(text, cause):
    error = RuntimeError(text)
    error.__cause__ = RuntimeError(cause)
    return error


@pytest.mark.parametrize(
    ("error", "words", "facts"),
    [
        (
            linked(
                "DataLoader worker (pid(s) 71, 72) exited unexpectedly",
                "DataLoader worker (pid 71) is killed by signal: Segmentation fault. ",
            ),
            "DataLoader worker (pid 71) was killed by SIGSEGV",
            {"pid": 71, "exit_code": -11},
        ),
        (
            RuntimeError("DataLoader worker (pid 71) exited unexpectedly with exit code 3. Details are lost."),
            "DataLoader worker (pid 71) exited unexpectedly with exit code 3",
            {"pid": 71, "exit_code": 3},
        ),
        (
            RuntimeError("DataLoader worker (pid(s) 71) exited unexpectedly"),
            "DataLoader worker (pid 71) exited unexpectedly",
            {"pid": 71, "exit_code": None},
        ),
        (
            TypeError(
                "Caught TypeError in DataLoader worker process 0.\nOriginal Traceback:\n  ...\nTypeError: no x\n"
            ),
            "a DataLoader worker raised TypeError: no x",
            {"exception": "TypeError", "exit_code": None},
        ),
        (BrokenProcessPool("A process died abruptly"), "A process died abruptly", {"pid": None}),
    ],
)
def test_an_error_of_a_worker_is_a_crash(error, words, facts):
    crash = as_worker_crash(error)
    assert words in str(crash)
    assert {name: getattr(crash, name) for name in facts} == facts


@pytest.mark.parametrize("error", [RuntimeError("CUDA error: unspecified"), ValueError("worker process"), KeyError()])
def test_any_other_error_is_none(error):
    assert as_worker_crash(error) is None
