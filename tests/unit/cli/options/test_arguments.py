# SPDX-License-Identifier: MIT
"""The command line up to the moment where work would begin."""

import io
import signal
import subprocess
import sys

import pytest

from virnuc_profiler.cli import main as cli
from virnuc_profiler.cli.main import main
from virnuc_profiler.cli.options.idle_options import idle_lists
from virnuc_profiler.errors import ModelError, OutputError, UsageError, WorkloadError
from virnuc_profiler.inference.loading.interrupts import deferred_interrupts
from virnuc_profiler.sweep.plan.steps import plan
from virnuc_profiler.targets.knobs.configuration import BUILTIN_KNOBS


def run(capsys, *argv):
    code = main([str(argument) for argument in argv])
    output = capsys.readouterr()
    return code, output.out, output.err


def only_sentence(text):
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text.strip()


@pytest.mark.parametrize("command", [[], ["sweep"], ["profile"], ["report"], ["correlate"], ["doctor"]])
def test_help(capsys, command):
    code, out, err = run(capsys, *command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(" ".join(["usage: virnuc-profiler", *command]))


def test_the_old_name_of_min_cosine_is_taken_but_not_shown(capsys, monkeypatch):
    found = []
    monkeypatch.setattr(cli.sweep, "run", lambda arguments: found.append(arguments.min_cosine) or 0)
    for option in ("--min-cosine", "--least-cosine"):
        assert run(capsys, "sweep", option, "0.98") == (0, "", "")
    assert found == [0.98, 0.98]
    assert "least-cosine" not in run(capsys, "sweep", "--help")[1]


def test_version(capsys):
    code, out, _ = run(capsys, "--version")
    assert (code, out.split()[0]) == (0, "virnuc-profiler")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["swoop"], ["swoop", "sweep"]),
        (["report"], ["PATH"]),
        (["sweep", "--num-workers", "2,-4"], ["num_workers is -4", "from 0"]),
        (["sweep", "--prefetch-factor", "0"], ["prefetch_factor is 0", "from 1"]),
        (["sweep", "--token-budget", "2048,0"], ["token_budget is 0", "from 3"]),
        (["sweep", "--token-budget", "99999999999"], ["token_budget is 99999999999", "2,147,483,647"]),
        (["sweep", "--buffer-size", "many"], ["--buffer-size", "'many' is not a whole number"]),
        (["sweep", "--buffer-size", "500,500"], ["names 500 twice"]),
        (["sweep", "--buffer-size", "500,,1000"], ["'' is not a whole number"]),
        (["sweep", "--buffer-size", "1_000"], ["'1_000' is not a whole number"]),
        (["sweep", "--buffer-size", "1.5"], ["'1.5' is not a whole number"]),
        (["profile", "--token-budget", "2048,4096"], ["'2048,4096' is not a whole number"]),
        (["profile", "--buffer-size", "-1"], ["buffer_size is -1"]),
        (["sweep", "--num-sequences", "0"], ["--num-sequences", "at least 1"]),
        (["sweep", "--steps", "baseline,tuning"], ["'tuning' does not exist", "interaction"]),
        (["sweep", "--steps", ""], ["does not exist"]),
        (["sweep", "--model", "7B"], ["unknown model '7B'", "650M"]),
        (["sweep", "--device", "gpu"], ["'gpu' is not one of auto, cpu, cuda, cuda:N"]),
        (["sweep", "--precision", "fp64"], ["fp64", "bf16"]),
        (["sweep", "--precision", "bf16,bf16"], ["names bf16 twice"]),
        (["profile", "--precision", "bf16,fp32"], ["only sweep takes lists"]),
        (["sweep", "--min-cosine", "1.01"], ["--min-cosine", "at most 1"]),
        (["sweep", "--least-cosine", "close"], ["'close' is not a number"]),
        (["sweep", "--cooldown", "never"], ["--cooldown"]),
        (["sweep", "--cooldown", "-1"], ["--cooldown", "at least 0"]),
        (["sweep", "--timeout", "0"], ["--timeout", "more than 0"]),
        (["sweep", "--timeout", "1e10"], ["--timeout", "at most 10,000,000"]),
        (["sweep", "--cooldown", "1e10"], ["--cooldown", "at most 10,000,000"]),
        (["sweep", "--timeout", "nan"], ["'nan' is not a number"]),
        (["sweep", "--trial-seconds", "-1"], ["--trial-seconds", "at least 0"]),
        (["sweep", "--precision-target", "0"], ["--precision-target", "more than 0"]),
        (["sweep", "--precision-target", "0.1", "--trial-seconds", "0"], ["--precision-target has no effect"]),
        (["profile", "--trial-seconds", "3"], ["unrecognized arguments: --trial-seconds"]),
        (["sweep", "--device-memory-gb", "inf"], ["'inf' is not a number"]),
        (["sweep", "--seed", "-1"], ["--seed"]),
        (["sweep", "extra"], ["extra"]),
        (["sweep", "--nope"], ["virnuc-profiler sweep: error", "--nope", "see virnuc-profiler sweep --help"]),
        (["report", "x", "--", "--nope"], ["x"]),
        (["sweep", "--seed", "12345678901234567890"], ["12345678901234567890 is too large", "18 digits"]),
        (["sweep", "--num-workers", "9" * 5000], ["9999... is too large"]),
        (["sweep", "--fasta", ""], ["--fasta", "the path is empty"]),
        (["profile", "--output-dir", ""], ["--output-dir", "the path is empty"]),
        (["sweep", "--resume", ""], ["--resume", "the path is empty"]),
        (["report", ""], ["PATH", "the path is empty"]),
        (["correlate", "a", ""], ["NSYS.sqlite", "the path is empty"]),
        (["sweep", "--isolation", "none", "--start-timeout", "5"], ["--start-timeout has no effect", "leave one"]),
        (["sweep", "--isolation", "none", "--progress-timeout", "5"], ["--progress-timeout has no effect"]),
        (["sweep", "--fasta", "own.faa", "--first", "--seed", "1"], ["--seed has no effect on the first sequences of"]),
        (["profile", "--fasta", "own.faa", "--seed", "42"], ["--seed has no effect on the sequences of own.faa"]),
        (["profile", "--fasta", "own.faa", "--first"], ["--first has no effect without --num-sequences"]),
        (["sweep", "--first"], ["--first has no effect on generated sequences", "--fasta"]),
        (["sweep", "--strict"], ["--strict has no effect on generated sequences", "--fasta"]),
        (["profile", "--skip-invalid"], ["--skip-invalid has no effect"]),
        (["profile", "--min-cosine", "0.9"], ["--min-cosine has no effect without fp8"]),
        (["sweep", "--min-cosine", "0.9", "--precision", "bf16,fp32"], ["--min-cosine has no effect"]),
        (["doctor", "--device", "cpu"], ["--device has no effect without --overhead"]),
        (["doctor", "--overhead", "--output-dir", "."], ["--output-dir has no effect"]),
    ],
)
def test_misuse_is_one_sentence_and_code_2(capsys, argv, words):
    code, out, err = run(capsys, *argv)
    assert (code, out) == (2, "")
    sentence = only_sentence(err)
    assert sentence.startswith("virnuc-profiler")
    assert all(word in sentence for word in words)


