# SPDX-License-Identifier: MIT
"""GPU work of groups of ranges, in which each operation of a group counts once, however its ranges nest or overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from virnuc_profiler.analysis.nsys.projection import Projections
from virnuc_profiler.telemetry.stage_columns import Column, Mask


@dataclass(frozen=True, slots=True, eq=False)
class GroupWork:
    """The launches of each group of ranges.

    The launches of a range are consecutive. The ranges of a group that overlap are merged as intervals of launches, by
    the same trick as in `length_by_group`; prefix sums then give the sum over each interval.

    Attributes:
        projections: Projections of the ranges.
        members: Positions of the ranges, by group.
        bounds: Start and end of each group in `members`, as columns of shape (2, groups).
        begin: First launch of each merged interval.
        end: One past its last launch.
        group: Group of each merged interval, in ascending order.
        irregular: Whether a group is counted range by range, because some of its launches straddle the ends of
            ranges, or launched an operation that another launch has too.
    """

    projections: Projections
    members: Column
    bounds: Column
    begin: Column
    end: Column
    group: Column
    irregular: Mask

    @classmethod
    def of(cls, projections: Projections, group: Column, groups: int) -> GroupWork:
        """Merge the launches of each group.

        Args:
            projections: Projections of ranges.
            group: Group of each range, from 0 to `groups` - 1.
            groups: Number of groups.
        """
        members = np.argsort(group, kind="stable")
        ends = np.cumsum(np.bincount(group, minlength=groups))
        bounds = np.stack([np.append(0, ends)[:-1], ends]) if groups else np.zeros((2, 0), np.int64)
        chosen = np.flatnonzero(projections.first < projections.last)
        chosen = chosen[np.lexsort((projections.first[chosen], group[chosen]))]
        first, last, of_chosen = projections.first[chosen], projections.last[chosen], group[chosen]
        base = of_chosen * (len(projections.launches) + 1)
        reached = np.maximum.accumulate(last + base)
        begin = np.minimum(np.maximum(first, np.append(0, reached[:-1]) - base), last)
        irregular = np.bincount(of_chosen[_irregular(projections, chosen)], minlength=groups) > 0
        return cls(projections, members, bounds, begin, last, of_chosen, irregular)

    def __len__(self) -> int:
        return len(self.irregular)

    def label(self, group: int) -> tuple[str, str]:
        """Return domain and name of the ranges of a group.

        Args:
            group: Number of the group.
        """
        first = self.projections.ranges[int(self.members[self.bounds[0, group]])]
        return first.domain, first.name

    def ranges_of(self, group: int) -> Column:
        """Return the positions of the ranges of a group.

        Args:
            group: Number of the group.
        """
        low, high = self.bounds[:, group].tolist()
        return self.members[low:high]

    def operations_of(self, group: int) -> Column:
        """Return the positions of the operations of a group, each once, in ascending order.

        Args:
            group: Number of the group.
        """
        operation = self.projections.launches.operation
        if self.irregular[group]:
            launched = [self.projections.launched(member) for member in self.ranges_of(group).tolist()]
            return np.unique(operation[np.concatenate(launched)])
        low, high = np.searchsorted(self.group, [group, group + 1])
        return np.sort(operation[positions_between(self.begin[low:high], self.end[low:high])])

    def sums(self, values: Column) -> Column:
        """Return the sum of a value over the operations of each group, as a column of shape (groups,).

        Args:
            values: Value of each operation.
        """
        until = np.append(0, np.cumsum(values[self.projections.launches.operation]))
        total = sum_by_group(until[self.end] - until[self.begin], self.group, len(self))
        for group in np.flatnonzero(self.irregular).tolist():  # few
            total[group] = values[self.operations_of(group)].sum()
        return total


def sum_by_group(values: Column, group: Column, groups: int) -> Column:
    """Return the sum of the values in each group, as a column of shape (groups,).

    Args:
        values: Values to add up, exactly.
        group: Group of each value, from 0 to `groups` - 1.
        groups: Number of groups.
    """
    total = np.zeros(groups, np.int64)
    np.add.at(total, group, values)
    return total


def positions_between(first: Column, last: Column) -> Column:
    """Return the positions of several intervals, one after the other.

    Args:
        first: First position of each interval.
        last: One past the last position of each interval.
    """
    widths = last - first
    before = np.cumsum(widths) - widths
    positions: Column = np.arange(int(widths.sum())) + np.repeat(first - before, widths)
    return positions


def _irregular(projections: Projections, chosen: Column) -> Mask:
    """Return which ranges have launches that straddle their ends, or operations that another launch has too."""
    operation = projections.launches.operation
    repeated = np.bincount(operation, minlength=1)[operation] > 1
    until = np.append(0, np.cumsum(repeated))
    found: Mask = until[projections.last[chosen]] > until[projections.first[chosen]]
    return found | projections.straddled[chosen]
