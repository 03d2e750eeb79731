# SPDX-License-Identifier: MIT
import gc
import gzip
import hashlib
import json
import os
import pickle
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from tests.support.fasta_files import fasta_text, random_records, write_fasta
from virnuc_profiler import _core
from virnuc_profiler.errors import OutputError, WorkloadError
from virnuc_profiler.inference.sequences.fasta import FastaFile

RECORDS = [("a", "MKVL"), ("b", "AC"), ("a", "W" * 130)]


@pytest.fixture(autouse=True)
def private_temporary_folder(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def read(path, content):
    path.write_bytes(content)
    return FastaFile.open(path)


def sequences(fasta):
    text, starts, ends = fasta.read_sequences(np.arange(len(fasta)))
    return [b"".join(text[start:end].tobytes().split()).decode() for start, end in zip(starts, ends, strict=True)]


def ids(fasta):
    return list(fasta.sequence_ids(np.arange(len(fasta))))


@pytest.mark.parametrize(
    "content",
    [
        fasta_text(RECORDS),
        fasta_text(RECORDS).replace(b"\n", b"\r\n"),
        fasta_text(RECORDS).replace(b"\n", b"\r"),
        fasta_text(RECORDS).rstrip(b"\n"),
        fasta_text(RECORDS).replace(b"\n>", b"\n\n \n>"),
        gzip.compress(fasta_text(RECORDS)),
        gzip.compress(fasta_text(RECORDS)[:10]) + gzip.compress(fasta_text(RECORDS)[10:]),
        gzip.compress(fasta_text(RECORDS)) + b"\0" * 512,
    ],
    ids=[
        "lf",
        "crlf",
        "cr",
        "no last line end",
        "blank lines",
        "gzip",
        "two gzip members",
        "gzip padded with zeros",
    ],
)
def test_layouts(tmp_path, content):
    # gzip is recognized by the first bytes, not by the name.
    fasta = read(tmp_path / "sequences.faa", content)
    assert ids(fasta) == ["a", "b", "a"]
    assert sequences(fasta) == [sequence for _, sequence in RECORDS]
    assert fasta.residue_counts.tolist() == [4, 2, 130]
    assert fasta.residue_counts.dtype == np.int64
    assert fasta.path == tmp_path / "sequences.faa"


def test_plain_text_with_a_gzip_name(tmp_path):
    assert len(read(tmp_path / "sequences.faa.gz", fasta_text(RECORDS))) == 3


def test_ids_end_at_white_space_and_may_contain_anything_else(tmp_path):
    content = b">sp|P1|X>Y some > words\nMK\n>tab\there\nMK\n>caf\xe9\nMK\n>\xc3\xbc\nMK\n"
    fasta = read(tmp_path / "x.faa", content)
    assert ids(fasta) == ["sp|P1|X>Y", "tab", "caf\ufffd", "\u00fc"]
    assert json.loads(json.dumps(ids(fasta))) == ids(fasta)


def test_ids_are_a_sequence_that_pickles_as_a_list(tmp_path):
    fasta = write_and_open(tmp_path, 10)
    names = fasta.sequence_ids(np.array([7, 2, 5]))
    assert len(names) == 3
    assert names[0] == "seq_7"
    assert names[-1] == "seq_5"
    assert list(names[1:]) == ["seq_2", "seq_5"]
    assert "seq_2" in names
    assert pickle.loads(pickle.dumps(names)) == ["seq_7", "seq_2", "seq_5"]
    with pytest.raises(IndexError):
        names[3]


def write_and_open(folder, count, **options):
    return FastaFile.open(write_fasta(folder / "sequences.faa", random_records(count, **options)))


def test_total_tokens_counts_limit_and_ends(tmp_path):
    records = random_records(50, longest=40)
    fasta = FastaFile.open(write_fasta(tmp_path / "x.faa", records))
    assert fasta.total_tokens(25) == sum(min(len(sequence), 25) + 2 for _, sequence in records)


def test_the_fingerprint_covers_the_bytes_on_disk(tmp_path):
    path = write_fasta(tmp_path / "x.faa.gz", RECORDS, packed=True)
    assert FastaFile.open(path).fingerprint == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: the text contains no sequence"),
        (b"\n  \n", "line 2: the text contains no sequence"),
        (b"\nMKV\n>a\nMKV\n", "line 2: text before the first header"),
        (b">a\nMKV\n>\nMKV\n", "line 3: a header without an identifier"),
        (b">a\nMKV\n>b\n", "line 3 (b): the sequence has no residues"),
        (b">a\nMKV\n>b\n*\n>c\nM\n", "line 3 (b): the sequence has no residues"),
        (b">\xff\xfe\n", "line 1 (\ufffd\ufffd): the sequence has no residues"),
        (b">a\nMKV>b\nMKV\n", "line 2 (a): '>' inside a sequence"),
        (b">a\nMK\x00V\n", "line 2 (a): byte 0x00 cannot"),
        (gzip.compress(b">a\nMKV\n>b\n"), "line 3 (b): the sequence has no residues"),
        (gzip.compress(b""), "line 1: the text contains no sequence"),
    ],
)
def test_errors_of_format_name_file_and_line(tmp_path, content, message, private_temporary_folder):
    with pytest.raises(WorkloadError) as caught:
        read(tmp_path / "bad.faa", content)
    assert f"{tmp_path / 'bad.faa'}, {message}" in str(caught.value)
    assert caught.value.__cause__ is None
    assert list(private_temporary_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(fasta_text(random_records(100)))[:-500], "gzip data end early"),
        (b"\x1f\x8b", "gzip data"),
        (b"\x1f\x8bthis is no gzip file at all", "gzip data are damaged"),
        (gzip.compress(b">a\nMKV\n") + b"trailing text", "gzip data are damaged"),
    ],
    ids=["truncated", "magic alone", "magic and text", "text behind"],
)
def test_damaged_gzip(tmp_path, content, message, private_temporary_folder):
    with pytest.raises(WorkloadError, match=message) as caught:
        read(tmp_path / "bad.gz", content)
    assert str(tmp_path / "bad.gz") in str(caught.value)
    assert list(private_temporary_folder.iterdir()) == []


