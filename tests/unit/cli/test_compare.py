# SPDX-License-Identifier: MIT
"""``compare`` and ``baseline`` from files to text, Markdown, JSON and exit codes."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.compared_runs import save_runs
from tests.support.sweeps import SMALL_GRID, FakeTrials, conditions, run_in_journal, small_plan, success
from virnuc_profiler.cli.main import main

DATA = Path(__file__).parents[2] / "data"


class _Precisions(FakeTrials):
    """Trials at a rate that depends a little on the configuration, and whose model depends on the precision."""

    def __init__(self, rate):
        super().__init__(
            lambda config: success(
                config,
                rate * (1 + 0.001 * config.prefetch_factor),
                model={"precision": config.precision, "kernels": f"of {config.precision}"},
            )
        )


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("VIRNUC_PROFILER_BASELINES", str(tmp_path / "baselines"))


def command(capsys, *argv):
    code = main([*map(str, argv)])
    output = capsys.readouterr()
    return code, output.out, output.err


def compared(capsys, *argv):
    """The comparison as JSON."""
    code, out, err = command(capsys, "compare", *argv, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def misuse(capsys, *argv):
    """The one sentence of a command that cannot be done as it was asked for."""
    code, out, err = command(capsys, *argv)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1, err
    return err


def metric(document, name):
    return next(one for one in document["metrics"] if one["metric"] == name)


@pytest.fixture
def sides(tmp_path):
    """Make folders of repeated runs, by their name and options."""

    def make(name, count=1, **options):
        folder = tmp_path / name
        folder.mkdir()
        save_runs(folder, count, **options)
        return folder

    return make


def test_a_build_slowed_by_three_percent_per_batch_is_slower(capsys, sides):
    """One long run each, and seven short ones whose own speed varies by 1 %."""
    longs = sides("long"), sides("long slowed", seed=100, slowdown=1.03)
    repeats = {"count": 7, "batches": 60, "run_noise": 0.01}
    shorts = sides("short", **repeats), sides("short slowed", seed=100, slowdown=1.03, **repeats)
    for (before, after), basis in ((longs, "batches"), (shorts, "repeats")):
        document = compared(capsys, before, after)
        effect = metric(document, "steady_tokens_per_sec")
        assert (document["verdict"], effect["basis"]) == ("SLOWER", basis)
        assert effect["low"] < 1 / 1.03 < effect["high"] < 1
        assert effect["low"] < 0.97


def test_two_equal_builds_are_the_same(capsys, sides):
    document = compared(capsys, sides("a"), sides("b", seed=100))
    assert document["verdict"] == "SAME"
    assert document["differences"] == []
    repeats = {"count": 7, "batches": 60, "run_noise": 0.005}
    code, out, _ = command(capsys, "compare", sides("c", **repeats), sides("d", seed=100, **repeats))
    assert code == 0
    assert out.startswith("SAME within 2%: steady tokens/s ")


def test_two_runs_of_ten_batches_cannot_be_told_apart(capsys, sides):
    document = compared(capsys, sides("a", batches=10), sides("b", batches=10, slowdown=1.2, seed=100))
    assert document["verdict"] == "CANNOT TELL"
    assert metric(document, "steady_tokens_per_sec")["reason"] == "too short"


def test_a_cpu_is_not_compared_with_a_gpu(capsys, sides):
    before, after = sides("a"), sides("b", device="cpu")
    error = misuse(capsys, "compare", before, after)
    assert "differ in the kind of device (GPU and CPU)" in error
    code, out, _ = command(capsys, "compare", before, after, "--anyway")
    assert code == 0
    assert "Warning: compared anyway: " in out


def test_the_text(capsys, sides):
    before, after = sides("a"), sides("b", seed=100, slowdown=1.03, clock=1700, versions__torch="2.13.0")
    code, out, err = command(capsys, "compare", before, after)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert re.fullmatch(
        r"SLOWER in these two runs: steady tokens/s -[23]\.\d\d%, -[23]\.\d\d to -[23]\.\d\d%", lines[0]
    )
    assert lines[2:4] == [f"Reference: {before} (1 run)", f"Candidate: {after} (1 run)"]
    (row,) = (line for line in lines if line.startswith("Steady tokens/s |"))
    assert row.endswith("SLOWER")
    assert "Cannot tell: Tokens/s, Start-up, s, Device stages (one run each)." in lines
    assert "  versions: torch: 2.11.0 -> 2.13.0" in lines
    assert "  clocks: sm mhz: 1980 -> 1700" in lines
    assert "One run on each side: the intervals show how steady each run was" in out
    assert max(map(len, lines)) <= 120


def test_repeats_are_given_as_files(capsys, sides):
    before, after = sides("a", 5, batches=30), sides("b", 5, batches=30, seed=100, slowdown=1.5)
    paths = sorted(before.iterdir()), sorted(after.iterdir())
    document = compared(capsys, *paths[0], "--with", *paths[1])
    assert (document["reference"]["runs"], document["candidate"]["runs"]) == (5, 5)
    assert document["verdict"] == "SLOWER"
    assert metric(document, "tokens_per_sec")["verdict"] == "SLOWER"
    assert document["notes"] == []


def test_fail_on_has_an_exit_code_of_its_own(capsys, sides):
    before, slower, short = sides("a"), sides("b", seed=100, slowdown=1.1), sides("c", batches=10)
    larger = sides("d", seed=200, peak_memory_gb=3.0)
    for candidate, option, code in (
        (slower, "slower", 3), (slower, "worse", 3), (slower, "cannot-tell", 0), (before, "slower", 0),
        (short, "slower", 0), (short, "cannot-tell", 3), (larger, "slower", 0), (larger, "worse", 3),
    ):  # fmt: skip
        found, out, err = command(capsys, "compare", before, candidate, "--fail-on", option)
        assert (found, err) == (code, f"virnuc-profiler: --fail-on {option} holds\n" if code else ""), (
            candidate,
            option,
        )
        assert out
    assert command(capsys, "compare", before, short, "--fail-on", "slower", "--fail-on", "cannot-tell")[0] == 3


def test_markdown_for_a_pull_request(capsys, sides, tmp_path):
    output = tmp_path / "comment.md"
    before, after = sides("a"), sides("b|<i>`@user", seed=100, slowdown=1.1, versions__torch="2.13.0")
    code, out, _ = command(capsys, "compare", before, after, "--markdown", "--output", output)
    assert code == 0
    assert output.read_text() == out
    assert out.startswith("### SLOWER in these two runs: steady tokens/s -")
    assert "| Metric | Reference | Candidate | Change | Interval, % | Verdict |\n| :-- | --: |" in out
    assert "| versions: torch | 2.11.0 | 2.13.0 |" in out
    assert r"b\|&lt;i&gt;\`&#64;user" in out


def test_sweeps_of_two_versions(capsys):
    folders = [DATA / version / "sweep" / "finished" for version in ("v1.0", "v1.1")]
    code, out, err = command(capsys, "compare", *folders)
    assert (code, err) == (0, "")
    assert "Tokens/s, by configuration" in out
    assert "Recommendation: " in out
    code, out, _ = command(capsys, "compare", *folders, "--markdown")
    assert "<details><summary>Tokens/s, by configuration</summary>" in out


def test_a_sweep_of_precisions_is_compared_precision_by_precision(capsys, tmp_path):
    plan = replace(small_plan(("baseline", "dataloader")), grid={"precision": ("fp32", "bf16"), **SMALL_GRID})
    for name, rate in (("a", 100.0), ("b", 80.0)):
        (tmp_path / name).mkdir()
        varied = conditions().with_varied(["precision"])
        run_in_journal(tmp_path / name, _Precisions(rate), begin=plan, conditions=varied)
    document = compared(capsys, tmp_path / "a", tmp_path / "b")
    assert document["verdict"] == "SLOWER"
    assert {one["configuration"]["precision"] for one in document["configurations"]} == {"fp32", "bf16"}
    assert document["warnings"] == []


def test_the_noise_between_single_runs_may_be_given(capsys, sides):
    before, after = sides("a"), sides("b", seed=100, slowdown=1.03)
    document = compared(capsys, before, after, "--run-noise", "2")
    assert document["verdict"] == "CANNOT TELL"
    assert "taken to vary by 2.00%" in document["notes"][0]
    assert compared(capsys, before, after, "--run-noise", "0.2")["verdict"] == "SLOWER"


def test_the_threshold(capsys, sides):
    before, after = sides("a"), sides("b", seed=100, slowdown=1.03)
    assert compared(capsys, before, after, "--threshold", "5%")["verdict"] == "SAME"
    assert "is not a percentage" in misuse(capsys, "compare", before, after, "--threshold", "-1")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["a"], "takes a reference and a candidate, not 1 path"),
        (["a", "a", "a"], "takes a reference and a candidate, not 3 paths"),
        (["a", "--with", "a", "--against", "main"], "--with has no effect"),
        (["a", "a", "--baselines", "b"], "--baselines has no effect without --against"),
        (["a", "none"], "does not exist"),
        (["a", "--against", "main"], "no baseline main"),
        (["a/run_0.json", "a", "--output", "a/run_0.json"], "has the name of a measurement's result"),
    ],
)
def test_misuse(capsys, sides, monkeypatch, argv, message):
    monkeypatch.chdir(sides("a", batches=30).parent)
    assert message in misuse(capsys, "compare", *argv)


def test_a_baseline_from_its_first_day_to_its_last(capsys, sides, tmp_path):
    first, later = sides("first", 6, batches=60), sides("later", 6, batches=60, seed=100, slowdown=1.1)
    code, out, _ = command(capsys, "baseline", "save", "main", first)
    assert (code, out) == (0, f"Saved: {first} (6 runs) as {tmp_path / 'baselines' / 'main.json'}\n")
    shutil.rmtree(first)
    document = compared(capsys, later, "--against", "main")
    assert document["verdict"] == "SLOWER"
    assert document["reference"]["name"] == "baseline main"
    assert compared(capsys, "--against", "main", later)["metrics"] == document["metrics"]
    assert "--replace replaces it" in misuse(capsys, "baseline", "save", "main", later)
    assert command(capsys, "baseline", "save", "main", later, "--replace")[0] == 0
    assert compared(capsys, later, "--against", "main")["verdict"] == "SAME"
    _, out, _ = command(capsys, "baseline", "list")
    assert "main | " in out
    assert "NVIDIA H200" in out
    _, out, _ = command(capsys, "baseline", "show", "main")
    assert "baseline main (6 runs)" in out
    assert "versions.torch" in out
    assert command(capsys, "baseline", "remove", "main")[0] == 0
    _, out, _ = command(capsys, "baseline", "list")
    assert out == f"No baselines in {tmp_path / 'baselines'}\n"


def test_baselines_in_a_folder_of_the_repository(capsys, sides, tmp_path):
    run, folder = sides("a"), tmp_path / "repository" / "baselines"
    assert command(capsys, "baseline", "save", "main", run, "--baselines", folder)[0] == 0
    assert (folder / "main.json").is_file()
    assert compared(capsys, run, "--against", "main", "--baselines", folder)["candidate"]["runs"] == 1


def test_what_no_comparison_could_use_is_not_saved(capsys, sides, tmp_path):
    failed = sides("failed", status="failed", failure={"reason": "OOM"}, batches=30)
    assert "no run that succeeded (OOM)" in misuse(capsys, "baseline", "save", "main", failed)
    mixed = tmp_path / "mixed"
    shutil.copytree(sides("one", batches=30), mixed / "one")
    shutil.copytree(sides("two", batches=30, model_name="another"), mixed / "two")
    assert "no repeats of each other" in misuse(capsys, "baseline", "save", "main", mixed)
    assert not (tmp_path / "baselines").exists()


def test_a_damaged_baseline_does_not_hide_the_others(capsys, sides, tmp_path):
    command(capsys, "baseline", "save", "main", sides("a", batches=30))
    (tmp_path / "baselines" / "broken.json").write_text("{")
    code, out, err = command(capsys, "baseline", "list")
    assert code == 0
    assert "main | " in out
    assert "broken.json is not valid JSON" in err


def test_an_action_is_required(capsys):
    assert "ACTION" in misuse(capsys, "baseline")