def test_help_and_misuse_do_not_import_torch():
    script = (
        "import sys; from virnuc_profiler.cli.main import main\n"
        "codes = [main(a.split()) for a in ('--help', 'sweep --help', 'profile --help', 'report --help',"
        " 'doctor --help', 'sweep --num-workers x', 'sweep --model 7B')]\n"
        "print(codes, 'torch' in sys.modules, 'virnuc_profiler._core' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[0, 0, 0, 0, 0, 2, 2] False False"


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (UsageError("no such thing"), 2, "error: no such thing"),
        (WorkloadError("own.fasta:3 is not FASTA"), 2, "error: own.fasta:3 is not FASTA"),
        (OutputError("cannot write x"), 1, "error: cannot write x"),
        (ModelError("no weights"), 1, "error: no weights"),
        (MemoryError(), 1, "error: MemoryError"),
        (WorkloadError("no \x1b[2Jfile"), 2, r"no \x1b[2Jfile"),
        (OSError(28, "No space left on device", "x"), 1, "error: x: No space left on device"),
        (OSError(28, "No space left on device"), 1, "error: No space left on device"),
        (RuntimeError("a\nb"), 1, "internal error, RuntimeError: a b"),
        (KeyboardInterrupt(), 1, "error: stopped; what was measured until then is in results"),
        (KeyboardInterrupt("SIGTERM"), 1, "stopped by SIGTERM"),
    ],
)
def test_errors_become_one_sentence_and_a_code(capsys, monkeypatch, tmp_path, error, code, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()

    def fail(arguments):
        arguments.output_dir = "results"
        raise error

    monkeypatch.setattr(cli.sweep, "run", fail)
    found, out, err = run(capsys, "sweep")
    assert (found, out) == (code, "")
    assert sentence in only_sentence(err)


def test_a_stop_names_no_folder_that_is_not_there(capsys, monkeypatch, tmp_path):
    def stop(arguments):
        arguments.output_dir = tmp_path / "absent"
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.sweep, "run", stop)
    assert run(capsys, "sweep") == (1, "", "virnuc-profiler: error: stopped\n")


