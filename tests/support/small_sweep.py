# SPDX-License-Identifier: MIT
"""The fixture `small_sweep`; name this module in ``pytest_plugins``."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.support.command import SMALL, Finished, run
from tests.support.once import once_per_session


@pytest.fixture(scope="session")
def small_sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """The folder of a whole small sweep, which nothing interrupted, and what it printed. Not to be written to."""
    top = once_per_session(tmp_path_factory, "a sweep", _sweep)
    return top / "out", Finished(**json.loads((top / "printed.json").read_text()))


def _sweep(top: Path) -> None:
    finished = run("sweep", *SMALL, "--output-dir", top / "out")
    (top / "printed.json").write_text(json.dumps(asdict(finished)))
