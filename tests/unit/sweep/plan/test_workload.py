# SPDX-License-Identifier: MIT
import gzip
import hashlib
import json
import re
from dataclasses import replace

import pytest

from virnuc_profiler.errors import OutputError, WorkloadError
from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.plan.request import DeviceName, Request
from virnuc_profiler.sweep.plan.workload import (
    ALPHABET,
    SKIPPED_FILE,
    Workload,
    generate_tuning_workload,
    read_workload,
    sample_of,
    token_counts,
)

RANGES = ((50, 100), (100, 300), (300, 500), (500, 1000))


def sequences(path):
    text = path.read_text()
    records = re.fullmatch(r"(?:>\S+[^\n]*\n[A-Z]+\n)+", text)
    assert records, "not plain FASTA with one line a sequence"
    return re.findall(r"^[A-Z]+$", text, re.MULTILINE)


def test_the_same_seed_gives_the_same_bytes_everywhere(tmp_path):
    path = generate_tuning_workload(tmp_path, 200, seed=7)
    # Computed once and kept: another Python, machine or release must give the same.
    assert (
        hashlib.sha256(path.read_bytes()).hexdigest()
        == "ca8a6483840f42663704b718443dd677579bee98ebd35813bd5e95dd11c5a573"
    )
    assert generate_tuning_workload(tmp_path / "again", 200, seed=7).read_bytes() == path.read_bytes()
    assert generate_tuning_workload(tmp_path, 200, seed=8).read_bytes() != path.read_bytes()


def test_shares_are_exact_however_bounds_are_counted(tmp_path):
    lengths = [len(sequence) for sequence in sequences(generate_tuning_workload(tmp_path))]
    assert len(lengths) == 2000
    shares = [sum(low <= length <= high for length in lengths) for low, high in RANGES]
    half_open = [sum(low <= length < high for length in lengths) for low, high in RANGES[:-1]]
    assert shares == [800, 700, 400, 100]
    assert half_open == [800, 700, 400]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 19, 64, 333])
def test_other_counts_scale_the_shares(tmp_path, count):
    lengths = [len(sequence) for sequence in sequences(generate_tuning_workload(tmp_path, count))]
    assert len(lengths) == count
    for share, (low, high) in zip((0.40, 0.35, 0.20, 0.05), RANGES, strict=True):
        assert abs(sum(low <= length <= high for length in lengths) - share * count) < 1


def test_all_residues_occur_and_no_others(tmp_path):
    assert set("".join(sequences(generate_tuning_workload(tmp_path, 50)))) == set(ALPHABET)


def test_lengths_are_mixed(tmp_path):
    lengths = [len(sequence) for sequence in sequences(generate_tuning_workload(tmp_path, 100))]
    assert lengths != sorted(lengths)
    assert min(lengths[:20]) < 100 < max(lengths[:20])


@pytest.mark.parametrize("count", [0, -5])
def test_no_sequences_are_refused(tmp_path, count):
    with pytest.raises(ValueError, match=f"num_sequences is {count}"):
        generate_tuning_workload(tmp_path, count)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file/"):
        generate_tuning_workload(tmp_path / "file" / "folder", 3)


def test_the_first_sequences_of_a_file_are_described_after_truncation(tmp_path):
    path = tmp_path / "own.fasta.gz"
    path.write_bytes(gzip.compress(b">a\nMKV\n>b\n" + b"A" * 2000 + b"\n>c\nMK\n"))
    two = read_workload(path, "file", 2)
    assert (two.num_sequences, two.sequences_in_file, two.tokens, two.longest_tokens) == (2, 3, 5 + 1024, 1024)
    assert two.fingerprint == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    everything = read_workload(path, "file", 99)
    assert (everything.num_sequences, everything.tokens) == (3, 5 + 1024 + 4)


ODD = b">a\nMK-V\n>b\n>c\nMKV\n"


def request(folder, content, **options):
    (folder / "own.fasta").write_bytes(content)
    return Request(folder / "out", DeviceName("cpu"), "m", fasta=folder / "own.fasta", **options)


def test_records_left_out_are_part_of_the_workload_and_listed(tmp_path):
    with pytest.raises(WorkloadError, match=r"own\.fasta, line 3 \(b\): the sequence has no residues"):
        request(tmp_path, ODD).workload()
    workload, fasta = request(tmp_path, ODD, skip_invalid=True).open_workload()
    assert (workload.num_sequences, workload.skip_invalid, workload.skipped_records) == (2, True, 1)
    assert [(finding.kind, finding.line, finding.id) for finding in workload.findings] == [("gaps", 2, "a")]
    assert fasta.skipped == 1
    listed = tmp_path / "out" / SKIPPED_FILE
    assert listed.read_text() == "line\tid\treason\n3\tb\tthe sequence has no residues\n"
    request(tmp_path, b">a\nMKV\n", skip_invalid=True).workload()
    assert not listed.exists()


