# SPDX-License-Identifier: MIT
"""``project``: from a saved run, telemetry, or a sweep."""

import json
import re
from dataclasses import replace

import pytest

from tests.support.simulated_machine import SimulatedMachine, workload_in_order
from tests.support.sweeps import FakeTrials, run_in_journal, small_plan, success
from virnuc_profiler.analysis.confidence.rate_interval import RateInterval
from virnuc_profiler.analysis.model_cost import ModelShape
from virnuc_profiler.cli.main import main
from virnuc_profiler.sweep.trial.run import measure_configuration
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.files import write_json_atomically


def project(capsys, *argv):
    code = main(["project", *map(str, argv)])
    output = capsys.readouterr()
    return code, output.out, output.err


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A trial of 400 sequences on a machine of 1 TFLOP/s that takes two seconds to start."""
    machine = SimulatedMachine(flops_per_second=1e12, shape=ModelShape(6, 320), start_up_s=2.0)
    machine.install(monkeypatch)
    path = workload_in_order(tmp_path, 400, "shuffled")
    return measure_configuration(Configuration(num_workers=0), path, tmp_path / "out", machine, "cpu", cooldown_s=0.0)


def fasta_of(path, *lengths):
    path.write_text("".join(f">s{n}\n{'M' * length}\n" for n, length in enumerate(lengths)))
    return path


def test_a_run_is_projected_with_interval_histogram_and_assumptions(run, capsys):
    code, out, err = project(capsys, run.run_path)
    assert (code, err) == (0, "")
    assert re.search(r"^Measured: simulated \(.*run_tune_0w_4pf_4096tb_2000bs\.json\)$", out, re.M)
    assert re.search(r"^Job: 6,000,000 sequences like the measured ones, 2\d\d\.\d tokens on average$", out, re.M)
    hours, low, high = re.search(
        r"^Time: ([\d.]+) hours \(([\d.]+) to ([\d.]+)\), of which 2\.0\d s", out, re.M
    ).groups()
    assert float(low) < float(hours) < float(high)
    below, above = re.search(r"^Interval: -([\d.]+)% to \+([\d.]+)%: ", out, re.M).groups()
    assert float(low) == pytest.approx(float(hours) * (1 - float(below) / 100), rel=0.05)
    assert float(high) == pytest.approx(float(hours) * (1 + float(above) / 100), rel=0.05)
    assert "what differs between runs +/- " in " ".join(out.split())
    assert "start-up up to" not in out
    rows = [line.split(" | ") for line in out.splitlines() if re.match(r"\d+ to [\d,]+ ", line)]
    assert sum(float(row[2].rstrip("%")) for row in rows) == pytest.approx(100, abs=0.5)
    assert sum(float(row[4]) for row in rows) == pytest.approx(float(hours), rel=0.02)
    assert "One run does not show how much runs differ" in out
    assert re.search(r"The job is [\d,]+ times as long as the measurement", out)


def test_the_interval_of_a_short_job_is_that_of_its_start_up(run, capsys):
    _, out, _ = project(capsys, run.run_path, "--sequences", 1)
    assert "Job: 1 sequence like the measured ones" in out
    seconds, low, high = re.search(
        r"^Time: ([\d.]+) seconds \(([\d.]+) to ([\d.]+)\), of which 2\.0\d s", out, re.M
    ).groups()
    assert float(high) > 1.4 * float(seconds) > 1.9 * float(low)
    below, above = re.search(r"^Interval: -([\d.]+)% to \+([\d.]+)%: ", out, re.M).groups()
    assert float(below) > 30
    assert float(above) > 45
    assert "start-up up to 1.5 times as long or as short" in " ".join(out.split())
    assert re.search(r"Tokens/s \| +Seconds$", out, re.M)


def test_telemetry_with_its_run_beside_it_says_the_same(run, tmp_path, capsys):
    assert project(capsys, run.telemetry_path) == project(capsys, run.run_path)
    (tmp_path / "out" / "run_tune_0w_4pf_4096tb_2000bs.json").unlink()
    code, _, err = project(capsys, run.telemetry_path)
    assert code == 2
    assert "has no saved run run_tune_0w_4pf_4096tb_2000bs.json beside it" in err


def test_the_folder_of_a_run_is_that_run(run, tmp_path, capsys):
    assert project(capsys, tmp_path / "out") == project(capsys, run.run_path)
    (tmp_path / "out" / "run_other.json").write_text("{}")
    code, _, err = project(capsys, tmp_path / "out")
    assert code == 2
    assert "(there: run_other.json, run_tune_0w_4pf_4096tb_2000bs.json)" in err


def test_a_sweep_without_a_best_configuration_names_its_files(folder, capsys):
    (folder / "best_config.json").unlink()
    code, _, err = project(capsys, folder)
    assert code == 2
    assert "name another result file of the sweep, or a saved run (there: baseline.json, dataloader_sweep.json, " in err


def test_the_json_says_what_the_text_says(run, capsys):
    _, text, _ = project(capsys, run.run_path, "--sequences", 1000)
    values = json.loads(project(capsys, run.run_path, "--sequences", 1000, "--json")[1])
    assert values["sequences"] == 1000
    low, high = values["interval_hours"]
    assert low < values["hours"] < high
    assert sum(stratum["sequences"] for stratum in values["strata"]) == pytest.approx(1000)
    assert values["half_widths"]["total"] ** 2 == pytest.approx(
        sum(values["half_widths"][part] ** 2 for part in ("own", "between_runs", "mean_length", "mix"))
    )
    for sentence in values["assumptions"]:
        assert sentence.split(":")[0] in " ".join(text.split())


def test_a_file_of_the_users_is_the_job(run, tmp_path, capsys):
    own = fasta_of(tmp_path / "own.faa", *[60] * 30, *[2000] * 10)
    values = json.loads(project(capsys, run.run_path, "--fasta", own, "--json")[1])
    assert values["sequences"] == 40
    assert [stratum["sequences"] for stratum in values["strata"]] == [30, *[0] * 7, 10]
    assert values["half_widths"]["mean_length"] == 0
    assert values["half_widths"]["mix"] > 0
    assert (
        "The job's file is not the one that was run: only its lengths are taken into account." in values["assumptions"]
    )
    out = project(capsys, run.run_path, "--fasta", own, "--sequences", 4000)[1]
    assert f"Job: 4,000 sequences like those of {own}, 302.5 tokens on average" in out
    assert "mean length +/- " in " ".join(out.split())
    assert "The job's sequences have a mean of 302.5 tokens where the run had" in " ".join(out.split())


def test_lengths_that_the_run_did_not_have_are_mentioned(tmp_path, capsys, monkeypatch):
    machine = SimulatedMachine(tokens_per_second=1e5)
    machine.install(monkeypatch)
    short = fasta_of(tmp_path / "short.faa", *[50] * 200)
    result = measure_configuration(Configuration(num_workers=0), short, tmp_path, machine, "cpu", cooldown_s=0.0)
    out = project(capsys, result.run_path, "--fasta", fasta_of(tmp_path / "own.faa", 50, 148))[1]
    assert "74.3% of the job's tokens are in sequences of lengths that the run did not have." in " ".join(out.split())


def test_a_run_of_the_first_sequences_stands_for_the_others_only_without_their_file(tmp_path, capsys, monkeypatch):
    machine = SimulatedMachine(tokens_per_second=1e5)
    machine.install(monkeypatch)
    own = fasta_of(tmp_path / "own.faa", *[998] * 12, 50)
    result = measure_configuration(
        Configuration(num_workers=0), own, tmp_path, machine, "cpu", cooldown_s=0.0, num_sequences=12
    )
    first = "The run had the first 12 of 13 sequences of its file, which is no random sample"
    assert first in " ".join(project(capsys, result.run_path)[1].split())
    assert first not in " ".join(project(capsys, result.run_path, "--fasta", own)[1].split())


def test_a_run_that_is_too_short_to_tell_has_a_wide_interval(tmp_path, capsys, monkeypatch):
    machine = SimulatedMachine(tokens_per_second=1e5, start_up_s=2.0)
    machine.install(monkeypatch)

    def projected(*lengths):
        own = fasta_of(tmp_path / "own.faa", *lengths)
        result = measure_configuration(Configuration(num_workers=0), own, tmp_path, machine, "cpu", cooldown_s=0.0)
        return project(capsys, result.run_path, "--json")

    values = json.loads(projected(*[998] * 12)[1])
    assert values["hours"] == pytest.approx((2 + 1000 * 6e6 / 1e5) / 3600)
    assert values["half_widths"]["own"] == 0.25
    assert any(each.startswith("The run has no settled steady rate") for each in values["assumptions"])
    code, _, err = projected(998)
    assert code == 2
    assert "has fewer than two measured batches, so there is no rate to project" in err


INTERVAL = RateInterval("settled", 21_500.0, 21_300.0, 21_700.0, 0.95, 30, (0, 3_000_000_000)).to_json()


def measured(config):
    steady = {"steady_sequences_per_sec": 100.0, "steady_tokens_per_sec": 21_500.0, "rate_interval": INTERVAL}
    return success(config, start_up_sec=0.5, measured_sec=3.2, **steady)


@pytest.fixture
def folder(tmp_path):
    run_in_journal(tmp_path, FakeTrials(measured), small_plan())
    return tmp_path


def test_a_sweep_is_projected_from_its_best_configuration_and_its_repeated_measurements(folder, capsys):
    code, out, err = project(capsys, folder)
    assert (code, err) == (0, "")
    assert "Measured: num_workers=" in out
    assert re.search(r"^Time: 16\.67 hours \(1\d\.\d+ to 1\d\.\d+\), of which 0\.500 s start-up$", out, re.M)
    assert project(capsys, folder / "best_config.json")[1] == out
    code, out, _ = project(capsys, folder / "packing_sweep.json")
    assert code == 0
    assert "Time: 16.67 hours" in out


def test_repeated_measurements_narrow_the_interval(folder, capsys):
    values = json.loads(project(capsys, folder, "--json")[1])
    repeats = len(values["measured"]["repeats"])
    assert repeats >= 2
    if repeats >= 3:
        assert f"Runs differ as the {repeats} repeated measurements do." in values["assumptions"]
    (folder / "journal.jsonl").unlink()
    alone = json.loads(project(capsys, folder, "--json")[1])
    assert alone["measured"]["repeats"] == []
    assert alone["half_widths"]["between_runs"] > 0.05


def test_the_tables_of_a_sweep_and_its_files_have_the_interval(folder, capsys):
    assert main(["report", str(folder)]) == 0
    found = re.search(
        r"6,000,000 sequences: 16\.67 hours \(1\d\.\d+ to 1\d\.\d+\) with one start-up", capsys.readouterr().out
    )
    assert found
    projection = json.loads((folder / "best_config.json").read_text())["projection"]
    assert projection["low_hours"] < projection["steady_hours"] < projection["high_hours"]


def test_a_result_that_was_interrupted_is_misuse(tmp_path, capsys):
    run_in_journal(tmp_path, FakeTrials(lambda config: replace(measured(config), outcome="interrupted")), small_plan())
    code, _, err = project(capsys, tmp_path)
    assert code == 2
    assert "best_config.json" in err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["{folder}"], "has no best_config.json; name another result file of the sweep, or a saved run"),
        (["{folder}/nothing.json"], "nothing.json"),
        (["{folder}/other.json"], "is neither telemetry, nor a saved run, nor a result file of a sweep"),
        (["{folder}/other.json", "--skip-invalid"], "--skip-invalid has no effect without --fasta"),
    ],
)
def test_what_holds_no_rate_is_misuse(tmp_path, capsys, argv, words):
    write_json_atomically(tmp_path / "other.json", {"kind": "something else"})
    code, out, err = project(capsys, *(each.format(folder=tmp_path) for each in argv))
    assert (code, out) == (2, "")
    assert words in err


def test_a_result_without_a_rate_is_misuse(tmp_path, capsys):
    trials = FakeTrials(
        lambda config: replace(measured(config), steady_tokens_per_sec=None, steady_sequences_per_sec=None)
    )
    run_in_journal(tmp_path, trials, small_plan())
    code, _, err = project(capsys, tmp_path)
    assert code == 2
    assert "has no steady rate, so there is nothing to project" in err


@pytest.mark.parametrize(
    ("result", "workload", "words"),
    [
        ({}, {"tokens": 10**400}, "does not describe its workload"),
        ({}, {"num_sequences": 10**30}, "does not describe its workload"),
        ({"steady_tokens_per_sec": 0.0}, {}, "has no steady rate"),
        ({"start_up_sec": -5.0}, {}, "has no steady rate"),
        ({"rate_interval": {"state": "settled"}}, {}, "baseline.json: steady_interval cannot be read: 'window'"),
        ({"rate_interval": {**INTERVAL, "low": -5.0}}, {}, "steady_interval.low is -5.0"),
        ({"rate_interval": {**INTERVAL, "high": 1e12}}, {}, ""),
    ],
)
def test_a_result_that_cannot_be_is_no_internal_error(folder, capsys, result, workload, words):
    document = json.loads((folder / "baseline.json").read_text())
    document["workload"].update(workload)
    for one in (*document["results"], document["best"]):
        one.update(result)
    (folder / "alone").mkdir()
    write_json_atomically(folder / "alone" / "baseline.json", document)
    code, out, err = project(capsys, folder / "alone" / "baseline.json")
    assert (code, "internal error" in err) == (2 if words else 0, False)
    assert words in (err or out)
