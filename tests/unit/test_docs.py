# SPDX-License-Identifier: MIT
"""Documents: links resolve, code compiles, imports are public, commands parse, and the language is the agreed one."""

import ast
import re
import shlex
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import pytest

import virnuc_profiler
from virnuc_profiler.cli.main import build_parser
from virnuc_profiler.telemetry.schema import telemetry_schema

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")])
EXAMPLES = sorted(ROOT.glob("docs/examples/*.py"))

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"^(?:\$ )?(?:python -m virnuc_profiler|virnuc-profiler) (.*)$", re.MULTILINE)

SOURCE_PATH = re.compile(
    r"`((?:python|csrc|tests|benchmarks|docs|virnuc_profiler|cli|reports|sweep|inference|analysis|capture|telemetry)"
    r"/[\w/.]*)`"
)

AVOIDED_WORDS = (
    *("whoever", "nobody", "anew", "surely", "for ever", "is told", "are told", "alike", "so many", "work spaces?"),
    *("--least-cosine", "mark_stamped", "set_stamps", "put_pack", "linear_rotated"),
)
BRITISH_STEMS = (
    *("utilis", "synchronis", "initialis", "quantis", "summaris", "tokenis", "recognis", "optimis", "normalis"),
    *("licence", "neighbour", "behaviour", "colour", "favour", "centre", "modelling", "labelled"),
)
AVOIDED = re.compile(rf"(?<!\w)(?:(?:{'|'.join(AVOIDED_WORDS)})(?!\w)|(?:{'|'.join(BRITISH_STEMS)})\w*)", re.IGNORECASE)


def relative(path):
    return str(path.relative_to(ROOT))


def read(path):
    return path.read_text(encoding="utf-8")


def pages():
    return pytest.mark.parametrize("page", PAGES, ids=relative)


def blocks(text, *languages):
    """The code blocks in these languages, without the indentation of a list."""
    return [dedent(code) for _, language, code in FENCE.findall(text) if language in languages]


def prose(text):
    """The text without its code blocks."""
    return FENCE.sub("", text)


def anchors(text):
    """The fragments by which GitHub addresses a page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def private_imports(code):
    """The modules with a leading underscore that the code imports, and names with one from this package."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    ours = [name.split(".") for name in found if name.split(".")[0] == "virnuc_profiler"]
    return [".".join(parts) for parts in ours if any(re.match(r"_(?!_)", part) for part in parts)]


def our_imports(code):
    """(module, name) of everything that the code imports from this package."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "virnuc_profiler":
            yield from ((node.module, alias.name) for alias in node.names)


def avoided_words(text):
    """The words in the prose that the project does not use."""
    return AVOIDED.findall(prose(text))


def broken_links(page):
    """The relative links of a page that lead to no file, or to no heading of it."""
    broken = []
    for target in LINK.findall(prose(read(page))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (fragment and fragment not in anchors(read(file))):
            broken.append(target)
    return broken


def missing_sources(text):
    """The paths of source files and folders that the prose names but that do not exist."""
    folders = (ROOT, ROOT / "python", ROOT / "python" / "virnuc_profiler")
    named = SOURCE_PATH.findall(prose(text))
    return [
        name for name in named if not any((base / f"{name}{end}").exists() for base in folders for end in ("", ".py"))
    ]


@pages()
def test_named_sources_exist(page):
    assert missing_sources(read(page)) == []


@pages()
def test_links_resolve(page):
    assert broken_links(page) == []


@pages()
def test_python_blocks_compile_and_import_public_names(page):
    for code in blocks(read(page), "python"):
        compile(code, str(page), "exec")
        assert private_imports(code) == []
        for module, name in our_imports(code):
            if module == "virnuc_profiler":
                assert name in virnuc_profiler.__all__
            assert hasattr(import_module(module), name)


@pytest.mark.parametrize("example", EXAMPLES, ids=relative)
def test_examples_import_no_private_module(example):
    assert private_imports(read(example)) == []


@pages()
def test_commands_parse(page):
    parser = build_parser()
    for code in blocks(read(page), "sh", "console"):
        for command in COMMAND.findall(code.replace("\\\n", " ")):
            parser.parse_args(shlex.split(command, comments=True))  # SystemExit if it is refused


@pages()
def test_prose_uses_the_agreed_words(page):
    assert avoided_words(read(page)) == []


def test_every_page_has_a_place_in_the_site():
    listed = set()
    for index in (ROOT / "docs").rglob("index.rst"):
        entries = re.findall(r"^ {3}([\w/-]+)$", read(index), re.MULTILINE)
        listed |= {str((index.parent / entry).relative_to(ROOT / "docs")) for entry in entries}
    pages = [page for pattern in ("*.md", "**/*.rst") for page in (ROOT / "docs").glob(pattern)]
    assert {str(page.relative_to(ROOT / "docs").with_suffix("")) for page in pages} - {"README", "index"} == listed


def test_every_public_name_is_in_the_reference():
    pages = [read(page) for page in sorted(ROOT.glob("docs/reference/python/*.rst"))]
    described = re.findall(r"^.. auto(?:class|function):: (\w+)$", "".join(pages), re.MULTILINE)
    assert sorted(described) == sorted({*virnuc_profiler.__all__} - {"__version__"})


def test_every_figure_is_defined():
    figures, files = read(ROOT / "docs/every-figure.md"), read(ROOT / "docs/telemetry.md")
    schema = telemetry_schema()["$defs"]
    assert [key for key in schema["summary"]["properties"] if f"`{key}`" not in figures] == []
    assert [key for key in schema["batch"]["properties"] if f"`{key}`" not in files] == []
    report = read(ROOT / "python/virnuc_profiler/reports/performance/performance_rows.py")
    labels = re.findall(r'_(?:line|sampled)\((?:summary, \w+, )?"([A-Z][^"(]+)', report)
    assert len(labels) > 30
    assert [label for label in labels if label.strip() not in figures] == []


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        names = [target.partition("#")[0] for target in LINK.findall(prose(read(page)))]
        waiting += [(page.parent / name).resolve() for name in names if name and ":" not in name]
    assert [relative(page) for page in PAGES if page not in reached] == []


def test_the_checks_can_fail(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One two\n[a](missing.md) [b](#one-two) [c](#three) [d](https://example.org)\n")
    assert broken_links(page) == ["missing.md", "#three"]
    assert private_imports("from virnuc_profiler._core import pack_statistics") == [
        "virnuc_profiler._core.pack_statistics"
    ]
    assert private_imports("from virnuc_profiler import __version__, RunResult") == []
    assert missing_sources("`csrc/capture/` `sweep/session` `sweep/nowhere.py`") == ["sweep/nowhere.py"]
    assert avoided_words("GPU utilisation\n```text\nsurely\n```\n") == ["utilisation"]
    with pytest.raises(SystemExit):
        build_parser().parse_args(["sweep", "--no-such-option"])
