# SPDX-License-Identifier: MIT
"""Whole commands on a terminal of 80 columns: no line wraps, views live and go, and hostile names command nothing."""

import re

import pytest

pytest.importorskip("pyte")

from tests.integration.test_cli_hostile_names import HOSTILE, ONE_OF_EACH
from tests.support.command import SMALL, run
from tests.support.fasta_files import random_records, write_fasta
from tests.support.terminal import Terminal, program
from virnuc_profiler.cli.terminal import cells

pytest_plugins = ["tests.support.small_sweep"]
pytestmark = pytest.mark.slow

OURS = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[78D])")
"""What a live view sends to the terminal, and nothing else may."""

EMBED = ("--model", "8M", "--weights", "random", "--device", "cpu", "--num-workers", "0", "--format", "safetensors")


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    return write_fasta(tmp_path_factory.mktemp("sequences") / "some.faa", random_records(60, longest=60))


def require_fits(terminal):
    """Nothing that was printed is wider than the terminal, but for single words such as paths."""
    assert not re.sub(OURS, "", terminal.raw.decode()).replace("\r\n", "").count("\x1b")
    for shown in terminal.printed():
        assert cells(shown) <= terminal.columns or len(shown.removesuffix(" \\").split()) == 1, shown
        assert shown.isprintable(), repr(shown)


@pytest.mark.parametrize("columns", [60, 80, 132])
@pytest.mark.parametrize("what", ["sweep", "run", "telemetry"])
def test_reports(small_sweep, what, columns):
    folder = small_sweep[0]
    path = folder if what == "sweep" else sorted(folder.rglob(f"{what}_*.json"))[0]
    with Terminal(program("report", path), columns) as terminal:
        assert terminal.finish() == 0
        require_fits(terminal)


@pytest.mark.parametrize(
    "arguments",
    [
        ("doctor",),
        ("sweep", "--dry-run", "--num-sequences", "8", "--device", "cpu"),
        ("profile", "--nsys", "--num-sequences", "8", "--device", "cpu"),
        ("baseline", "list"),
        ("report", "there/is/no/such/folder/and/the/sentence/that/says/so/is/long/enough/to/be/broken"),
        ("sweep", "--token-budget", "x"),
    ],
)
def test_other_commands(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Terminal(program(*arguments)) as terminal:
        terminal.finish()
        require_fits(terminal)


def test_commands_on_a_sweep(small_sweep, fasta, tmp_path):
    folder = small_sweep[0]
    job = ("embed", "--fasta", fasta, "--config", folder, "--weights", "random", "--output-dir", tmp_path, "--dry-run")
    for arguments in (("compare", folder, folder), ("project", folder, "--fasta", fasta), job):
        with Terminal(program(*arguments)) as terminal:
            assert terminal.finish() in (0, 2)
            require_fits(terminal)


@pytest.mark.parametrize(
    "command", ["", "sweep", "profile", "embed", "project", "report", "compare", "baseline", "correlate", "doctor"]
)
def test_help(command):
    with Terminal(program(*command.split(), "--help")) as terminal:
        assert terminal.finish() == 0
        require_fits(terminal)


def test_a_sweep(tmp_path):
    metrics = tmp_path / "sweep.prom"
    options = ("--steps", "baseline,dataloader", "--no-confirm", "--output-dir", tmp_path / "out", "--metrics", metrics)
    with Terminal(program("sweep", *SMALL, *options), rows=40) as terminal:
        terminal.until(lambda one: any(line.startswith("sweep: 1 of 3, baseline: ") for line in one.shown()))
        assert 'virnuc_sweep_running{folder="' in metrics.read_text()
        assert terminal.finish() == 0
        require_fits(terminal)
        lines = terminal.seen()
        assert "DataLoader Parameter Sweep" in lines
        assert lines[-1].endswith(str(tmp_path / "out"))
        assert not [line for line in lines if line.startswith(("sweep: ", "trial  ", "fastest  "))]
        assert not terminal.screen.cursor.hidden
    text = metrics.read_text()
    assert re.search(r'^virnuc_sweep_trials_total{folder="[^"]+",outcome="success"} 3$', text, re.MULTILINE)
    assert re.search(r"^virnuc_sweep_running{[^}]+} 0$", text, re.MULTILINE)


def test_a_stopped_sweep_leaves_a_terminal_that_works(tmp_path):
    with Terminal(program("sweep", *SMALL, "--output-dir", tmp_path / "out"), rows=40) as terminal:
        terminal.until(lambda one: any(line.startswith("sweep: 2 of ") for line in one.shown()))
        terminal.press("\x03")
        assert terminal.finish() == 1
        require_fits(terminal)
        lines = terminal.seen()
        assert any("Stopping" in line for line in lines)
        assert any("continues it" in line for line in lines)
        assert not [line for line in lines if line.startswith(("sweep: ", "trial  "))]


@pytest.mark.parametrize("ranks", [1, 2])
def test_an_embed_job(fasta, tmp_path, ranks):
    metrics = tmp_path / "metrics" / "embed.prom"
    metrics.parent.mkdir()
    options = ("--fasta", fasta, "--output-dir", tmp_path / "vectors", "--metrics", metrics, "--shards", 4)
    several = () if ranks == 1 else ("--ranks", ranks)
    with Terminal(program("embed", *EMBED, *options, *several), rows=40) as terminal:
        title = "embed: " if ranks == 1 else "embed on 2 ranks"
        terminal.until(lambda one: any(line.startswith(title) for line in one.shown()))
        assert terminal.finish() == 0
        require_fits(terminal)
        assert not [line for line in terminal.seen() if line.startswith(title)]
    names = {"embed.prom"} if ranks == 1 else {"embed_rank0of2.prom", "embed_rank1of2.prom"}
    assert {path.name for path in metrics.parent.iterdir()} == names
    texts = [path.read_text() for path in metrics.parent.iterdir()]
    counts = [re.search(r"^virnuc_embed_sequences_total{.+} (\d+)$", text, re.MULTILINE) for text in texts]
    assert sum(int(found[1]) for found in counts) == 60
    assert all(re.search(r"^virnuc_embed_running{.+} 0$", text, re.MULTILINE) for text in texts)


def test_hostile_ids_and_folders_command_nothing(tmp_path):
    folder = tmp_path / ONE_OF_EACH
    folder.mkdir()
    fasta = folder / f"{ONE_OF_EACH}.faa"
    fasta.write_text(f">{HOSTILE} {HOSTILE}\nMKVLAAGG\n>b\nMKJV\n>c\nMMMM\n")
    options = ("--fasta", fasta, "--output-dir", folder / "vectors", "--metrics", folder / "m.txt")
    with Terminal(program("embed", *EMBED, *options)) as terminal:
        terminal.finish()
        assert "\x1b" not in OURS.sub("", terminal.raw.decode())
        assert all(line.isprintable() for line in terminal.printed())
    assert all(line.isprintable() for line in (folder / "m.txt").read_text().split("\n"))


def test_quiet_commands_show_results_alone(fasta, tmp_path):
    finished = run("embed", *EMBED, "--quiet", "--fasta", fasta, "--output-dir", tmp_path / "piped")
    assert finished.code == 0
    assert [line for line in finished.err.splitlines() if not line.startswith("WARNING")] == []
    with Terminal(
        program("embed", *EMBED, "--quiet", "--fasta", fasta, "--output-dir", tmp_path / "shown")
    ) as terminal:
        assert terminal.finish() == 0
        assert "embed: " not in terminal.raw.decode()
