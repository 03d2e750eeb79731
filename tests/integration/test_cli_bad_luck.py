# SPDX-License-Identifier: MIT
"""Bad input and bad luck: one clear sentence, the right code, no process left, what was measured is on disk."""

import json
import os
import signal
import subprocess
from itertools import product
from pathlib import Path

import pytest

import virnuc_profiler
from tests.support.command import SMALL, Command, run, wait_until
from tests.support.sweeps import fake_sweep
from virnuc_profiler.cli.main import main
from virnuc_profiler.telemetry.reader import read_telemetry

pytestmark = pytest.mark.slow  # starts whole programs

CPU = ("--device", "cpu", "--weights", "random", "--num-sequences", "4")


def sentence_of(capsys, *argv):
    """The code and the one line on stderr of a command run in this process."""
    code = main([str(argument) for argument in argv])
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err
    assert err.startswith("virnuc-profiler: error: ")
    return code, err.strip()


def test_a_sweep_runs_with_a_long_tmpdir_beside_files_that_hide_modules(tmp_path):
    temporary, folder, program = tmp_path / ("x" * 100), tmp_path / "work", tmp_path / "virnuc-profiler"
    temporary.mkdir()
    folder.mkdir()
    program.write_text(
        "import sys\nfrom virnuc_profiler.__main__ import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
    )
    for name in ("random.py", "json.py", "socket.py"):
        (folder / name).write_text("raise SystemExit('hidden')\n")
    steps = ("--steps", "dataloader", "--output-dir", tmp_path / "out")
    environment = {"TMPDIR": str(temporary), "PYTHONPATH": str(Path(virnuc_profiler.__file__).parents[1])}
    command = Command("sweep", *SMALL, *steps, program=(program,), cwd=folder, env=environment)
    finished = command.finish()
    assert finished.code == 0, finished.err
    results = [path for step in ("baseline", "dataloader_sweep") for path in (tmp_path / "out").glob(f"{step}.json")]
    found = [result["outcome"] for path in results for result in json.loads(path.read_text())["results"]]
    assert found == ["ok"] * 3
    assert command.left_behind() == []
    assert list(temporary.iterdir()) == []


