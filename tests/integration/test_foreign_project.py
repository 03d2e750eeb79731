# SPDX-License-Identifier: MIT
"""The plugin in a small project of its own, where there is nothing but the installed package: the page's own tests.

``VIRNUC_FOREIGN_PYTHON`` names the Python of another environment that has the package, pytest, and its plugins.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import virnuc_profiler
from virnuc_profiler.telemetry.run_result import RunResult

PAGE = Path(__file__).parents[2] / "docs" / "test-performance-with-pytest.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
PYTHON = os.environ.get("VIRNUC_FOREIGN_PYTHON", sys.executable)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path):
    """Run a command of that Python in a folder that holds the tests of the page alone."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "PYTEST_"))}

    def do(*arguments, **environment):
        return subprocess.run(
            [PYTHON, *arguments],
            cwd=tmp_path, env={**clean, **environment}, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip

    ask = (
        "import importlib.metadata as m, virnuc_profiler as p;"
        "print([e.name for e in m.entry_points(group='pytest11') if e.name == 'virnuc_profiler'], p.__file__)"
    )
    found = do("-c", ask).stdout
    if "['virnuc_profiler']" not in found or str(ROOT) in found:
        pytest.skip(f"the Python {PYTHON} has no installed package with the plugin, beside {virnuc_profiler.__file__}")
    (tmp_path / "test_encode.py").write_text("\n\n".join(BLOCKS), encoding="utf-8")
    return do


@pytest.mark.slow
def test_the_tests_of_the_page_are_profiled_stored_and_compared(project, tmp_path):
    few = ("-p", "no:cacheprovider", "--benchmark-max-time=0.2", "--benchmark-min-rounds=60")
    saved = project("-m", "pytest", *few, "--virnuc-save", "perf/main", "--junitxml", "out.xml")
    assert saved.returncode == 0, saved.stdout + saved.stderr
    assert "virnuc_profiler: profiled tests" in saved.stdout
    assert "Stored: 4 runs in perf/main" in saved.stdout
    files = list((tmp_path / "perf" / "main").iterdir())
    runs = {run.metadata["target"]["test"]: run for run in map(RunResult.load, files)}
    assert runs.keys() == {
        f"test_encode.py::{name}" for name in ("test_encode[5000]", "test_encode[20000]", "test_loop", "test_both")
    }
    assert all(len(run.batches) >= 60 for run in runs.values())
    names = {found.get("name") for found in ElementTree.parse(tmp_path / "out.xml").iter("property")}
    assert {"virnuc_rounds", "virnuc_rate", "virnuc_run"} <= names

    compared = project("-m", "pytest", *few, "--virnuc-compare", "perf/main", "--virnuc-threshold", "50")
    assert "Rate" in compared.stdout
    assert "rounds/s" in compared.stdout

    shown = project("-m", "virnuc_profiler", "report", str(files[0]))
    assert shown.returncode == 0, shown.stderr

    workers = project("-m", "pytest", *few, "-n", "2", "--virnuc-save", "perf/workers")
    assert workers.returncode == 0, workers.stdout + workers.stderr
    assert "2 processes ran tests at the same time" in workers.stdout
    assert {file.name for file in (tmp_path / "perf" / "workers").iterdir()} == {file.name for file in files}


@pytest.mark.slow
def test_a_test_that_became_slower_fails(project, tmp_path):
    (tmp_path / "test_encode.py").write_text(
        "import os, time\n\ndef test_it(virnuc_profiler):\n"
        "    virnuc_profiler.repeat(lambda: time.sleep(float(os.environ['ROUND_S'])), rounds=60)\n",
        encoding="utf-8",
    )
    common = ("-m", "pytest", "-p", "no:cacheprovider", "-q")
    for number in range(5):  # repeats: a single run on a busy machine may be too unsteady to tell
        assert project(*common, "--virnuc-save", f"before/{number}", ROUND_S="0.004").returncode == 0
    slower = project(*common, "--virnuc-compare", "before", ROUND_S="0.1")
    assert slower.returncode == 1, slower.stdout + slower.stderr
    assert "_ test_it _" in slower.stdout
    assert "\nSLOWER: " in slower.stdout or "\nSLOWER in " in slower.stdout


@pytest.mark.slow
def test_it_disturbs_no_session_that_does_not_use_it(project, tmp_path):
    (tmp_path / "test_encode.py").write_text(
        "import sys\n\ndef test_it():\n"
        "    assert 'virnuc_profiler.pytest_plugin.plugin' in sys.modules\n"
        "    assert 'virnuc_profiler.capture' not in sys.modules\n",
        encoding="utf-8",
    )
    done = project("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error")
    assert done.returncode == 0, done.stdout
    assert "virnuc_profiler" not in done.stdout
    without = project("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:virnuc_profiler")
    assert without.returncode == 1
