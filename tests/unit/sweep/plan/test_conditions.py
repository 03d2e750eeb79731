# SPDX-License-Identifier: MIT
from tests.support.sweeps import conditions


def test_a_changed_cpu_quota_is_another_condition():
    before, now = conditions(machine__cpu_usable_cores=2), conditions(machine__cpu_usable_cores=0.25)
    [difference] = now.differences(before)
    assert str(difference) == "machine.cpu_usable_cores was 2 and is now 0.25"
    assert conditions(machine__cpu_usable_cores=2.0).differences(before) == []
