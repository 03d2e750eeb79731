# SPDX-License-Identifier: MIT
"""Targets are found by their names, in modules, and in files of the user, and errors say how to get there."""

import subprocess
import sys
import textwrap
from types import MappingProxyType

import pytest

from virnuc_profiler.errors import ModelError, TargetError, UsageError
from virnuc_profiler.targets import registry
from virnuc_profiler.targets.contract import TargetOptions
from virnuc_profiler.targets.loaded_target import LoadedTarget
from virnuc_profiler.targets.registry import RegisteredTarget, make_target

OPTIONS = TargetOptions("cpu", model="650M")

MINIMAL = """
class Mine:
    def __init__(self, options):
        self.options = options
    def describe(self):
        return {"name": "mine"}
    def knobs(self):
        return []
    def run(self, workload, configuration, profiler):
        yield 0
"""


@pytest.fixture(autouse=True)
def clean_path(monkeypatch):
    """Imports of a test do not reach the next one."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_factory_in_a_file_gets_the_options_and_can_be_imported_by_processes_that_it_starts(tmp_path):
    (tmp_path / "helper_of_mine.py").write_text("NUMBER = 1\n")
    file = tmp_path / "my_runner_file.py"
    file.write_text(f"import helper_of_mine\n{MINIMAL}")
    made = make_target(f"{file}:Mine", OPTIONS)
    assert made.options == OPTIONS
    assert type(made).__module__ == "my_runner_file"
    assert str(tmp_path) in sys.path


def test_another_version_of_the_file_is_another_version_of_the_target(tmp_path):
    text = "from tests.support.toy_target import make\n"
    versions = []
    for name, source in (("one_version", text), ("same_version", text), ("other_version", text + "# changed\n")):
        path = tmp_path / f"{name}.py"
        path.write_text(source)
        versions.append(LoadedTarget.make(f"{path}:make", OPTIONS).versions)
        assert versions[-1]["toy"] == "1"
    one, same, other = (
        each[f"{name}_version.py"] for each, name in zip(versions, ("one", "same", "other"), strict=True)
    )
    assert one == same != other


def test_a_module_in_the_working_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "my_runner_module.py").write_text(MINIMAL)
    monkeypatch.chdir(tmp_path)
    assert make_target("my_runner_module:Mine", OPTIONS).describe() == {"name": "mine"}


def test_the_working_folder_hides_no_module(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise RuntimeError('not this one')\n")
    (tmp_path / "my_runner_beside_json.py").write_text(f"import json\n{MINIMAL}")
    monkeypatch.chdir(tmp_path)
    assert make_target("my_runner_beside_json:Mine", OPTIONS)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("huggingfaces", "there is no target 'huggingfaces': name one of builtin"),
        ("some/file.py", "names a file without its factory: add it, as in some/file.py:make"),
        ("a.b:", "there is no target"),
        ("no_such_module_here:make", "target module no_such_module_here cannot be imported: ModuleNotFoundError"),
        ("json:no_such_function", "json has no function no_such_function"),
        ("absent/file.py:make", r"absent/file\.py does not exist"),
        ("json:dumps", "could not be made|made a str without"),
    ],
)
def test_what_is_wrong_is_named(name, words):
    with pytest.raises((UsageError, ModelError), match=words):
        make_target(name, OPTIONS)


def test_a_file_whose_name_is_taken_or_is_no_name_is_refused(tmp_path):
    for name, words in (("json.py", "rename the file"), ("my-runner.py", "rename it to a Python identifier")):
        (tmp_path / name).write_text(MINIMAL)
        with pytest.raises(UsageError, match=words):
            make_target(f"{tmp_path / name}:Mine", OPTIONS)


def test_a_file_with_an_error_or_an_exit_is_named_with_it(tmp_path):
    (tmp_path / "my_broken_runner.py").write_text("import no_such_package_at_all\n")
    with pytest.raises(UsageError, match=r"my_broken_runner\.py cannot be imported: ModuleNotFoundError: No module"):
        make_target(f"{tmp_path}/my_broken_runner.py:make", OPTIONS)
    (tmp_path / "my_script.py").write_text("import sys\nsys.exit('usage: my_script')\n")
    with pytest.raises(TargetError, match=r"my_script\.py called sys\.exit\('usage: my_script'\)"):
        make_target(f"{tmp_path}/my_script.py:make", OPTIONS)


def test_running_out_of_memory_keeps_its_class(tmp_path):
    file = tmp_path / "my_large_runner.py"
    file.write_text("def make(options):\n    raise RuntimeError('CUDA out of memory. Tried to allocate 60 GiB')\n")
    with pytest.raises(RuntimeError, match="out of memory"):
        make_target(f"{file}:make", OPTIONS)


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    known = RegisteredTarget("tests.support.toy_target:make", "no_such_package", "pip install no-such", "nothing")
    there = RegisteredTarget("tests.support.toy_target:make", "json", "", "the toy")
    monkeypatch.setattr(registry, "TARGETS", MappingProxyType({"absent": known, "toy": there}))
    with pytest.raises(UsageError, match="needs the package no_such_package, which is missing: pip install no-such"):
        make_target("absent", OPTIONS)
    assert make_target("toy", OPTIONS).describe()["name"] == "toy"
    with pytest.raises(UsageError, match="name one of builtin, absent, toy"):
        make_target("toys", OPTIONS)


def test_the_contract_can_be_imported_without_pytorch():
    code = textwrap.dedent("""
        import sys
        import virnuc_profiler.targets.contract, virnuc_profiler.targets.registry
        sys.exit("torch" in sys.modules)
    """)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