def test_a_wrong_checksum_is_reported_as_damage(tmp_path):
    content = bytearray(gzip.compress(fasta_text(random_records(100))))
    content[-8] ^= 1
    with pytest.raises(WorkloadError, match="gzip data are damaged"):
        read(tmp_path / "bad.gz", bytes(content))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(WorkloadError, match=r"cannot read .*missing\.faa: No such file"):
        FastaFile.open(tmp_path / "missing.faa")
    with pytest.raises(WorkloadError, match=r"it is a folder; name a FASTA file"):
        FastaFile.open(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WorkloadError, match="not a regular file"):  # instead of waiting for a writer
        FastaFile.open(tmp_path / "pipe")
    with pytest.raises(WorkloadError, match=r"cannot read /proc/self/mem: Input/output error"):
        FastaFile.open("/proc/self/mem")
    with pytest.raises(WorkloadError, match=r"Not a directory"):
        FastaFile.open(write_fasta(tmp_path / "x.faa", RECORDS) / "y.faa")


def test_a_full_disk_is_reported(tmp_path, private_temporary_folder):
    path = write_fasta(tmp_path / "x.faa.gz", random_records(20_000, longest=100), packed=True)
    program = (
        "import resource, sys\n"
        "from virnuc_profiler.inference.sequences.fasta import FastaFile\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "FastaFile.open(sys.argv[1])"
    )
    environment = {**os.environ, "TMPDIR": str(private_temporary_folder)}
    result = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, env=environment, check=False
    )
    assert f"cannot write to the temporary folder {private_temporary_folder}: File too large" in result.stderr
    assert "TMPDIR" in result.stderr
    assert list(private_temporary_folder.iterdir()) == []


def test_no_temporary_folder_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(OutputError, match=r"cannot write to the temporary folder .*nowhere: No such file"):
        FastaFile.open(write_fasta(tmp_path / "x.faa", RECORDS))


def test_identifiers_cannot_control_the_terminal(tmp_path):
    path = tmp_path / "x.faa"
    path.write_bytes(b">a\x1b[2J\n>b\nMK\n")
    with pytest.raises(WorkloadError, match=r"a\\x1b\[2J"):
        FastaFile.open(path)


def test_a_file_is_pickled_as_paths(tmp_path):
    fasta = FastaFile.open(write_fasta(tmp_path / "x.faa.gz", random_records(3000), packed=True))
    message = pickle.dumps(fasta)
    assert len(message) < 1000
    copy = pickle.loads(message)
    assert ids(copy) == ids(fasta)
    assert sequences(copy) == sequences(fasta)
    del copy
    gc.collect()
    assert len(sequences(pickle.loads(message))) == 3000  # deleting an unpickled copy removes no file


def test_a_changed_file_is_noticed(tmp_path):
    path = write_fasta(tmp_path / "x.faa", random_records(10))
    fasta = FastaFile.open(path)
    message = pickle.dumps(fasta)
    write_fasta(path, random_records(5, seed=9))
    with pytest.raises(WorkloadError, match=r"x\.faa was (truncated|changed) while it was in use"):
        sequences(pickle.loads(message))


