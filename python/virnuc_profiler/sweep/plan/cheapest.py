# SPDX-License-Identifier: MIT
"""Which of several configurations that are equally good costs the least to run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from virnuc_profiler.targets.knobs.configuration import Configuration


def cheapest(configurations: Iterable[Configuration], memory_gb: Mapping[Configuration, float | None]) -> Configuration:
    """Return the configuration with the fewest workers; then with the least device memory, then host memory.

    Of a target whose knobs mean something else, what host memory they cost is not known: the one with the fewest values
    that are not defaults is simplest.

    Args:
        configurations: The configurations, at least one.
        memory_gb: Peak device memory of each in GB; None or absent if it was not measured.
    """

    def price(one: Configuration) -> tuple[float, ...]:
        memory = round(memory_gb.get(one) or 0.0, 2)  # less is noise
        if not one.knobs.is_builtin:
            changed = sum(one[name] != knob.default for name, knob in one.knobs.items())
            return int(one.get("num_workers") or 0), memory, changed
        return one.num_workers, memory, one.num_workers * one.prefetch_factor, one.buffer_size, one.token_budget

    return min(configurations, key=price)
