# SPDX-License-Identifier: MIT
"""The fixture `standins`; name this module in ``pytest_plugins``."""

import pytest

from tests.support.once import once_per_session
from tests.support.standin import Standins, build_standins, standins_in


@pytest.fixture(scope="session")
def standins(tmp_path_factory: pytest.TempPathFactory) -> Standins:
    """The stand-in driver libraries, compiled once for the test session."""
    return standins_in(once_per_session(tmp_path_factory, "standins", build_standins))
