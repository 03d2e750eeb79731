# SPDX-License-Identifier: MIT
"""Names, devices and precisions that load_esm2_model accepts and refuses."""

import esm
import pytest
import torch

from virnuc_profiler import load_esm2_model
from virnuc_profiler.errors import UsageError
from virnuc_profiler.inference.esm2.config import ALPHABET_SIZE, MASK_TOKEN, MODEL_NAMES, PADDING_TOKEN
from virnuc_profiler.inference.esm2.config import resolve_model_name as find
from virnuc_profiler.inference.placement import resolve_device, resolve_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_the_defaults_give_a_model_and_fair_esms_converter():
    model, batch_converter = load_esm2_model("esm2_t6_8M_UR50D", "cpu", weights="random", seed=7)
    assert isinstance(batch_converter, esm.data.BatchConverter)
    assert model.info.model_name == "esm2_t6_8M_UR50D"
    assert model.info.weights == "random seed 7"
    assert model.info.weights_source == "random"
    assert model.info.precision == "fp32"
    assert model.info.parameters == pytest.approx(7.4e6, rel=0.01)


def test_short_names_mean_the_same():
    assert [find(short) for short in ("8M", "35m", "150M", "650M", "3b", "15B")] == list(MODEL_NAMES)
    assert [find(name) for name in MODEL_NAMES] == list(MODEL_NAMES)


@pytest.mark.parametrize("name", ["esm2_t6_8M", "3", "", "esm1b_t33_650M_UR50S"])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(UsageError, match=r"esm2_t6_8M_UR50D, .*esm2_t48_15B_UR50D.* 8M, 35M") as caught:
        load_esm2_model(name, "cpu")
    assert repr(name) in str(caught.value)


def test_the_constants_equal_fair_esms():
    alphabet = esm.data.Alphabet.from_architecture("ESM-1b")
    assert (len(alphabet), alphabet.padding_idx, alphabet.mask_idx) == (ALPHABET_SIZE, PADDING_TOKEN, MASK_TOKEN)


def test_devices_with_gpus(two_gpus):
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda", 1)
    assert resolve_device("cuda:0") == resolve_device(0) == resolve_device(CUDA) == CUDA
    assert resolve_device("cpu") == resolve_device(CPU) == CPU
    with pytest.raises(UsageError, match="'cuda:2' is not available: this process sees cuda:0 to cuda:1 and cpu"):
        resolve_device("cuda:2")


def test_devices_without_gpus(no_gpu):
    assert resolve_device("auto") == CPU
    for device in ("cuda", "cuda:0", 0, CUDA):
        with pytest.raises(UsageError, match=r"is not available: PyTorch .* sees no CUDA device, only cpu"):
            resolve_device(device)


@pytest.mark.parametrize("device", ["gpu", "", "cuda:x", "mps", None, 1.5])
def test_unknown_devices_are_refused(device):
    with pytest.raises(UsageError, match="is not one of auto, cpu, cuda, cuda:N"):
        resolve_device(device)


def test_precisions():
    assert resolve_precision(None, True, CUDA) == torch.float16
    assert resolve_precision(None, None, CUDA) == torch.float16  # the default of similar packages
    assert resolve_precision(None, False, CUDA) == torch.float32
    assert resolve_precision(None, True, CPU) == torch.float32
    assert resolve_precision("bf16", True, CPU) == torch.bfloat16
    assert resolve_precision("fp32", True, CUDA) == torch.float32
    with pytest.raises(UsageError, match="'fp16' needs a GPU: on the CPU use 'fp32', or 'bf16'"):
        resolve_precision("fp16", True, CPU)
    assert resolve_precision("fp8", True, CUDA) == torch.bfloat16  # except the inputs of matrix products
    with pytest.raises(UsageError, match="'int8': choose one of fp32, fp16, bf16, fp8"):
        resolve_precision("int8", True, CUDA)
    with pytest.raises(TypeError, match="enable_fp16 is 'fp32', must be True or False"):
        resolve_precision(None, "fp32", CUDA)
    with pytest.raises(UsageError, match="'fp8' cannot run: it needs a CUDA device, not cpu"):
        load_esm2_model("8M", "cpu", precision="fp8", weights="random")
