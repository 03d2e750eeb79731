# SPDX-License-Identifier: MIT
"""Names of the files of tests."""

import re

from hypothesis import given
from hypothesis import strategies as st

from virnuc_profiler.pytest_plugin.plugin_session import run_file_name


@given(st.text())
def test_names_are_safe_and_short(test):
    name = run_file_name(test)
    assert re.fullmatch(r"run_[A-Za-z0-9._-]{0,80}-[0-9a-f]{10}\.json", name)
    assert name == run_file_name(test)


def test_names_are_readable_and_different():
    names = [run_file_name(f"tests/{folder}/test_a.py::test_b[{value}]") for folder in "xy" for value in ("1/2", "1-2")]
    assert len(set(names)) == 4
    assert all(name.startswith("run_") for name in names)
    assert run_file_name("tests/test_a.py::test_b").startswith("run_test_a.py-test_b-")
    assert run_file_name("tests/test_a.py::TestA::test_b[x/y]").startswith("run_test_a.py-TestA-test_b-x-y-")
