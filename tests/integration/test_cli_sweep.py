# SPDX-License-Identifier: MIT
"""The commands, end to end on the CPU, with the smallest model and a few sequences."""

import gzip
import json
import lzma
import os
import re

import pytest

from tests.support.command import SMALL, run
from virnuc_profiler.telemetry.reader import read_telemetry
from virnuc_profiler.telemetry.run_result import RunResult

pytestmark = pytest.mark.slow  # starts whole programs

TITLES = (
    "Baseline Configuration (defaults)",
    "DataLoader Parameter Sweep",
    "Packing Parameter Sweep",
    "Parameter Interaction Sweep (num_workers x token_budget)",
    "Validation of the Chosen Configuration",
)
TELEMETRY = {
    "baseline/telemetry_tune_4w_4pf_4096tb_2000bs.json",
    "dataloader/telemetry_tune_0w_2pf_4096tb_2000bs.json",
    "dataloader/telemetry_tune_1w_2pf_4096tb_2000bs.json",
    "packing/telemetry_tune_4w_4pf_2048tb_50bs.json",
    "interaction/telemetry_tune_0w_4pf_2048tb_2000bs.json",
    "interaction/telemetry_tune_1w_4pf_2048tb_2000bs.json",
}


def load(path):
    return json.loads(path.read_text())


def with_path(folder):
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_a_sweep_prints_five_tables_and_names_its_folder_last(small_sweep):
    folder, finished = small_sweep
    assert finished.code == 0, finished.err
    positions = [finished.out.index(title) for title in TITLES]
    assert positions == sorted(positions)
    assert "weights: random seed 0" in finished.out
    assert "Projected run time for 6,000,000 sequences: " in finished.out
    assert finished.out.splitlines()[-1] == f"Results: {folder}"


def test_progress_goes_to_stderr_as_plain_lines(small_sweep):
    _, finished = small_sweep
    lines = [line for line in finished.err.splitlines() if line.startswith("[")]
    assert [line[:5] for line in lines] == [f"[{number}/7]" for number in range(1, 8)]
    assert "left" in lines[0]
    assert "\x1b" not in finished.err + finished.out


def test_a_sweep_writes_six_results_and_a_telemetry_file_for_each_configuration(small_sweep):
    folder, _ = small_sweep
    assert {path.name for path in folder.glob("*.json")} == {
        "baseline.json",
        "dataloader_sweep.json",
        "packing_sweep.json",
        "interaction_sweep.json",
        "optimal_validation.json",
        "best_config.json",
    }
    written = {str(path.relative_to(folder / "telemetry")) for path in folder.rglob("telemetry_*.json")}
    assert written >= TELEMETRY
    assert len(written) == len(TELEMETRY) + 1


def test_every_result_agrees_with_its_telemetry(small_sweep):
    folder, _ = small_sweep
    for name in ("baseline", "dataloader_sweep", "packing_sweep", "interaction_sweep", "optimal_validation"):
        document = load(folder / f"{name}.json")
        assert document["complete"] is True
        assert document["versions"]["torch"]
        assert document["machine"]["cpu_logical_cores"]
        assert document["model"]["weights"] == "random seed 0"
        assert document["workload"]["fingerprint"].startswith("sha256:")
        for result in document["results"]:
            assert result["status"] == "success"
            assert (result["gpu_util"], result["peak_memory_gb"]) == (None, None)
            assert 0 < result["packing_efficiency"] <= 1
            assert result["cleanup"]["workers_left"] == []
            summary = read_telemetry(folder / result["telemetry_path"])["summary"]
            assert result["passes"] == summary["passes"] >= 1
            assert summary["total_sequences"] == result["passes"] * document["workload"]["num_sequences"]
            assert result["steady_tokens_per_sec"] == summary["steady_tokens_per_sec"]
            assert result["rate_interval"] == summary["steady_interval"]
            assert summary["total_tokens"] == result["passes"] * document["workload"]["tokens"]
            assert result["elapsed_sec"] == summary["elapsed_seconds"]


