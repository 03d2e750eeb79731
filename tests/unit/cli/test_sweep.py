# SPDX-License-Identifier: MIT
"""What the sweep command prints of itself."""

import pytest

from virnuc_profiler.cli import sweep


@pytest.mark.parametrize(
    ("count", "configurations", "them"), [(1, "1 configuration", "it"), (1200, "1,200 configurations", "them")]
)
def test_what_the_machine_did_not_let_run_is_counted(count, configurations, them):
    expected = f"this machine did not let {configurations} run: sweep --resume out measures {them} again"
    assert sweep._not_let_run(count, "out") == expected
