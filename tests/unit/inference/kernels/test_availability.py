# SPDX-License-Identifier: MIT
"""The reasons why the Triton kernels cannot run."""

import pytest
import torch

from virnuc_profiler.inference.kernels import availability
from virnuc_profiler.inference.kernels.availability import unavailable_reason

CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def modern_gpu_with_everything_triton_needs(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA Test")
    monkeypatch.setattr(availability, "find_spec", lambda name: object())
    monkeypatch.setattr(availability, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.delenv("CC", raising=False)
    availability._triton_unavailable_reason.cache_clear()
    yield
    availability._triton_unavailable_reason.cache_clear()


def test_kernels_run_on_a_modern_gpu_in_half_precision():
    assert unavailable_reason(CUDA, torch.bfloat16) == unavailable_reason(CUDA, torch.float16) == ""


def test_device_and_dtype_are_checked(monkeypatch):
    assert unavailable_reason(torch.device("cpu"), torch.bfloat16) == "it needs a CUDA device, not cpu"
    assert unavailable_reason(CUDA, torch.float32) == "it computes in fp16 or bf16, not torch.float32"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert "NVIDIA Test is older than Ampere" in unavailable_reason(CUDA, torch.float16)


def test_triton_must_be_installed(monkeypatch):
    monkeypatch.setattr(availability, "find_spec", lambda name: None)
    assert "triton is not installed" in unavailable_reason(CUDA, torch.float16)


@pytest.mark.parametrize(("compiler", "found"), [(None, False), ("mycc", False), ("mycc", True)])
def test_triton_needs_a_compiler(monkeypatch, compiler, found):
    if compiler:
        monkeypatch.setenv("CC", compiler)
    monkeypatch.setattr(availability, "which", lambda name: name if found and name == compiler else None)
    assert unavailable_reason(CUDA, torch.float16) == (
        "" if found else "Triton needs a C compiler: install gcc or clang, or name one in CC"
    )


def test_triton_needs_pythons_headers(monkeypatch, tmp_path):
    monkeypatch.setattr(availability.sysconfig, "get_path", lambda name: str(tmp_path))
    assert f"{tmp_path} has none: install python3-dev" in unavailable_reason(CUDA, torch.float16)
