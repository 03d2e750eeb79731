# SPDX-License-Identifier: MIT
"""Options on what a sweep minimizes, how often it measures, and whether it confirms."""

import pytest

from virnuc_profiler.cli.main import main
from virnuc_profiler.cli.options.decision_options import recorded_decisions, require_energy, steps_of
from virnuc_profiler.errors import UsageError
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.plan.steps import STEP_NAMES

DRY = ("sweep", "--dry-run", "--device", "cpu", "--num-sequences", "8", "--num-workers", "1", "--prefetch-factor", "2")


def test_a_confirmation_precedes_each_validation_unless_it_is_not_wanted():
    assert steps_of(("packing", "validation"), confirm=True) == ("packing", "confirmation", "validation")
    assert steps_of(("packing",), confirm=True) == ("packing",)
    assert steps_of(STEP_NAMES, confirm=False) == tuple(name for name in STEP_NAMES if name != "confirmation")
    with pytest.raises(UsageError, match="--no-confirm leaves nothing"):
        steps_of(("confirmation",), confirm=False)


@pytest.mark.parametrize("given", [("packing", "validation"), ("packing", "confirmation", "validation")])
def test_the_steps_of_a_resumed_sweep_may_be_repeated_as_they_were_given(given):
    steps = ("packing", "confirmation", "validation")
    assert recorded_decisions(Objective(), 1, steps, {"steps": given})["steps"] == given
    assert recorded_decisions(Objective(), 1, steps, {"steps": ("packing",)})["steps"] == steps
    without = recorded_decisions(Objective(), 1, ("packing", "validation"), {"steps": STEP_NAMES})
    assert (without["no_confirm"], without["steps"]) == (True, ("packing", "validation"))


def test_energy_needs_a_device_that_can_count_it(tmp_path, capsys):
    require_energy(Objective("energy"), "cuda")
    require_energy(Objective(), "cpu")
    assert main([*DRY, "--objective", "energy", "--output-dir", str(tmp_path)]) == 2
    assert "--objective energy needs a GPU with an energy counter" in capsys.readouterr().err


def test_a_dry_run_counts_blocks_and_names_the_confirmation(tmp_path, capsys):
    assert (
        main([*DRY, "--steps", "baseline,dataloader,validation", "--repeats", "2", "--output-dir", str(tmp_path)]) == 0
    )
    out = capsys.readouterr().out
    assert "dataloader: 1 configuration in 2 blocks\n" not in out  # the baseline is part of each block
    assert "dataloader: 2 configurations in 2 blocks\n" in out
    assert "num_workers=1, prefetch_factor=2, token_budget=4096, buffer_size=2000 (2 times)" in out
    assert "confirmation: the best, the runner-up and the baseline, in blocks\nvalidation: 1 configuration\n" in out
    assert "and at most a third more for the confirmation" in out
    assert main([*DRY, "--no-confirm", "--output-dir", str(tmp_path)]) == 0
    assert "confirmation" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "option", [("--repeats", "0"), ("--min-packing", "1.5"), ("--max-memory-gb", "0"), ("--objective", "speed")]
)
def test_values_that_make_no_sense_are_refused(option, capsys):
    assert main([*DRY, *option]) == 2
    assert option[0] in capsys.readouterr().err
