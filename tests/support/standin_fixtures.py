# SPDX-License-Identifier: MIT
"""The fixture `standins`; name this module in ``pytest_plugins``."""

import pytest

from tests.support.standin import Standins, build_standins


@pytest.fixture(scope="session")
def standins(tmp_path_factory: pytest.TempPathFactory) -> Standins:
    """The stand-in driver libraries, compiled once for the test session."""
    return build_standins(tmp_path_factory.mktemp("standins"))
