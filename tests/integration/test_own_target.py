# SPDX-License-Identifier: MIT
"""The example of a target: as short as its page says, and tuned where there is nothing but the installed package."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import virnuc_profiler
from tests.support.command import run
from virnuc_profiler import Target, TargetOptions
from virnuc_profiler.sweep.results.result_files import read_best, read_step

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = DOCS / "examples" / "own_target.py"
PAGE = (DOCS / "tune-your-runner.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FEW = ("--device", "cpu", "--num-sequences", "24")


def test_the_page_shows_the_target_as_it_is_in_the_file():
    code = EXAMPLE.read_text(encoding="utf-8")
    imports, _, target = BLOCKS[0].partition("\n\n\n")
    assert target in code
    assert imports[imports.index("from virnuc_profiler") :] in code


def test_the_target_is_about_twenty_lines():
    target = EXAMPLE.read_text(encoding="utf-8").partition("class OwnTarget:")[2]
    lines = [line for line in target.splitlines() if line.strip() and '"""' not in line]
    assert len(lines) <= 22


@pytest.mark.slow
def test_what_is_optional_works_too(tmp_path):
    """The second block of the page, as a target of its own."""
    assert len(BLOCKS) == 2
    code = f"{EXAMPLE.read_text(encoding='utf-8')}\n\n{BLOCKS[1]}\n\nmore = WithMore\n"
    (tmp_path / "with_more.py").write_text(code, encoding="utf-8")
    target = f"{tmp_path / 'with_more.py'}:more"
    checked = run("doctor", "--target", target, "--device", "cpu", timeout=120)
    for optional in ("a memory forecast", "a warm-up of its own", "a clean-up of its own"):
        assert optional in " ".join(checked.out.split())
    finished = run("profile", "--target", target, *FEW, "--output-dir", tmp_path / "out")
    assert finished.code == 0, finished.err
    document = json.loads(next((tmp_path / "out").glob("run_*.json")).read_text())
    assert document["stage_names"] == ["fetch", "forward", "d2h"]


@pytest.fixture
def stranger(tmp_path):
    """The command of the installed package in a folder that holds the example alone."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ask = [sys.executable, "-c", "import virnuc_profiler; print(virnuc_profiler.__file__)"]
    found = subprocess.run(ask, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False).stdout.strip()
    command = Path(sys.executable).with_name("virnuc-profiler")
    if found != virnuc_profiler.__file__ or not command.exists():
        pytest.skip(f"these tests run with {virnuc_profiler.__file__}, which is not the installed package")
    shutil.copy(EXAMPLE, tmp_path)

    def do(*arguments):
        return run(*arguments, program=(str(command),), cwd=tmp_path, env={"PYTHONPATH": ""}, timeout=240)

    return do


@pytest.mark.slow
def test_it_is_tuned_in_a_folder_of_its_own_by_the_installed_package(stranger, tmp_path):
    target = ("--target", "own_target.py:make")
    assert stranger("doctor", *target, "--device", "cpu").code == 0

    short = ("--trial-seconds", "0.3", "--cooldown", "0", "--knob", "batch_size=2,8", "--output-dir", "swept")
    swept = stranger("sweep", *target, *FEW, *short)
    assert swept.code == 0, swept.err
    assert "Grid of own_target.py:make" in swept.out
    grid = read_step(tmp_path / "swept" / "grid_sweep.json")
    tried = {(one.configuration.batch_size, one.configuration.sort_by_length) for one in grid.results}
    assert tried == {(2, False), (2, True), (8, False), (8, True)}
    assert all(one.succeeded for one in grid.results)
    assert read_best(tmp_path / "swept" / "best_config.json").choice.configuration in [
        one.configuration for one in grid.results
    ]

    for size in (2, 8):
        one = stranger("profile", *target, *FEW, "--knob", f"batch_size={size}", "--output-dir", f"profiled{size}")
        assert one.code == 0, one.err
        assert "Ran:     24 sequences" in one.out
        assert "Padding: " in one.out

    (tmp_path / "own_target.py").unlink()  # what follows needs the results alone
    report = stranger("report", "swept")
    assert "Validation of the Chosen Configuration" in report.out
    assert "forward" in stranger("report", str(next((tmp_path / "profiled2").glob("run_*.json")))).out
    compared = stranger("compare", "profiled2", "profiled8", "--json")
    assert compared.code == 0, compared.err
    differences = json.loads(compared.out)["differences"]
    assert any("batch_size" in str(one) for one in differences)
    assert stranger("sweep", "--resume", "swept").code == 0  # all is done


@pytest.mark.slow
def test_a_missing_file_is_named_with_its_path(tmp_path):
    finished = run("sweep", "--target", "absent.py:make", "--device", "cpu", cwd=tmp_path)
    assert finished.code == 2
    assert f"target file {tmp_path / 'absent.py'} does not exist" in finished.error


def test_it_keeps_the_contract():
    spec = importlib.util.spec_from_file_location("own_target", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert isinstance(module.make(TargetOptions("cpu")), Target)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        (
            "profiler.current_batch.set_packing",
            "print",
            "12 went in (3 batches without packing: call batch.set_",
        ),
        ('profiler.stage("d2h")', 'profiler.stage("copy")', "no stage 'copy'; the stages are: fetch, collate, h2d"),
        ("yield len(tokens)", "yield", "yielded None after a batch; yield the number of its sequences"),
        ("configuration.batch_size", "configuration.size", "a configuration has no 'size'"),
    ],
)
def test_a_likely_mistake_is_named(right, wrong, message, tmp_path):
    code = EXAMPLE.read_text(encoding="utf-8")
    assert right in code
    (tmp_path / "mine.py").write_text(code.replace(right, wrong), encoding="utf-8")
    target = ("--target", "mine.py:make", "--device", "cpu", "--num-sequences", "12")
    finished = run("profile", *target, "--output-dir", "out", cwd=tmp_path)
    assert finished.code != 0
    assert message in finished.error
