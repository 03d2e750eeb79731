import json
import re

import numpy as np
import pytest
import torch

from tests.support.embed_job import TellingModel, expected_vectors, write_fasta
from tests.support.sweeps import run_in_journal, small_plan
from virnuc_profiler import ModelShape, open_embeddings
from virnuc_profiler.analysis.projection.job_time import Pace
from virnuc_profiler.analysis.projection.length_strata import strata_of
from virnuc_profiler.analysis.projection.source import Source
from virnuc_profiler.cli.main import main
from virnuc_profiler.embed import measured_ranks
from virnuc_profiler.embed.job import read_job
from virnuc_profiler.inference.esm2 import hub_cache, load
from virnuc_profiler.inference.sequences.fasta import FastaFile

COUNT = 120


@pytest.fixture
def fasta(tmp_path):
    return write_fasta(tmp_path / "a.fa", COUNT)


@pytest.fixture(autouse=True)
def model(tmp_path, monkeypatch):
    """A model of the size of the 8M one that computes next to nothing, and the arguments that it was loaded with."""
    loaded = {}

    def load_model(name, device, **options):
        loaded.update(options, name=name, model=TellingModel(hidden_size=320))
        return loaded["model"], None

    monkeypatch.setattr(load, "load_esm2_model", load_model)
    (tmp_path / "cached.pt").touch()
    monkeypatch.setattr(hub_cache, "cached_checkpoint", lambda name: tmp_path / "cached.pt")
    return loaded


def embed(*arguments):
    return main(["embed", "--device", "cpu", "--num-workers", "0", *map(str, arguments)])


def job(fasta, folder, *more):
    return embed("--fasta", fasta, "--output-dir", folder, "--model", "8M", "--token-budget", 512, "--shards", 6, *more)


def test_a_job_from_beginning_to_end(tmp_path, fasta, model, capsys):
    out = tmp_path / "out"
    assert job(fasta, out) == 0
    printed = capsys.readouterr().out
    assert f"Job: {COUNT} sequences of {fasta} in 6 shards" in printed
    assert "Disk: " in printed
    assert f"Written: {COUNT} vectors in 6 shards" in printed
    assert "Verdict: " in printed
    assert f"Checked: every sequence once: {COUNT} counted in 6 files" in printed
    np.testing.assert_array_equal(open_embeddings(out).to_numpy()[:, :4], expected_vectors(fasta))
    assert (out / "index" / "id_hashes.npy").is_file()
    telemetry = json.loads((out / "telemetry" / "telemetry_embed_rank_0.json").read_text())
    assert telemetry["run_metadata"]["embed"]["rank"] == "0"
    assert model["weights"] == "auto"


def test_the_same_command_again_or_resume_does_only_what_is_missing(tmp_path, fasta, model, capsys):
    out = tmp_path / "out"
    job(fasta, out, "--dtype", "fp16", "--weights", "/w.pt")
    model.clear()
    assert job(fasta, out, "--dtype", "fp16", "--weights", "/w.pt") == 0
    assert not model
    (out / "vectors" / "shard_00002.parquet").unlink()
    capsys.readouterr()
    assert embed("--resume", out) == 0
    printed = capsys.readouterr().out
    assert "6 shards, 1 of them left" in printed
    assert "Shard 2 is done again: vectors/shard_00002.parquet is missing" in printed
    assert "in 1 shard," in printed
    assert model["weights"] == "/w.pt"
    assert open_embeddings(out).to_numpy().dtype == np.float16
    assert read_job(out).token_budget == 512


def test_the_metrics_of_a_finished_job_say_that_it_is_finished(tmp_path, fasta, model):
    file = tmp_path / "embed.prom"
    job(fasta, tmp_path / "out")
    file.write_text("# HELP virnuc_embed_running ...\nvirnuc_embed_running 1\n")  # as a killed process leaves it
    model.clear()
    assert embed("--resume", tmp_path / "out", "--metrics", file) == 0
    assert not model
    values = dict(line.rsplit(" ", 1) for line in file.read_text().splitlines() if line[0] != "#")
    values = {name.partition("{")[0].removeprefix("virnuc_embed_"): value for name, value in values.items()}
    expected = {"running": "0", "sequences_total": "0", "planned_shards": "0", "done_ratio": "1.0"}
    assert expected.items() <= values.items()


def failing(capsys, code, *arguments):
    """The only line on stderr of a command that fails."""
    assert embed(*arguments) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1
    return lines[0]


