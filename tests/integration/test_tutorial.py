# SPDX-License-Identifier: MIT
"""The tutorial: its commands run as they stand there, and print what the page shows, whatever the numbers are."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(console|python)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

NUMBER = re.compile(r"[+-]?\d+(?:,\d{3})*(?:\.\d+)?|\bn/a\b")
DURATION = re.compile(r"0 (?:h|min|s|ms|seconds|minutes|hours)\b(?: 0 (?:min|s)\b)*")
RULE = re.compile(r"={4,}")


def words(text):
    """The words of an output, in which any number is as good as another.

    Of the lines of a table only the first two cells count: the others depend on what fits into 80 columns.
    """
    text = "\n".join(" | ".join(line.split(" | ")[:2]) for line in text.split("\n"))
    for pattern, replacement in ((NUMBER, "0"), (DURATION, "0 s"), (RULE, "===")):
        text = re.sub(pattern, replacement, text)
    return text.split()


def shows(page, output):
    """Whether a page shows an output, of which ``...`` stands for any part."""
    parts = [re.escape(" ".join(words(part))) for part in page.split("...")]
    return re.fullmatch(r".*".join(parts), " ".join(words(output))) is not None


def commands():
    """Each command of the page with what it shows, and before them the files that the page has the reader save."""
    for language, text in BLOCKS:
        if language == "python":
            yield None, text
            continue
        for entry in text.replace("\\\n", "").split("$ ")[1:]:
            command, _, expected = entry.partition("\n")
            yield command, expected


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tutorial_prints_what_it_shows(tmp_path):
    shutil.copy(DOCS / "examples" / "lambda_orfs.faa.gz", tmp_path)
    for command, text in commands():
        if command is None:
            (tmp_path / re.match(r"# (\w+\.py)\n", text)[1]).write_text(text, encoding="utf-8")
            continue
        program, *arguments = shlex.split(command)
        python = [sys.executable] if program == "python" else [sys.executable, "-m", "virnuc_profiler"]
        done = subprocess.run([*python, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert shows(text, done.stdout), f"{command}\nshows\n{text}\nbut prints\n{done.stdout}"


def test_the_page_has_commands_of_each_kind():
    programs = {(command or "file").split()[0] for command, _ in commands()}
    assert programs == {"virnuc-profiler", "python", "file"}


def test_other_numbers_are_as_good_and_other_words_are_not():
    page = "Ran: 100 sequences, 2 min 13 s\n=====\n...\nDone: +1.5%\n"
    assert shows(page, "Ran: 100 sequences, 9.1 s\n=======\nfetch | 1\nDone: -12,000.5%\n")
    assert not shows(page, "Ran: 100 tokens, 9.1 s\n=======\nfetch | 1\nDone: -12.5%\n")
    assert not shows(page, "Ran: 100 sequences, 9.1 s\n=======\nfetch | 1\n")
