# SPDX-License-Identifier: MIT
import sys

import pytest

from virnuc_profiler.errors import LibraryUnavailable
from virnuc_profiler.targets.adapters.packages import import_program, versions_of
from virnuc_profiler.targets.registry import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_a_missing_program_is_named_with_the_way_to_install_it(target, monkeypatch):
    package = TARGETS[target].package
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(LibraryUnavailable) as caught:
        import_program(target)
    assert str(caught.value) == f"--target {target} needs the package {package}: {TARGETS[target].install}"
    assert "\n" not in str(caught.value)


def test_what_a_program_itself_lacks_is_named(tmp_path, monkeypatch):
    (tmp_path / "faesm.py").write_text("import not_there")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "faesm", raising=False)
    with pytest.raises(LibraryUnavailable, match=r"cannot import faesm .*'not_there'.*pip install faesm"):
        import_program("faesm")


def test_versions_leave_out_what_is_not_installed():
    assert set(versions_of("numpy", "no-such-package")) == {"torch", "numpy"}