def test_options_that_are_missing_are_named(tmp_path, fasta, capsys):
    out = tmp_path / "out"
    assert "--output-dir DIR is missing" in failing(capsys, 2, "--fasta", fasta, "--model", "8M")
    assert "--fasta FILE is missing" in failing(capsys, 2, "--output-dir", out, "--model", "8M")
    assert "--model is missing" in failing(capsys, 2, "--fasta", fasta, "--output-dir", out)
    assert "holds no embed job" in failing(capsys, 2, "--resume", tmp_path)
    assert not out.exists()


def test_another_job_in_the_folder_is_refused(tmp_path, fasta, capsys):
    out = tmp_path / "out"
    job(fasta, out)
    capsys.readouterr()
    again = ("--fasta", fasta, "--output-dir", out, "--token-budget", 512)
    assert "the model was" in failing(capsys, 2, *again, "--model", "35M")
    assert "the precision was 'fp32' and is now 'bf16'" in failing(
        capsys, 2, *again, "--model", "8M", "--precision", "bf16"
    )
    assert "the format was" in failing(capsys, 2, *again, "--model", "8M", "--format", "safetensors")
    with fasta.open("a") as file:
        file.write(">more\nACD\n")
    assert "the content of the FASTA file is another one" in failing(capsys, 2, *again, "--model", "8M")
    assert open_embeddings(out).complete


def test_other_weights_are_refused_by_name(tmp_path, fasta, capsys, monkeypatch):
    out = tmp_path / "out"
    job(fasta, out)
    (out / "vectors" / "shard_00002.parquet").unlink()
    monkeypatch.setattr(
        load, "load_esm2_model", lambda *a, **o: (TellingModel(hidden_size=320, weights="others"), None)
    )
    capsys.readouterr()
    assert "the weights was 'as the tests have them' and is now 'others'" in failing(capsys, 2, "--resume", out)


def test_random_weights_are_refused_unless_they_are_asked_for(tmp_path, fasta, capsys, monkeypatch):
    random_model = TellingModel(hidden_size=320)
    object.__setattr__(random_model.info, "weights_source", "random")
    monkeypatch.setattr(load, "load_esm2_model", lambda *a, **o: (random_model, None))
    arguments = ("--fasta", fasta, "--output-dir", tmp_path / "out", "--model", "8M")
    assert "vectors of random weights mean nothing" in failing(capsys, 1, *arguments)
    (tmp_path / "cached.pt").unlink()
    monkeypatch.setattr(load, "load_esm2_model", None)  # is not called
    assert "give --weights pretrained to download them" in failing(capsys, 1, *arguments)
    monkeypatch.setattr(load, "load_esm2_model", lambda *a, **o: (random_model, None))
    assert not (tmp_path / "out" / "job.json").exists()
    assert embed(*arguments, "--weights", "random") == 0


def test_a_job_that_ran_out_of_memory_continues_with_a_smaller_budget(tmp_path, fasta, capsys, monkeypatch):
    class Greedy(TellingModel):
        def embed_sequences(self, tokens, *more):
            if len(tokens) > 300:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return super().embed_sequences(tokens, *more)

    monkeypatch.setattr(load, "load_esm2_model", lambda *a, **o: (Greedy(hidden_size=320), None))
    arguments = ("--fasta", fasta, "--output-dir", tmp_path / "out", "--model", "8M", "--shards", 6)
    assert "device memory ran out" in failing(capsys, 1, *arguments)
    assert embed(*arguments, "--token-budget", 300) == 0
    assert open_embeddings(tmp_path / "out").complete


def test_invalid_records_are_left_out_and_listed(tmp_path, fasta, capsys):
    with fasta.open("a") as file:
        file.write(">empty\n>last\nACD\n")
    assert job(fasta, tmp_path / "out", "--skip-invalid") == 0
    assert open_embeddings(tmp_path / "out").positions_of("last").tolist() == [COUNT]
    assert "empty" in (tmp_path / "out" / "skipped_records.tsv").read_text()
    capsys.readouterr()
    assert embed("--resume", tmp_path / "out") == 0


