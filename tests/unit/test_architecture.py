# SPDX-License-Identifier: MIT
"""The tree stays readable: unique file names, small directories, no circle of imports."""

import ast
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import virnuc_profiler

PACKAGE = Path(virnuc_profiler.__file__).parent
MAX_MODULES = 16
MAX_LINES = 400


def modules() -> dict[str, Path]:
    """Every module by its dotted name; packages are left out."""
    files = (path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
    return {".".join((PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in files}


def imported_modules(path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the package that a file imports, inside functions and for type checking too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names & known.keys()


def test_no_two_modules_share_a_file_name():
    counts = Counter(path.name for path in modules().values())
    assert [name for name, count in counts.items() if count > 1] == []


def test_no_directory_is_too_large():
    counts = Counter(path.parent.relative_to(PACKAGE).as_posix() for path in modules().values())
    assert {folder: count for folder, count in counts.items() if count > MAX_MODULES} == {}


def test_no_module_is_long():
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_imports_have_no_circle():
    known = modules()
    graph = {name: imported_modules(path, known) for name, path in known.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' -> '.join(error.args[1])}")


def test_only_capture_and_what_reads_and_packs_sequences_import_the_core():
    """import-linter does not see compiled modules, so their importers are listed here."""
    importers = set()
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                imported = {alias.name for alias in node.names}
            else:
                continue
            if "virnuc_profiler._core" in imported:
                importers.add(name)
    allowed = ("capture.", "inference.packing.", "inference.sequences.", "inference.batches", "inference.marks")
    assert importers
    assert {
        name for name in importers if not name.startswith(tuple(f"virnuc_profiler.{one}" for one in allowed))
    } == set()