def test_output_that_the_encoding_lacks_is_escaped(monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    monkeypatch.setattr(cli.sweep, "run", lambda arguments: print("ü") or 0)
    assert main(["sweep"]) == 0
    assert sys.stdout.buffer.getvalue() == b"\\xfc\n"


def test_debug_shows_the_traceback(capsys, monkeypatch):
    def fail(arguments):
        raise UsageError("no such thing")

    monkeypatch.setattr(cli.sweep, "run", fail)
    code, _, err = run(capsys, "sweep", "--debug")
    assert code == 2
    assert "Traceback" in err
    assert err.splitlines()[-1] == "virnuc-profiler: error: no such thing"


def test_the_bare_command_shows_help(capsys):
    code, out, err = run(capsys)
    assert (code, err) == (2, "")
    assert out.startswith("usage: virnuc-profiler")
    assert "measure one configuration" in out


@pytest.mark.parametrize("command", ["sweep", "profile"])
def test_the_help_of_a_number_says_its_range_once(capsys, command):
    text = " ".join(run(capsys, command, "--help")[1].split())
    assert "DataLoader processes; 0 reads in the main process (default: " in text
    assert "0 or more" not in text
    assert "at least 0" not in text


def test_lists_that_no_step_varies_are_named(caplog):
    lists = {"num_workers": (8,)}
    steps = plan(lists)
    assert idle_lists(lists, BUILTIN_KNOBS, [steps["baseline"]]) == (
        "no chosen step varies --num-workers, so these values are not used"
    )
    lists = {**lists, "precision": ("fp32", "bf16")}
    assert idle_lists(lists, BUILTIN_KNOBS, [steps["baseline"], steps["dataloader"]]) == ""


def test_a_stop_is_said_at_once_even_where_it_is_held_back(capfd, monkeypatch):
    said = []

    def stop(arguments):
        with deferred_interrupts():
            signal.raise_signal(signal.SIGINT)
            said.append(capfd.readouterr().err)

    monkeypatch.setattr(cli.sweep, "run", stop)
    assert main(["sweep"]) == 1
    assert said[0].startswith("Stopping: ")
    assert capfd.readouterr().err == "virnuc-profiler: error: stopped\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
