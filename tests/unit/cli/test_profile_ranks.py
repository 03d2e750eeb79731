# SPDX-License-Identifier: MIT
"""``profile`` in one of several ranks runs its part of the sequences, and writes files of its own."""

import json

import pytest

from tests.support.fasta_files import random_records, write_fasta
from virnuc_profiler.cli.main import main
from virnuc_profiler.telemetry.run_result import RunResult

pytest.importorskip("torch")

SMALL = (
    "--device", "cpu", "--model", "8M", "--weights", "random", "--num-workers", "0", "--cooldown", "0",
)  # fmt: skip
RUN_ID = "tune_0w_4pf_4096tb_2000bs"


@pytest.fixture
def fasta(tmp_path):
    return write_fasta(tmp_path / "own.faa", random_records(11, longest=40))


@pytest.fixture
def as_rank(monkeypatch):
    def be(index, count=2, **others):
        for name, value in {"RANK": index, "WORLD_SIZE": count, "LOCAL_RANK": index, **others}.items():
            monkeypatch.setenv(name, str(value))

    return be


def profile(capsys, *argv):
    code = main(["profile", *SMALL, *map(str, argv)])
    output = capsys.readouterr()
    return code, output.out, output.err


def test_the_parts_of_all_ranks_are_the_whole(fasta, tmp_path, capsys, as_rank):
    out = tmp_path / "out"
    workloads = []
    for index in range(3):
        as_rank(index, 3)
        code, text, err = profile(capsys, "--fasta", fasta, "--output-dir", out)
        assert code == 0, err
        assert text.startswith(f"Rank {index} of 3 (torchrun) on ")
        assert f"Workload: part {index + 1} of 3, {4 if index < 2 else 3} of the 11 sequences of" in text
        run = RunResult.load(out / f"run_{RUN_ID}_rank{index}of3.json")
        assert run.run_id == f"{RUN_ID}_rank{index}of3"
        workloads.append(run.metadata["workload"])
        assert (out / f"telemetry_{RUN_ID}_rank{index}of3.json").exists()
    assert [workload["part"] for workload in workloads] == [
        {"index": index, "count": 3, "whole": 11} for index in range(3)
    ]
    assert sum(workload["tokens"] for workload in workloads) == sum(
        len(sequence) + 2 for _, sequence in random_records(11, longest=40)
    )
    assert list(out.glob("run_tune_*s.json")) == []


def test_parts_of_a_sample_are_of_one_sample(fasta, tmp_path, capsys, as_rank):
    for index in range(2):
        as_rank(index)
        assert profile(capsys, "--fasta", fasta, "--num-sequences", 6, "--output-dir", tmp_path / "out")[0] == 0
    runs = [RunResult.load(path) for path in sorted((tmp_path / "out").glob("run_*.json"))]
    assert [run.total_sequences for run in runs] == [3, 3]


def test_ranks_without_a_folder_use_one_each(fasta, tmp_path, capsys, as_rank, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for index in range(2):
        as_rank(index)
        assert profile(capsys, "--fasta", fasta)[0] == 0
    folders = sorted((tmp_path / "tuning_results").iterdir())
    assert sorted(folder.name.rpartition("_")[2] for folder in folders) == ["rank0of2", "rank1of2"]
    assert all(len(list(folder.glob("run_*.json"))) == 1 for folder in folders)


def test_generated_sequences_are_divided_too(tmp_path, capsys, as_rank):
    for index in range(2):
        as_rank(index)
        assert profile(capsys, "--num-sequences", 6, "--output-dir", tmp_path)[0] == 0
    assert [RunResult.load(path).total_sequences for path in sorted(tmp_path.glob("run_*.json"))] == [3, 3]
    assert len(list(tmp_path.rglob("*.fasta"))) == 2, "no two ranks write one file"


def test_records_that_are_left_out_are_listed_by_each_rank(fasta, tmp_path, capsys, as_rank):
    fasta.write_text(fasta.read_text() + ">empty\n")
    for index in range(2):
        as_rank(index)
        assert profile(capsys, "--fasta", fasta, "--skip-invalid", "--output-dir", tmp_path / "out")[0] == 0
    found = sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("skipped_records.tsv"))
    assert [str(path.parent) for path in found] == ["rank0of2", "rank1of2"]


def test_the_report_on_all_files_is_on_the_whole_job(fasta, tmp_path, capsys, as_rank, monkeypatch):
    for index in range(2):
        as_rank(index)
        profile(capsys, "--fasta", fasta, "--output-dir", tmp_path / "out")
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name)
    assert main(["report", *map(str, sorted((tmp_path / "out").glob("telemetry_*.json")))]) == 0
    assert "11" in capsys.readouterr().out


def test_more_ranks_than_sequences_are_refused(fasta, tmp_path, capsys, as_rank):
    as_rank(1, 12)
    code, _, err = profile(capsys, "--fasta", fasta, "--output-dir", tmp_path / "out")
    assert code == 2
    assert "has 11 sequences to run for 12 ranks: start fewer ranks" in err


def test_an_uneven_array_is_refused(fasta, tmp_path, capsys, monkeypatch):
    for name, value in (("ID", 2), ("MIN", 1), ("MAX", 9), ("COUNT", 3)):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    code, _, err = profile(capsys, "--fasta", fasta, "--output-dir", tmp_path / "out")
    assert code == 2
    assert "the ids of this Slurm array are not evenly spaced" in err
    assert "use --array=0-2" in err


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["sweep", "--device", "cpu"], "sweep"),
        (["profile", "--nsys"], "profile --nsys"),
        (["doctor", "--calibrate"], "doctor --calibrate"),
        (["report", "x.json", "--output", "y.txt"], "report --output"),
        (["correlate", "x.sqlite", "--json", "y.json"], "correlate --json"),
        (["baseline", "save", "x", "y"], "baseline"),
    ],
)
def test_a_command_whose_ranks_would_write_the_same_file_is_refused(arguments, command, tmp_path, capsys, as_rank):
    as_rank(1)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert f"{command} runs in one process, and this is rank 1 of 2 (torchrun): start it once" in error


def test_a_command_that_only_reads_is_not_refused(tmp_path, capsys, as_rank):
    as_rank(1)
    (tmp_path / "x.json").write_text(json.dumps({}))
    main(["report", str(tmp_path / "x.json")])
    assert "rank" not in capsys.readouterr().err


def test_contradictory_variables_are_one_sentence(fasta, tmp_path, capsys, as_rank):
    as_rank(2)
    code, _, err = profile(capsys, "--fasta", fasta, "--output-dir", tmp_path / "out")
    assert code == 2
    assert "RANK is 2 but WORLD_SIZE is 2, so the last one is 1" in err


def test_another_target_runs_its_part_too(fasta, tmp_path, capsys, as_rank):
    for index in range(2):
        as_rank(index)
        options = ("--target", "tests.support.toy_target:make", "--device", "cpu", "--cooldown", "0")
        assert main(["profile", *options, "--fasta", str(fasta), "--output-dir", str(tmp_path / "out")]) == 0
        assert f"Rank {index} of 2 (torchrun)" in capsys.readouterr().out
    runs = [RunResult.load(path) for path in sorted((tmp_path / "out").glob("run_*_rank?of2.json"))]
    assert [run.total_sequences for run in runs] == [6, 5]
