# SPDX-License-Identifier: MIT
"""Token budgets that the longest sequence does not fit are refused before anything is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from virnuc_profiler.errors import UsageError
from virnuc_profiler.sweep.plan.steps import Step
from virnuc_profiler.sweep.plan.workload import Workload


def check_budgets(steps: Mapping[str, Step], names: Sequence[str], workload: Workload, validation: Workload) -> None:
    """Refuse token budgets that the longest sequence does not fit, before anything is run.

    Any configuration may win, so it must also fit the workload of the validation if that is among the steps. Other
    targets than the built-in one have their own rules for sequences that are too long.

    Args:
        steps: The planned steps by name.
        names: Names of the steps that will run.
        workload: Workload of the first four steps.
        validation: Workload of the validation.

    Raises:
        UsageError: The longest sequence does not fit a token budget.
    """
    longest, whose = workload.longest_tokens, ""
    if "validation" in names and validation.longest_tokens > longest:
        longest, whose = validation.longest_tokens, " of the validation"
    for name in names:
        for configuration in steps[name].configurations():
            if configuration.knobs.is_builtin:
                require_budget(configuration.token_budget, longest, whose)


def require_budget(token_budget: int, longest_tokens: int, whose: str = "") -> None:
    """Refuse a token budget that the longest sequence does not fit.

    Args:
        token_budget: The budget.
        longest_tokens: Tokens of the longest sequence, BOS and EOS included.
        whose: Which workload has that sequence, for the message.

    Raises:
        UsageError: The sequence does not fit.
    """
    if token_budget < longest_tokens:
        raise UsageError(
            f"token_budget is {token_budget:,}, but the longest sequence{whose} has {longest_tokens:,} tokens "
            f"(BOS and EOS included): use at least {longest_tokens:,}"
        )