def test_a_disk_that_is_too_small_is_said_before_anything_runs(tmp_path, fasta, capsys, model, monkeypatch):
    from virnuc_profiler.embed import disk_space

    class Small:
        f_bavail, f_frsize = 10, 512

    monkeypatch.setattr(disk_space.os, "statvfs", lambda path: Small)
    arguments = ("--fasta", fasta, "--output-dir", tmp_path / "out", "--model", "8M")
    assert "needs 0.16 MB for 120 vectors of 320 numbers in fp32, 0.01 MB free" in failing(capsys, 1, *arguments)
    assert not model


def test_what_was_predicted_is_compared_with_what_came_true(tmp_path, fasta, capsys, monkeypatch):
    folder = tmp_path / "sweep"
    folder.mkdir()
    run_in_journal(folder, begin=small_plan())
    path = folder / "best_config.json"
    path.write_text(path.read_text().replace('"model_name": "m"', '"model_name": "esm2_t6_8M_UR50D"'))
    lengths = strata_of(np.full(1000, 32))
    pace = Pace(tokens_per_sec=1e9, start_up_s=1e-6, own_half_width=0.02, measured_s=10.0)
    source = Source(path, "a sweep", pace, lengths, lengths, ModelShape(6, 320))
    monkeypatch.setattr(measured_ranks, "read_source", lambda path: source)
    assert embed("--fasta", fasta, "--output-dir", tmp_path / "out", "--config", folder) == 0
    printed = capsys.readouterr().out
    assert f"Time: about 0 s (0 s to 0 s), predicted from {path}" in printed
    assert "Predicted: about 0 s (0 s to 0 s); it took " in printed
    assert "outside the interval" in printed
    run = json.loads((tmp_path / "out" / "telemetry" / "run_embed_rank_0.json").read_text())
    low, middle, high = run["metadata"]["embed"]["predicted_seconds"]
    assert 0 < low < middle < high < 0.001


def test_a_dry_run_writes_nothing(tmp_path, fasta, capsys, model):
    assert job(fasta, tmp_path / "out", "--dry-run") == 0
    assert "in 6 shards" in capsys.readouterr().out
    assert not model
    assert not (tmp_path / "out").exists()


