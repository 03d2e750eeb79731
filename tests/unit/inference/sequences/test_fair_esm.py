# SPDX-License-Identifier: MIT
"""fair-esm is distinguished from other packages, folders and files with the name of its module."""

import sys

import pytest

from virnuc_profiler.errors import LibraryUnavailable
from virnuc_profiler.inference.sequences.alphabet import residue_alphabet
from virnuc_profiler.inference.sequences.fair_esm import import_fair_esm


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder before all others on the path; fair-esm was not imported yet."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "esm"]:
        monkeypatch.delitem(sys.modules, name)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "esm"]:
        del sys.modules[name]  # monkeypatch restores fair-esm afterwards


def refusal(monkeypatch, folder):
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(LibraryUnavailable) as caught:
        residue_alphabet()
    return str(caught.value)


def test_fair_esm_itself():
    assert import_fair_esm().data.Alphabet


def test_a_folder_of_ones_own(folder, monkeypatch):
    (folder / "esm").mkdir()
    file = folder / "esm" / "__init__.py"
    file.write_text("")
    text = refusal(monkeypatch, folder)
    assert f"'esm' was imported from {file}, which is not fair-esm's" in text
    assert text.endswith(": rename it, or start in another folder")


def test_a_file_of_ones_own(folder, monkeypatch):
    (folder / "esm.py").write_text("data = 3")
    assert f"'esm' was imported from {folder / 'esm.py'}" in refusal(monkeypatch, folder)


def test_another_package_with_a_folder_of_data(folder, monkeypatch):
    site = folder / "site-packages"
    (site / "esm" / "data").mkdir(parents=True)
    (site / "esm" / "__init__.py").write_text("")
    (site / "esm-3.2.1.dist-info").mkdir()
    (site / "esm-3.2.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: esm\nVersion: 3.2.1\n")
    text = refusal(monkeypatch, site)
    assert str(site / "esm" / "__init__.py") in text
    assert "the package esm 3.2.1 has the same module name: pip uninstall esm; pip install" in text


def test_nothing_at_all(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "esm", None)
    with pytest.raises(LibraryUnavailable, match=r"fair-esm cannot be imported .*: pip install fair-esm"):
        import_fair_esm()
