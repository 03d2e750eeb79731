# SPDX-License-Identifier: MIT
"""Sphinx builds the site from the Markdown pages of this folder: sphinx-build -W --keep-going docs build/site."""

import sys
from pathlib import Path

from virnuc_profiler import __version__

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "virnuc_profiler"
author = "The virnuc_profiler contributors"
copyright = author  # noqa: A001  # Sphinx's name
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_argparse_cli",
    "sphinx_copybutton",
    "sphinxcontrib.mermaid",
    "public_names",
    "repository_view",
]
exclude_patterns = ["README.md", "decisions/README.md"]  # the index.rst beside each includes it
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(abc|collections|contextlib|datetime|os|pathlib|typing)\..*"),
    ("py:.*", r"(np|numpy|pandas|pd|psutil|pyarrow|torch)\..*|Tensor|ArrayLike"),
    ("py:class", r"virnuc_profiler\..*"),  # inner types in signatures; prose must not link to what no page describes
    ("py:class", r"tuple\[.*"),  # of the attributes of records, which Sphinx splits at their commas
]

myst_enable_extensions = ["colon_fence"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 4  # as GitHub makes them

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}
add_module_names = False
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
default_role = "code"

copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"

mermaid_fullscreen = False
mermaid_height = "auto"

html_theme = "furo"
html_title = f"virnuc_profiler {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
