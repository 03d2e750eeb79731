# SPDX-License-Identifier: MIT
import subprocess
import sys
from importlib.util import find_spec

import pytest

import virnuc_profiler


def run(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)


@pytest.mark.parametrize("name", [name for name in virnuc_profiler.__all__ if name != "__version__"])
def test_every_public_name_can_be_imported(name):
    assert getattr(virnuc_profiler, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = virnuc_profiler.nonsense


@pytest.mark.parametrize("code", ["import virnuc_profiler", "from virnuc_profiler.cli.main import main"])
def test_torch_is_not_imported_before_it_is_needed(code):
    heavy = "{'torch', 'esm', 'numpy', 'rich', 'scipy'}"
    run("-c", f"{code}; import sys; assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)")


@pytest.mark.skipif(find_spec("torch") is None, reason="needs PyTorch")
def test_loading_a_model_does_not_import_what_only_compilers_need():
    code = "from virnuc_profiler import load_esm2_model; load_esm2_model('8M', 'cpu', weights='random'); import sys"
    run("-c", f"{code}; assert not {{'torch._dynamo', 'sympy'}} & set(sys.modules)")


def test_the_extension_links_nothing_of_cuda():
    from virnuc_profiler import _core

    needed = subprocess.run(["ldd", _core.__file__], capture_output=True, text=True, check=True).stdout
    assert "libc.so" in needed
    assert not any(library in needed for library in ("libcuda", "libnvidia", "libnvToolsExt"))
