import dataclasses

import pytest

from tests.support.embed_job import job_of, write_fasta
from virnuc_profiler.embed.job import EmbedJob, begin_or_continue, read_job
from virnuc_profiler.errors import TelemetryFormatError, UsageError
from virnuc_profiler.inference.sequences.fasta import FastaFile


@pytest.fixture
def job(tmp_path):
    return job_of(FastaFile.open(write_fasta(tmp_path / "a.fa", 5)), num_shards=2)


def test_a_job_is_what_its_file_says(tmp_path, job):
    assert begin_or_continue(tmp_path, job) is False
    assert read_job(tmp_path) == job
    assert begin_or_continue(tmp_path, job) is True
    assert read_job(tmp_path / "empty") is None


def test_knobs_and_the_path_of_the_file_may_change(tmp_path, job):
    begin_or_continue(tmp_path, job)
    assert begin_or_continue(tmp_path, dataclasses.replace(job, fasta="b.fa", token_budget=99, num_workers=1)) is True


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": "other"}, "the model was 'telling' and is now 'other'"),
        ({"precision": "bf16"}, "the precision was 'fp32' and is now 'bf16'"),
        ({"weights": "others"}, "the weights was"),
        ({"dtype": "fp16"}, "the type of the vectors was 'fp32' and is now 'fp16'"),
        ({"fingerprint": "sha256:0"}, "the content of the FASTA file is another one"),
    ],
)
def test_another_job_is_refused_by_name(tmp_path, job, change, named):
    begin_or_continue(tmp_path, job)
    with pytest.raises(UsageError, match=named) as refused:
        begin_or_continue(tmp_path, dataclasses.replace(job, **change))
    assert "--resume" in str(refused.value)
    assert "--output-dir" in str(refused.value)


@pytest.mark.parametrize("document", [{}, [], {"kind": "embed_job", "schema_version": "2.0"}])
def test_other_files_are_refused(document):
    with pytest.raises(TelemetryFormatError):
        EmbedJob.from_json(document)
    with pytest.raises(TelemetryFormatError, match="has no 'buffer_size'"):
        EmbedJob.from_json({"kind": "embed_job", "schema_version": "1.7"})
