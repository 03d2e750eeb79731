# SPDX-License-Identifier: MIT
"""The Python reference: the compiled core comes from its stub, and types link to the names that users import."""

import __future__

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import virnuc_profiler

_CORE = "virnuc_profiler._core"
_HIDDEN = "\ue000"
_HOMES = ("virnuc_profiler", "virnuc_profiler.errors", "virnuc_profiler.telemetry.records")
"""Modules whose names stand for those of the modules in which they are defined."""


def setup(app: Sphinx) -> dict[str, Any]:
    """Replace the core, and look for types that no page describes under the name of their module."""
    sys.modules[_CORE] = _stub(Path(virnuc_profiler.__file__).with_name("_core.pyi"))
    app.connect("missing-reference", _public_reference)
    app.connect("autodoc-process-docstring", _hide_colons, priority=100)
    app.connect("autodoc-process-docstring", _show_colons, priority=900)
    return {"parallel_read_safe": True, "version": "1"}


def _hide_colons(_app: Sphinx, what: str, _name: str, _thing: object, _options: object, lines: list[str]) -> None:
    """Hide the colons in the first line of a property from Napoleon, which takes what is before one for a type."""
    if what == "property":
        lines[0] = lines[0].replace(": ", _HIDDEN)


def _show_colons(_app: Sphinx, _what: str, _name: str, _thing: object, _options: object, lines: list[str]) -> None:
    lines[:] = [line.replace(_HIDDEN, ": ") for line in lines]


def _stub(path: Path) -> ModuleType:
    """Return the core's stub as a module: it has the docstrings, and needs no compiler."""
    core = ModuleType(_CORE)
    code = compile(path.read_text(encoding="utf-8"), path, "exec", __future__.annotations.compiler_flag)
    exec(code, vars(core))  # noqa: S102  # a file of this repository
    for name in core.__annotations__.keys() - vars(core).keys():
        setattr(core, name, 0)
    return core


def _public_reference(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Return a link for ``package.module.Name`` or ``Name`` to the description of ``virnuc_profiler.Name``."""
    if node.get("refdomain") != "py":
        return None
    name = node["reftarget"].rpartition(".")[2]
    domain = env.get_domain("py")
    described = [f"{home}.{name}" for home in _HOMES if f"{home}.{name}" in domain.objects]
    if not described:
        return None
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", described[0], node, content)
