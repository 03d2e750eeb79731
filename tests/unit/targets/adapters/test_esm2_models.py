# SPDX-License-Identifier: MIT
import pytest
import torch

from virnuc_profiler.errors import UsageError
from virnuc_profiler.targets.adapters.esm2_models import check_precision, random_weights_on, resolve_size, torch_dtype


@pytest.mark.parametrize(
    ("model", "name", "layers"), [(None, "esm2_t33_650M_UR50D", 33), ("8M", "esm2_t6_8M_UR50D", 6), ("tiny", "tiny", 2)]
)
def test_a_model_is_found_by_its_name(model, name, layers):
    size = resolve_size(model)
    assert (size.name, size.architecture.num_layers) == (name, layers)


def test_an_unknown_model_is_refused():
    with pytest.raises(UsageError, match="unknown model '7B'"):
        resolve_size("7B")


def test_the_number_of_layers_can_be_another_one():
    assert resolve_size("tiny").with_layers(36).architecture.num_layers == 36


def test_a_precision_that_the_program_lacks_is_refused_with_those_that_it_has():
    assert check_precision("faesm", None, "fp32", "fp16") == "fp32"
    assert check_precision("faesm", "fp16", "fp32", "fp16") == "fp16"
    with pytest.raises(UsageError, match="--target faesm cannot run in 'fp8': choose fp32 or fp16"):
        check_precision("faesm", "fp8", "fp32", "fp16")


def test_random_weights_are_the_same_each_time_and_leave_the_random_state_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with random_weights_on("cpu"):
        first = torch.nn.Linear(4, 4).weight
    assert torch.equal(torch.rand(3), expected)
    with random_weights_on("cpu"):
        assert torch.equal(torch.nn.Linear(4, 4).weight, first)


def test_precisions_are_data_types():
    assert [torch_dtype(name) for name in ("fp32", "fp16", "bf16")] == [torch.float32, torch.float16, torch.bfloat16]