def test_a_run_without_semaphores_ends_before_the_first_trial(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(WITHOUT_SEMAPHORES)
    for command in ("sweep", "profile"):
        finished = run(command, *CPU, "--output-dir", tmp_path / command, program=(program,))
        assert finished.code == 1
        assert "need semaphores in /dev/shm, and none can be made: Read-only file system" in finished.error
        assert not list((tmp_path / command).glob("telemetry*"))


WITHOUT_SEMAPHORES = """
import errno, sys
import multiprocessing.synchronize

def refuse(*arguments, **options):
    raise OSError(errno.EROFS, "Read-only file system")

multiprocessing.synchronize.Lock.__init__ = refuse
from virnuc_profiler.cli.main import main
sys.exit(main())
"""


@pytest.mark.parametrize("command", ["sweep", "profile"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        ("a folder", "it is a folder"),
        (b"", "bad.fasta"),
        (b"MKV\n>a\nMKV\n", "bad.fasta"),
        (b">a\nMKV\n>b\n>c\nMKV\n", "bad.fasta"),
        (b"\x1f\x8bnot gzip", "bad.fasta"),
    ],
)
def test_a_bad_file_is_misuse_and_is_named(capsys, tmp_path, command, content, words):
    path = tmp_path / "bad.fasta"
    if content == "a folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    code, sentence = sentence_of(capsys, command, "--fasta", path, *CPU, "--output-dir", tmp_path / "out")
    assert code == 2
    assert words in sentence
    assert "bad.fasta" in sentence


def test_a_budget_below_the_longest_sequence_is_misuse(capsys, tmp_path):
    path = tmp_path / "own.fasta"
    path.write_text(f">a\nMKV\n>b\n{'A' * 1500}\n")
    for command in ("sweep", "profile"):
        budget = ("--token-budget", 1000, "--output-dir", tmp_path / "out")
        code, sentence = sentence_of(capsys, command, "--fasta", path, *CPU, *budget)
        assert code == 2
        assert "token_budget is 1,000, but the longest sequence has 1,024 tokens" in sentence


@pytest.mark.parametrize("command", ["sweep", "profile"])
def test_fp16_on_a_cpu_is_misuse(capsys, tmp_path, command):
    code, sentence = sentence_of(capsys, command, *CPU, "--precision", "fp16", "--output-dir", tmp_path)
    assert code == 2
    assert "fp16" in sentence
    assert "bf16" in sentence


def test_an_absent_device_is_misuse(capsys, tmp_path):
    code, sentence = sentence_of(capsys, "sweep", "--device", "cuda:99", "--output-dir", tmp_path)
    assert code == 2
    assert "cuda:99" in sentence


def test_a_memory_limit_needs_a_gpu(capsys, tmp_path):
    code, sentence = sentence_of(capsys, "sweep", *CPU, "--device-memory-gb", 2, "--output-dir", tmp_path)
    assert code == 2
    assert "CUDA device" in sentence


def test_absent_weights_are_misuse(capsys, tmp_path):
    argv = ("--weights", tmp_path / "absent.pt", "--device", "cpu", "--num-sequences", 4, "--output-dir", tmp_path)
    code, sentence = sentence_of(capsys, "sweep", *argv)
    assert code == 2
    assert "absent.pt" in sentence


@pytest.mark.parametrize("command", ["sweep", "profile"])
def test_a_folder_that_cannot_be_written_is_known_before_anything_runs(capsys, tmp_path, command):
    (tmp_path / "file").write_text("")
    code, sentence = sentence_of(capsys, command, *CPU, "--output-dir", tmp_path / "file" / "out")
    assert code == 1
    assert str(tmp_path / "file" / "out") in sentence
    assert "--output-dir" in sentence


@pytest.mark.parametrize("content", [None, "{", '{"kind": "virnuc_profiler sweep step"}', "a folder"])
def test_a_report_on_nothing_is_misuse(capsys, tmp_path, content):
    path = tmp_path / "result.json"
    if content == "a folder":
        path.mkdir()
    elif content is not None:
        path.write_text(content)
    code, sentence = sentence_of(capsys, "report", path)
    assert code == 2
    assert "result.json" in sentence


def test_a_report_does_not_replace_what_it_reports_on(capsys, tmp_path):
    path = tmp_path / "baseline.json"
    path.write_text("{}")
    assert sentence_of(capsys, "report", path, "--output", path)[0] == 2
    assert path.read_text() == "{}"


def test_weights_that_cannot_be_downloaded(tmp_path):
    nowhere = {"TORCH_HOME": str(tmp_path / "hub"), "https_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    argv = ("--weights", "pretrained", "--device", "cpu", "--num-sequences", 4, "--output-dir", tmp_path / "out")
    finished = run("profile", *argv, env=nowhere)
    assert finished.code == 1
    assert "could not be downloaded" in finished.error
    assert "--weights random" in finished.error


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_sweep_keeps_what_it_measured(tmp_path, stop):
    command = Command("sweep", *SMALL, "--num-workers", "1,2,3", "--output-dir", tmp_path)
    wait_until(lambda: (tmp_path / "baseline.json").exists())
    command.interrupt() if stop is signal.SIGINT else os.kill(command.process.pid, stop)
    finished = command.finish()
    assert command.left_behind() == []
    assert finished.code == 1
    assert finished.err.count("Stopping: ") == 1
    assert "stopped" in finished.error
    assert str(tmp_path) in finished.error
    baseline = json.loads((tmp_path / "baseline.json").read_text())
    assert baseline["complete"] is True
    (result,) = baseline["results"]
    summary = read_telemetry(tmp_path / result["telemetry_path"])["summary"]
    assert summary["total_sequences"] == 8 * result["passes"]
    assert not list(tmp_path.rglob(".*")), "half-written files are left"


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount a small disk: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(small_disk):
    finished = run("sweep", *SMALL, "--steps", "dataloader", "--output-dir", small_disk)
    assert finished.code == 1
    assert "No space left on device" in finished.error
    for path in small_disk.rglob("*.json"):
        json.loads(path.read_text())
    assert not list(small_disk.rglob(".*"))


@pytest.fixture
def result_file(tmp_path):
    fake_sweep(tmp_path).run_step("dataloader")
    return tmp_path / "dataloader_sweep.json"


def test_output_that_nobody_can_take_is_an_error(result_file):
    for arguments, unbuffered in product((("report", result_file), ("--help",), ()), ("", "1")):
        with Path("/dev/full").open("w") as full:
            finished = Command(*arguments, stdout=full, env={"PYTHONUNBUFFERED": unbuffered}).finish()
        assert finished.code == 1
        assert finished.error == ("virnuc-profiler: error: cannot write to standard output: No space left on device")


def test_a_reader_that_leaves_early_is_no_drama(result_file):
    command = Command("report", result_file)
    command.process.stdout.close()
    command.process.stdout = None
    finished = command.finish()
    assert (finished.code, finished.err) == (1, "")
