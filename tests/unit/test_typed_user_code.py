# SPDX-License-Identifier: MIT
"""User code that follows README.md and docs/ passes `mypy --strict`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PREAMBLE = """\
from typing import Any

import torch

attention_mask: torch.Tensor
cu_seqlens: Any
load_model: Any
loader: list[Any]
model: Any
padded_batches: Any
runner: Any
sequences: list[Any]
PAD = 0
"""
"""Names that the pages use without defining them."""

STRICT = ("--strict", "--allow-untyped-defs", "--allow-incomplete-defs", "--allow-untyped-calls")
"""Strict, except that functions of the snippets themselves may lack annotations. Their bodies are checked."""


def snippets(page: Path) -> str:
    """The Python blocks of a page as one module; empty if none of them uses this package."""
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    return "\n".join(blocks) if any("virnuc_profiler" in block for block in blocks) else ""


def mypy(folder: Path, code: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Check modules, given as name and code, with the package of this checkout."""
    for name, text in code.items():
        (folder / f"{name}.py").write_text(PREAMBLE + text, encoding="utf-8")
    files = [f"{name}.py" for name in code]
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file=",
        *STRICT,
        "--ignore-missing-imports",
        "--follow-imports=silent",
        *files,
    ]
    path = {**os.environ, "MYPYPATH": str(ROOT / "python")}
    return subprocess.run(command, cwd=folder, env=path, capture_output=True, text=True)


def test_snippets_of_the_documentation_pass_mypy_strict(tmp_path: Path) -> None:
    code = {page.stem.replace("-", "_"): text for page in PAGES if (text := snippets(page))}
    assert {"README", "profile_your_loop", "tune_your_runner", "embed_sequences", "telemetry"} <= code.keys()
    wrong = {"wrong_use": "from virnuc_profiler import BatchProfiler\n\nBatchProfiler(devise='cpu').result.save(3)\n"}
    checked = mypy(tmp_path, {**code, **wrong})
    errors = [line for line in checked.stdout.splitlines() if ": error:" in line]
    expected = [line for line in errors if line.startswith("wrong_use.py:")]
    assert {line.rpartition("[")[2] for line in expected} == {"call-arg]", "arg-type]"}, checked.stdout + checked.stderr
    assert [line for line in errors if line not in expected] == []
