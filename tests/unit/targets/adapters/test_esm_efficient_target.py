# SPDX-License-Identifier: MIT
import pytest
import torch

from tests.support.adapters import (
    check_closing_early,
    check_contract,
    configuration_of,
    default_grid_size,
    program,
    run_adapter,
    tiny_options,
    write_workload,
)
from virnuc_profiler.errors import UsageError
from virnuc_profiler.targets.adapters.esm_efficient_target import EsmEfficientTarget

esme = program("esme", "needs esm-efficient and flash-attn")
program("esme.data", "needs all that esm-efficient needs")

STAGES = ("fetch", "h2d", "forward", "pool", "d2h", "emit")


@pytest.fixture
def workload(tmp_path):
    return write_workload(tmp_path)


def test_every_sequence_is_embedded_once_and_the_packing_is_counted(workload):
    ran, target = run_adapter(EsmEfficientTarget, workload, token_budget=1100)
    check_contract(target, ran, workload, STAGES)
    assert len(ran.batches) > 1
    for batch in ran.result.batches:
        assert batch.packing.packing_efficiency == pytest.approx(batch.packing.tokens / 1100)


def test_the_vectors_are_those_of_the_model_one_sequence_at_a_time(workload):
    ran, target = run_adapter(EsmEfficientTarget, workload, token_budget=1100)
    for name, sequence in workload.records():
        tokens, _, cu_lens, longest = esme.alphabet.tokenize_unpad([sequence], alphabet=esme.alphabet.Alphabet)
        with torch.no_grad():
            hidden = target.model.forward_representation(tokens, (cu_lens, longest))
        torch.testing.assert_close(ran.vectors[name], hidden.float().mean(0), atol=0.05, rtol=0.05)


def test_workers_end_with_a_run_that_is_ended_early(workload):
    check_closing_early(EsmEfficientTarget, workload, token_budget=1100, num_workers=2)


def test_a_budget_that_its_dataset_cannot_begin_with_is_refused(workload):
    with pytest.raises(UsageError, match="token_budget is 3: esm-efficient needs at least"):
        run_adapter(EsmEfficientTarget, workload, token_budget=3)


def test_a_probe_runs_a_pack():
    target = EsmEfficientTarget(tiny_options())
    target.probe(configuration_of(target), 2048)


def test_the_default_grid_is_small():
    assert default_grid_size(EsmEfficientTarget(tiny_options())) <= 12
