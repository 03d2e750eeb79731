# SPDX-License-Identifier: MIT
"""Files that hide modules are found, and named as the cause of an error."""

import importlib
import sys

import pytest

from virnuc_profiler.import_origins import explain_hidden_modules, hidden_modules


def found_in(folder):
    return [module.name for module in hidden_modules(str(folder))]


def test_only_what_hides_a_module_is_found(tmp_path):
    for name in ("random.py", "numpy.py", "mine.py", "os.py", "sys.py", "json.txt", "socket.cpython-311-x86_64.so"):
        (tmp_path / name).touch()
    for name in ("queue", "torch", "csv"):
        (tmp_path / name).mkdir()
    (tmp_path / "queue" / "__init__.py").touch()
    (tmp_path / "torch" / "__init__.py").touch()
    # os is loaded before, sys is built in, and Python prefers its own csv to a folder without __init__.py.
    assert found_in(tmp_path) == ["numpy", "queue", "random", "socket", "torch"]
    assert found_in(tmp_path / "absent") == []


def test_an_installed_package_hides_nothing(tmp_path):
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").touch()
    (tmp_path / "numpy-2.0.dist-info").mkdir()
    assert found_in(tmp_path) == []


def test_the_file_is_named_as_the_cause_only_where_it_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "colorsys.py"
    path.write_text("raise ImportError('unfinished')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with pytest.raises(ImportError) as caught:
        importlib.import_module("colorsys")
    assert explain_hidden_modules(caught.value) == (
        f"{path} hides Python's own module 'colorsys': rename it, or start in another folder"
    )
    assert explain_hidden_modules(ValueError("the moon is full")) is None


def test_a_folder_is_no_cause_because_another_one_begins_with_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "queue").mkdir()
    (tmp_path / "queue" / "__init__.py").touch()
    (tmp_path / "queue_of_mine.py").write_text("raise ImportError('unfinished')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError) as caught:
        importlib.import_module("queue_of_mine")
    assert explain_hidden_modules(caught.value) is None