def predicted(capsys, fasta, tmp_path, *more):
    """Run `embed` with these options, and return what it prints."""
    arguments = ("--fasta", fasta, "--output-dir", tmp_path / "out", "--model", "8M", "--shards", 24, *more)
    assert main(["embed", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_a_dry_run_predicts_the_time_on_numbers_of_gpus(tmp_path, fasta, capsys, model, monkeypatch):
    """No GPU needs to be there, and any earlier run tells the pace: here that of an earlier job."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(TellingModel, "num_layers", 6)
    job(fasta, tmp_path / "earlier")
    model.clear()
    capsys.readouterr()
    printed = predicted(capsys, fasta, tmp_path, "--dry-run", "--gpus", "1,8,64", "--run", tmp_path / "earlier")
    rows = [[cell.strip() for cell in line.split("|")] for line in printed.splitlines() if "|" in line]
    assert rows[0] == [
        "GPUs", "Wall time", "95 % interval", "Tail", "Efficiency", "Shards per GPU", "GPU-hours",
    ]  # fmt: skip
    assert [(row[0], row[5]) for row in rows[1:]] == [("1", "24"), ("8", rows[2][5]), ("64", "0 to 1")]
    assert "Predicted for 24 shards from" in printed
    assert "The rates of the ranks differ by 2.00% (standard deviation), which is assumed" in printed
    assert "Time:" not in printed, "that of one process would only confuse"
    assert not model
    assert not (tmp_path / "out").exists()
    printed = predicted(capsys, fasta, tmp_path, "--dry-run", "--ranks", "2", "--run", tmp_path / "earlier")
    assert "Shards per rank" in printed
    assert "Time:" in predicted(capsys, fasta, tmp_path, "--dry-run", "--run", tmp_path / "earlier")
    printed = predicted(capsys, fasta, tmp_path, "--dry-run", "--ranks", "2")
    assert "Time: not predicted, since neither --config SWEEP nor --run PATH tells a pace" in printed
    assert embed("--resume", tmp_path / "earlier", "--dry-run", "--ranks", "2") == 0
    assert "Time: none, since nothing is left to do" in capsys.readouterr().out


def test_the_time_of_several_ranks_is_predicted_for_all_of_them(tmp_path, fasta, capsys, monkeypatch):
    monkeypatch.setattr(TellingModel, "num_layers", 6)
    source = slow_source(tmp_path)
    monkeypatch.setattr(measured_ranks, "read_source", lambda path: source)
    options = ("--dry-run", "--device", "cpu", "--run", source.path)
    assert "Time: about 1 min 40 s (" in predicted(capsys, fasta, tmp_path, *options)
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "0"), ("LOCAL_WORLD_SIZE", "4")):
        monkeypatch.setenv(name, value)
    printed = predicted(capsys, fasta, tmp_path, *options)
    time = next(line for line in printed.splitlines() if line.startswith("Time:"))
    assert re.match(r"Time: about 2\d s \(.*\) if all 4 ranks run at once, predicted from ", time)


def slow_source(tmp_path):
    """A pace at which the file of these tests takes one process 100 s."""
    lengths = strata_of(np.full(1000, 32))
    fasta = FastaFile.open(tmp_path / "a.fa")
    tokens = fasta.residue_counts + 2
    shape = ModelShape(6, 320)
    here, there = (work.work(shape) for work in (strata_of(tokens), lengths))
    rate = lengths.total_tokens * sum(here) / sum(there) / 100
    return Source(tmp_path / "run.json", "a run", Pace(rate, 1e-6, 0.02, 10.0), lengths, lengths, shape, before_s=50.0)


def test_a_prediction_needs_a_pace_of_the_same_model(tmp_path, fasta, capsys, monkeypatch):
    monkeypatch.setattr(TellingModel, "num_layers", 6)
    job(fasta, tmp_path / "earlier")
    capsys.readouterr()
    arguments = ("--fasta", fasta, "--output-dir", tmp_path / "out", "--dry-run")
    lists = (*arguments, "--model", "8M", "--device", "auto", "--gpus", "8,64")
    assert "predicts the time from a measured pace: give --config SWEEP or --run PATH" in failing(capsys, 2, *lists)
    other = (*arguments, "--model", "35M", "--run", tmp_path / "earlier")
    assert "a model of 6 layers of 320, and the job's has 12 layers of 480" in failing(capsys, 2, *other)
    assert "nothing.json" in failing(capsys, 2, *arguments, "--model", "8M", "--run", tmp_path / "nothing.json")


def test_a_sweep_gives_model_precision_and_knobs(tmp_path, fasta, capsys):
    folder = tmp_path / "sweep"
    folder.mkdir()
    run_in_journal(folder, begin=small_plan())
    path = folder / "best_config.json"
    best = json.loads(path.read_text())
    name = best["model"]["model_name"] = "esm2_t6_8M_UR50D"
    path.write_text(json.dumps(best))
    arguments = ("--fasta", fasta, "--output-dir", tmp_path / "out", "--config", tmp_path / "sweep")
    assert main(["embed", "--device", "cpu", "--dry-run", *map(str, arguments)]) == 0
    printed, errors = capsys.readouterr()
    assert f"From {path}: num_workers={best['config']['num_workers']}" in printed
    assert f"model={name}" in printed
    assert f"token_budget={best['config']['token_budget']}" in printed
    assert "warning: no time is predicted" in errors  # this sweep has no run behind it
    assert "leave --model or --config out" in failing(capsys, 2, *arguments, "--model", "35M")
    assert "leave --precision or --config out" in failing(capsys, 2, *arguments, "--precision", "bf16")
    assert embed(*arguments, "--dry-run", "--token-budget", 999) == 0
    assert "From the options instead: num_workers=0, token_budget=999" in capsys.readouterr().out


def test_a_command_that_is_stopped_before_the_job_begins_does_not_promise_to_continue(tmp_path, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("virnuc_profiler.inference.sequences.dataset.open_fasta", stop)
    fasta = write_fasta(tmp_path / "a.fa", 5)
    assert main(["embed", "--fasta", str(fasta), "--model", "8M", "--output-dir", str(tmp_path / "out")]) != 0
    assert "--resume" not in capsys.readouterr().err


def test_weights_that_a_complete_job_cannot_be_compared_with_are_said_to_be_so(tmp_path, fasta, caplog):
    arguments = [
        "embed",
        "--fasta",
        str(fasta),
        "--model",
        "8M",
        "--device",
        "cpu",
        "--output-dir",
        str(tmp_path / "v"),
    ]
    assert main([*arguments, "--num-workers", "0"]) == 0
    assert main(arguments) == 0
    assert "was not compared" not in caplog.text
    assert main([*arguments, "--weights", str(tmp_path / "other.pt")]) == 0
    assert f"--weights {tmp_path / 'other.pt'} was not compared with those of the job" in caplog.text