def test_temporary_files_are_private_and_removed_with_their_owner(tmp_path, private_temporary_folder):
    fasta = FastaFile.open(write_fasta(tmp_path / "x.faa.gz", RECORDS, packed=True))
    (folder,) = private_temporary_folder.iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    names = fasta.sequence_ids(np.arange(3))
    del fasta
    gc.collect()
    assert list(names) == ["a", "b", "a"]  # identifiers keep their file open
    del names
    gc.collect()
    assert list(private_temporary_folder.iterdir()) == []
    assert list(tmp_path.glob("x.faa.gz*")) == [tmp_path / "x.faa.gz"]  # no index beside it


@pytest.mark.parametrize("ending", ["", "; sys.exit(3)", "; raise ValueError", "; os.fork() or sys.exit()"])
def test_temporary_files_are_removed_when_the_process_ends(tmp_path, private_temporary_folder, ending):
    path = write_fasta(tmp_path / "x.faa.gz", RECORDS, packed=True)
    program = (
        "import os, sys, time, pathlib; from virnuc_profiler.inference.sequences.fasta import FastaFile; "
        f"f = FastaFile.open(sys.argv[1]){ending}; "
        "time.sleep(0.3); print(len(list(pathlib.Path(os.environ['TMPDIR']).iterdir())))"
    )
    environment = {**os.environ, "TMPDIR": str(private_temporary_folder)}
    result = subprocess.run(
        [sys.executable, "-c", program, path], env=environment, check=False, capture_output=True, text=True
    )
    if "fork" in ending:  # the child's end did not remove the parent's files
        assert result.stdout == "1\n", result.stderr
    assert list(private_temporary_folder.iterdir()) == []


def test_the_index_accepts_any_contiguous_buffer():
    for text in (
        b">a\nMK\n",
        bytearray(b">a\nMK\n"),
        memoryview(b">a\nMK\n"),
        np.frombuffer(b">a\nMK\n", np.uint8),
    ):
        index = _core.index_fasta(text)
        assert len(index) == 1
        assert index.residue_counts.tolist() == [2]
    with pytest.raises(TypeError):
        _core.index_fasta(">a\nMK\n")
    with pytest.raises(BufferError):
        _core.index_fasta(memoryview(b">>aa\n\n")[::2])


def test_format_error_carries_message_and_line():
    with pytest.raises(_core.FastaFormatError) as caught:
        _core.index_fasta(b"\n; a comment\n")
    assert isinstance(caught.value, ValueError)
    assert caught.value.args == ("the text contains no sequence", 2)


def test_faults_are_counted_and_the_first_ones_described():
    index = _core.index_fasta(b">a\nMK\n" + b">b\n" * 5, max_faults=2)
    assert (len(index), index.fault_count, index.described_faults) == (1, 5, 2)
    assert index.fault(1) == (4, "b", "the sequence has no residues")
    with pytest.raises(IndexError):
        index.fault(2)
    assert _core.index_fasta(b">a\nMK\n" + b">b\n" * 5).described_faults == 5


def test_index_arrays_outlive_the_index_and_are_read_only():
    counts = _core.index_fasta(b">a\nMK\n" * 1000).residue_counts
    gc.collect()
    assert counts.tolist() == [2] * 1000
    with pytest.raises(ValueError, match="read-only"):
        counts[0] = 5


def test_folders_of_killed_processes_are_removed_and_others_kept(tmp_path, private_temporary_folder):
    path = write_fasta(tmp_path / "x.faa.gz", RECORDS, packed=True)
    program = (
        "import os, sys; from virnuc_profiler.inference.sequences.fasta import FastaFile; "
        "f = FastaFile.open(sys.argv[1]); os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "TMPDIR": str(private_temporary_folder)}
    subprocess.run([sys.executable, "-c", program, path], env=environment, check=False)
    (abandoned,) = private_temporary_folder.iterdir()
    ours = FastaFile.open(path)
    assert not abandoned.exists()
    other = FastaFile.open(path)
    assert len(list(private_temporary_folder.iterdir())) == 2
    assert sequences(pickle.loads(pickle.dumps(ours))) == sequences(other)


MEMORY = """
import sys
from virnuc_profiler.inference.sequences.fasta import FastaFile

def kilobytes(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

FastaFile.open(sys.argv[1])
before = kilobytes("VmRSS")
fasta = FastaFile.open(sys.argv[2])
print((kilobytes("VmHWM") - before) * 1024)
"""


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_memory_stays_in_proportion_for_the_worst_text(tmp_path, packed):
    """Each sequence has five bytes, for which the index needs forty. Gzip'd text is unpacked block by block."""
    text = b">a\nM\n" * 1_000_000
    (tmp_path / "x.faa").write_bytes(gzip.compress(text) if packed else text)
    small = write_fasta(tmp_path / "small.faa", RECORDS)
    program = [sys.executable, "-c", MEMORY, small, tmp_path / "x.faa"]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 32 * len(text)
