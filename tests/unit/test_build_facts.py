# SPDX-License-Identifier: MIT
import re
import subprocess
import sys

import virnuc_profiler
from virnuc_profiler import _core
from virnuc_profiler.capture.build_facts import build_facts


def test_the_core_has_the_version_of_the_package():
    assert _core.__version__ == _core.build_info()["version"] == virnuc_profiler.__version__


def test_every_fact_of_the_build_is_known():
    info = _core.build_info()
    assert set(info) == {
        "version", "commit", "build_type", "compiler", "cxx_library", "cxx_standard", "pybind11", "cuda_headers",
    }  # fmt: skip
    assert re.fullmatch(r"unknown|[0-9a-f]{12}(-dirty)?", info["commit"])
    assert info["cxx_library"] in ("shared", "static")
    assert int(info["cxx_standard"]) >= 20
    assert re.match(r"\w+ \d+\.\d+", info["compiler"])
    assert re.match(r"[3-9]\.\d+", info["pybind11"])
    assert re.fullmatch(r"\d+\.\d+", info["cuda_headers"])


def test_the_version_option_tells_the_build_and_imports_no_torch():
    code = (
        "import sys; from virnuc_profiler.cli.main import main; main(['--version']); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"virnuc-profiler {virnuc_profiler.__version__}\n{build_facts()}\n"
    assert _core.build_info()["commit"] in done.stdout


def test_a_core_that_cannot_be_loaded_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "virnuc_profiler._core", None)
    monkeypatch.delattr(virnuc_profiler, "_core", raising=False)
    assert build_facts().startswith("the compiled core cannot be loaded")