def test_a_strict_request_refuses_what_looks_like_something_else(tmp_path):
    with pytest.raises(WorkloadError, match=r"own\.fasta is refused: 1 sequence holds 1 gap \(first: line 2 \(a\)\)"):
        request(tmp_path, ODD, skip_invalid=True, strict=True).workload()


def test_a_workload_is_the_same_after_a_round_trip_and_without_later_keys(tmp_path):
    workload = request(tmp_path, ODD, skip_invalid=True).workload()
    values = json.loads(json.dumps(workload.to_json()))
    assert Workload.from_json({**values, "later": 1}) == workload
    for name in ("skip_invalid", "skipped_records", "findings"):
        del values[name]  # as in files of version 1.1
    older = Workload.from_json(values)
    assert (older.skip_invalid, older.skipped_records, older.findings) == (False, None, ())


def test_results_with_and_without_records_left_out_are_not_compared(tmp_path):
    skipping = request(tmp_path, ODD, skip_invalid=True).workload()
    one, other = (
        Conditions({}, {}, {}, {}, workload.to_json())
        for workload in (skipping, replace(skipping, skipped_records=None))
    )
    assert [difference.name for difference in one.differences(other)] == ["workload.skipped_records"]


SORTED = b"".join(b">s%d\n%s\n" % (length, b"A" * length) for length in range(10, 1210, 3))


def test_a_request_over_a_file_describes_a_sample_that_stands_for_it(tmp_path):
    asked = request(tmp_path, SORTED, num_sequences=40, seed=7)
    workload, fasta = asked.open_workload()
    assert (workload.num_sequences, workload.sequences_in_file) == (40, 400)
    assert (workload.sampling, workload.seed) == ("stratified", 7)
    assert workload.tokens_in_file == fasta.total_tokens()
    assert workload.tokens / 40 == pytest.approx(workload.tokens_in_file / 400, rel=0.02)
    lengths = token_counts(fasta)[sample_of(workload, fasta).positions]
    assert (lengths.sum(), lengths.max()) == (workload.tokens, workload.longest_tokens)
    longer, _ = asked.open_workload(2.5)
    assert (longer.num_sequences, longer.sampling, longer.seed) == (100, "stratified", 7)
    assert Workload.from_json(json.loads(json.dumps(workload.to_json()))) == workload


def test_the_first_sequences_are_still_to_be_had(tmp_path):
    workload, fasta = request(tmp_path, SORTED, num_sequences=40, first=True).open_workload()
    assert workload.tokens == sum(length + 2 for length in range(10, 130, 3))
    assert (workload.sampling, workload.seed, workload.sample_fingerprint) == ("first", None, None)
    assert sample_of(workload, fasta) is None


def test_a_whole_file_keeps_its_order_unless_a_number_of_sequences_was_asked_for(tmp_path):
    assert request(tmp_path, SORTED).workload().sampling == "first"
    workload, fasta = request(tmp_path, SORTED, num_sequences=1000).open_workload()
    assert (workload.num_sequences, workload.tokens) == (400, workload.tokens_in_file)
    assert sorted(sample_of(workload, fasta).positions) == list(range(400))


def test_a_sample_that_would_be_drawn_otherwise_today_is_refused(tmp_path):
    workload, fasta = request(tmp_path, SORTED, num_sequences=40).open_workload()
    with pytest.raises(WorkloadError, match=r"the sample of 40 sequences of .*own\.fasta with seed 42 was sha256:00"):
        sample_of(replace(workload, sample_fingerprint="sha256:00"), fasta)


def test_results_of_different_samples_are_not_compared(tmp_path):
    one, other, first = (
        Conditions({}, {}, {}, {}, request(tmp_path, SORTED, num_sequences=40, **options).workload().to_json())
        for options in ({"seed": 1}, {"seed": 2}, {"first": True})
    )
    assert [each.name for each in one.differences(other)] == ["workload.seed", "workload.sample_fingerprint"]
    assert "workload.sampling" in [each.name for each in one.differences(first)]
    added = ("sampling", "seed", "sample_fingerprint", "tokens_in_file")
    older = replace(first, workload={key: value for key, value in first.workload.items() if key not in added})
    assert first.differences(older) == []


@pytest.mark.parametrize("content", [None, b"", b"no fasta at all\n", b">only a header\n"])
def test_a_file_without_sequences_is_refused_by_name(tmp_path, content):
    path = tmp_path / "bad.fasta"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WorkloadError, match=r"bad\.fasta"):
        read_workload(path, "file")
