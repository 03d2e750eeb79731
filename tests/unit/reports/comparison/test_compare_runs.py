# SPDX-License-Identifier: MIT
"""Comparisons from Python give what the command prints."""

import json

import pytest

from tests.support.compared_runs import noisy_run, save_runs
from virnuc_profiler import compare_runs, render_comparison
from virnuc_profiler.cli.main import main
from virnuc_profiler.errors import UsageError


def test_runs_in_memory_and_their_files_give_the_verdicts_of_the_command(tmp_path, capsys):
    runs = [[noisy_run(seed=seed, slowdown=slowdown) for seed in range(5)] for slowdown in (1.0, 1.1)]
    paths = [save_runs(tmp_path / name, 5, slowdown=slow) for name, slow in (("a", 1.0), ("b", 1.1))]
    in_memory, from_files = compare_runs(*runs), compare_runs(*paths)
    assert in_memory.main_effect.verdict == "SLOWER"
    assert in_memory.effects == from_files.effects
    assert len(in_memory.reference.runs) == len(in_memory.candidate.runs) == 5
    folders = tmp_path / "a", str(tmp_path / "b")
    assert main(["compare", *map(str, folders), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(compare_runs(*folders).to_json()))
    assert render_comparison(in_memory).startswith("SLOWER: ")
    assert max(map(len, render_comparison(in_memory).splitlines())) <= 80


def test_one_run_each_says_what_that_cannot_show():
    compared = compare_runs(noisy_run(), noisy_run(seed=1), threshold=0.05, run_noise=0.08)
    assert (compared.rule.threshold, compared.rule.run_noise) == (0.05, 0.08)
    assert any("One run on each side" in note for note in compared.notes)
    assert compared.warnings == ()  # although the two have the same name


def test_a_run_beside_itself_is_named():
    run = noisy_run()
    assert compare_runs(run, run).warnings == ("run made-by-hand is on both sides.",)


def test_what_cannot_sensibly_be_compared_is_refused():
    cpu, gpu = noisy_run(device="cpu"), noisy_run()
    with pytest.raises(UsageError, match="comparing them says nothing"):
        compare_runs(cpu, gpu)
    assert compare_runs(cpu, gpu, anyway=True).warnings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda run, path: [], "the candidate has no runs"),
        (lambda run, path: [run, path], "runs in memory and paths"),
        (lambda run, path: [run, run], "the same run twice"),
        (lambda run, path: path / "missing", "does not exist"),
    ],
)
def test_sides_that_are_none_are_named(given, message, tmp_path):
    run = noisy_run()
    with pytest.raises(UsageError, match=message):
        compare_runs(run, given(run, tmp_path))


@pytest.mark.parametrize("threshold", [-0.01, 2, float("nan")])
def test_a_threshold_is_a_share(threshold):
    with pytest.raises(ValueError, match="threshold"):
        compare_runs(noisy_run(), noisy_run(), threshold=threshold)
