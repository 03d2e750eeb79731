# SPDX-License-Identifier: MIT
"""Which trials must be measured again, because what disturbed them was not their configuration.

A condition that holds for all trials, such as a constant power cap or a device that is always hot, is none of these: a
trial is measured again only for a throttle reason that earlier trials lacked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from virnuc_profiler.sweep.results.result import OTHER_PROCESS_SHARE, Result


def reasons_to_repeat(result: Result, earlier: Sequence[Result]) -> tuple[str, ...]:
    """Return why a trial must be measured again, in sentences; empty if its figures are those of its configuration.

    Args:
        result: Result of the trial. A failure is not repeated.
        earlier: Results of the trials before it, in any order.
    """
    if not result.succeeded:
        return ()
    found = []
    if result.interrupted:
        found.append("the run, or the machine, was stopped meanwhile")
    share = (result.evidence or {}).get(OTHER_PROCESS_SHARE)
    if isinstance(share, int | float):
        found.append(f"other processes took {share:.0%} of the device's time")
    known = {reason for other in earlier for reason in _throttle_reasons(other)}
    if result.throttled and (new := [reason for reason in _throttle_reasons(result) if reason not in known]):
        found.append(f"the device was held down by {', '.join(new)}, and not in the trials before")
    return tuple(found)


def _throttle_reasons(result: Result) -> tuple[str, ...]:
    """Return the reasons that held the device down during a trial; those of a trial that was not are none."""
    if not result.throttled:
        return ()
    reasons: Any = (result.evidence or {}).get("reasons")
    return tuple(reasons) if isinstance(reasons, Mapping) and reasons else ("an unknown reason",)