def test_the_tables_can_be_printed_again(small_sweep, tmp_path):
    folder, finished = small_sweep
    again = run("report", folder, "--output", tmp_path / "tables.txt")
    assert again.code == 0
    assert again.out.strip() in finished.out
    assert (tmp_path / "tables.txt").read_text() == again.out
    telemetry = next(folder.rglob("telemetry_*.json"))
    report = run("report", telemetry)
    assert report.out.startswith("Performance Report")


@pytest.fixture
def own_file(tmp_path):
    """A gzip'd file with a duplicate, lower case, a stop, an unknown letter and one that is too long."""
    lengths = [7 * number % 40 + 1 for number in range(60)]
    records = [f">same\n{'MKVLAT' * 7}"[: 6 + length] for length in lengths]
    text = "\n".join([*records, ">lower\nmkvl*", ">odd\nMK1VL", f">long\n{'A' * 1500}", ""])
    path = tmp_path / "own proteins ü.faa.gz"
    path.write_bytes(gzip.compress(text.encode()))
    return path, [*lengths, 4, 5, 1500]


@pytest.fixture
def odd_file(tmp_path):
    """An xz'd file with comments, a gap, a record without residues and one whose line end is lost."""
    records = "".join(f"; note {i}\n>s{i}\nMKVLATWW{'-' if i == 7 else 'C'}\n" for i in range(30))
    path = tmp_path / "odd.faa.xz"
    path.write_bytes(lzma.compress(f"{records}>empty\n>lost\nMKV>last\nMKV\n".encode()))
    return path


def profile_odd(path, folder, *options):
    return run(
        "profile", "--fasta", path, "--num-workers", 1, "--token-budget", 1024, "--weights", "random",
        "--device", "cpu", "--cooldown", 0, "--output-dir", folder, *options,
    )  # fmt: skip


def test_a_profile_names_all_faulty_records_or_leaves_them_out(odd_file, tmp_path):
    refused = profile_odd(odd_file, tmp_path / "out")
    assert refused.code == 2
    assert "line 91 (empty): the sequence has no residues; line 93 (lost): '>' inside" in refused.error
    assert "(2 invalid records in all)" in refused.error
    strict = profile_odd(odd_file, tmp_path / "out", "--skip-invalid", "--strict")
    assert strict.code == 2
    assert "1 sequence holds 1 gap (first: line 24 (s7))" in strict.error

    finished = profile_odd(odd_file, tmp_path / "out", "--skip-invalid")
    assert finished.code == 0, finished.err
    assert "30 sequences of" in finished.out
    assert "2 invalid records are left out, see skipped_records.tsv" in finished.out
    assert finished.err.count("1 sequence holds 1 gap (first: line 24 (s7)); 30 comment lines skipped") == 1
    assert len((tmp_path / "out" / "skipped_records.tsv").read_text().splitlines()) == 3
    workload = read_telemetry(next((tmp_path / "out").glob("telemetry_*.json")))["run_metadata"]["workload"]
    assert (workload["num_sequences"], workload["skipped_records"], workload["unknown_residues"]) == (30, 2, 0)
    assert [finding["kind"] for finding in workload["findings"]] == ["gaps", "comments"]


