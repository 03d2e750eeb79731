# SPDX-License-Identifier: MIT
import bz2
import contextlib
import gzip
import importlib
import lzma
import tempfile

import numpy as np
import pytest

from tests.support.fasta_files import fasta_text, random_records
from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.inference.sequences import compression
from virnuc_profiler.inference.sequences.fasta import FastaFile

TEXT = fasta_text(random_records(500))
PACKERS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda text: lzma.compress(text, format=lzma.FORMAT_ALONE),
}
with contextlib.suppress(ImportError):  # what is said without the module is tested below
    _zstd = compression._zstd_module()
    _with_checksum = {_zstd.CompressionParameter.checksum_flag: 1}  # as the program zstd writes it
    PACKERS["zstd"] = lambda text: _zstd.compress(text, options=_with_checksum)


@pytest.fixture(autouse=True)
def private_temporary_folder(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def opened(path, content):
    path.write_bytes(content)
    return FastaFile.open(path)


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("layout", ["one member", "two members", "padded with zeros", "empty member"])
def test_every_member_is_unpacked(tmp_path, name, layout):
    pack = PACKERS[name]
    content = {
        "one member": pack(TEXT),
        "two members": pack(TEXT[:777]) + pack(TEXT[777:]),
        "padded with zeros": pack(TEXT) + b"\0" * 512,
        "empty member": pack(b"") + pack(TEXT),
    }[layout]
    fasta = opened(tmp_path / "x.faa", content)
    assert [len(sequence) for _, sequence in random_records(500)] == fasta.residue_counts.tolist()
    assert list(fasta.sequence_ids(np.array([499]))) == ["seq_499"]


@pytest.mark.parametrize("name", PACKERS)
def test_what_is_missing_or_damaged_is_an_error_and_leaves_nothing(tmp_path, name, private_temporary_folder):
    packed = PACKERS[name](TEXT)
    with pytest.raises(WorkloadError, match=rf"x\.faa: its {name} data end early, after about [\d,]+ bytes of text"):
        opened(tmp_path / "x.faa", packed[: len(packed) // 2])
    for damaged in (packed[:200] + bytes(200) + packed[400:], packed + b"text behind"):
        with pytest.raises(WorkloadError, match=rf"x\.faa: its {name} data (are damaged|end early)"):
            opened(tmp_path / "x.faa", damaged)
    assert list(private_temporary_folder.iterdir()) == []


def test_zstd_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    def no_module(name):
        raise ImportError(name)

    monkeypatch.setattr(compression, "import_module", no_module)
    with pytest.raises(WorkloadError, match=r"x\.faa: it is compressed with zstd.*install the package backports\.zstd"):
        opened(tmp_path / "x.faa", b"\x28\xb5\x2f\xfd" + b"\0" * 20)


def test_the_package_is_used_where_python_has_no_zstd(monkeypatch):
    asked = []

    def only_the_package(name):
        asked.append(name)
        if name == "compression.zstd":
            raise ImportError(name)
        return importlib.import_module("zlib")

    monkeypatch.setattr(compression, "import_module", only_the_package)
    assert compression._zstd_module().__name__ == "zlib"
    assert asked == ["compression.zstd", "backports.zstd"]


@pytest.mark.parametrize("name", PACKERS)
def test_a_bomb_is_unpacked_in_blocks(tmp_path, name):
    packed = PACKERS[name](b"\n" * (64 << 20))
    (tmp_path / "x").write_bytes(packed)
    found = compression.compression_of(packed)
    assert found is not None
    with (tmp_path / "x").open("rb") as file:
        sizes = [len(block) for block in compression.unpacked_blocks(tmp_path / "x", file, found)]
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= compression.BLOCK_BYTES