def test_a_profile_records_every_batch_of_the_flush(own_file, tmp_path):
    path, lengths = own_file
    finished = run(
        "profile", "--verbose", "--fasta", path, "--num-workers", 2, "--buffer-size", 100_000, "--token-budget", 1024,
        "--weights", "random", "--device", "cpu", "--cooldown", 0, "--output-dir", tmp_path / "out",
    )  # fmt: skip
    assert finished.code == 0, finished.err
    assert finished.out.splitlines()[-1] == f"Results: {tmp_path / 'out'}"
    assert "forward" in finished.out
    document = read_telemetry(tmp_path / "out" / "telemetry_tune_2w_4pf_1024tb_100000bs.json")
    expected = sum(min(length, 1022) + 2 for length in lengths)
    assert sum(batch["num_sequences"] for batch in document["per_batch_metrics"]) == len(lengths)
    assert sum(batch["num_tokens"] for batch in document["per_batch_metrics"]) == expected
    assert document["run_metadata"]["workload"]["truncated_sequences"] == 1
    (warning,) = [line for line in finished.err.splitlines() if line.startswith("WARNING: not everything")]
    assert "1 sequence cut to 1,022 residues; 1 letter that the model does not know" in warning
    assert re.search(r"Sequences cut: +1$", finished.out, re.MULTILINE)
    run_result = RunResult.load(tmp_path / "out" / "run_tune_2w_4pf_1024tb_100000bs.json")
    assert (run_result.total_sequences, run_result.total_tokens) == (len(lengths), expected)


def test_part_of_an_own_file_is_swept_and_said_so(own_file, tmp_path):
    path, lengths = own_file
    finished = run(
        "sweep", *SMALL, "--steps", "packing", "--output-dir", tmp_path, env={"VIRNUCPRO_PRODUCTION_FASTA": str(path)}
    )
    assert finished.code == 0, finished.err
    assert f"a random sample of 8 of {len(lengths)} sequences of {path}" in finished.out
    assert "Baseline Configuration" in finished.out
    assert load(tmp_path / "packing_sweep.json")["workload"]["num_sequences"] == 8


def test_a_dry_run_lists_everything_and_writes_nothing(tmp_path):
    finished = run("sweep", "--dry-run", "--device", "cpu", "--output-dir", tmp_path / "out")
    assert finished.code == 0, finished.err
    assert finished.out.count("num_workers=") == 25
    assert "the best found" in finished.out
    assert "a guess: assumes" in finished.out
    assert not (tmp_path / "out").exists()


def test_a_dry_run_lists_the_baseline_that_a_step_needs(tmp_path):
    finished = run("sweep", "--dry-run", *SMALL, "--steps", "packing", "--output-dir", tmp_path / "out")
    assert finished.out.startswith("baseline: 1 configuration\n")


def test_a_dry_run_knows_an_earlier_baseline(small_sweep):
    folder, _ = small_sweep
    finished = run("sweep", "--dry-run", *SMALL, "--output-dir", folder)
    assert "from the measured baseline of" in finished.out


def test_the_doctor_tells_what_is_missing_in_json_too():
    finished = run("doctor", "--json")
    document = json.loads(finished.out)
    names = {check["name"]: check for check in document["checks"]}
    assert finished.code == (0 if document["works"] else 1)
    assert {"CUDA driver", "NVML", "PyTorch", "worker processes", "shared memory", "output folder"} <= set(names)
    assert names["PyTorch"]["state"] == "ok"
    assert all(check["found"] for check in document["checks"])


def test_the_process_that_supervises_has_no_pytorch(tmp_path):
    (tmp_path / "supervise.py").write_text(
        "import sys\n"
        "from virnuc_profiler.cli.main import main\n"
        "code = main(sys.argv[1:])\n"
        "print('torch' in sys.modules, file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    options = ("--steps", "baseline", "--output-dir", tmp_path / "out")
    finished = run("sweep", *SMALL, *options, program=("-m", "supervise"), env={"PYTHONPATH": with_path(tmp_path)})
    assert finished.code == 0, finished.err
    assert finished.err.splitlines()[-1] == "False"
    assert load(tmp_path / "out" / "baseline.json")["settings"]["isolation"] == "process"


def test_all_can_run_in_one_process(tmp_path):
    finished = run("sweep", *SMALL, "--steps", "baseline", "--isolation", "none", "--output-dir", tmp_path)
    assert finished.code == 0, finished.err
    assert "Baseline Configuration" in finished.out
    assert load(tmp_path / "baseline.json")["settings"]["isolation"] == "none"
