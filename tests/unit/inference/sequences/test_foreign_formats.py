# SPDX-License-Identifier: MIT
import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile

import pytest

from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.inference.sequences.fasta import FastaFile

TEXT = b">a\nMKV\n>b\nMKL\n"


def tar(text):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("x.faa")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return buffer.getvalue()


def zipped(text):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.faa", text)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (zipped(TEXT), "a zip archive"),
        (tar(TEXT), "a tar archive"),
        (gzip.compress(tar(TEXT)), "a tar archive inside gzip"),
        (lzma.compress(tar(TEXT)), "a tar archive inside xz"),
        (bz2.compress(zipped(TEXT)), "a zip archive inside bzip2"),
        (gzip.compress(gzip.compress(TEXT)), "compressed twice (gzip inside gzip)"),
        (gzip.compress(b"") + gzip.compress(lzma.compress(TEXT)), "compressed twice (xz inside gzip)"),
        (TEXT.decode().encode("utf-16"), "UTF-16 text"),
        (TEXT.decode().encode("utf-16-le"), "UTF-16 text"),
        (TEXT.decode().encode("utf-16-be"), "UTF-16 text"),
        (TEXT.decode().encode("utf-32"), "UTF-32 text"),
        (gzip.compress(b"BAM\x01\0\0\0\0"), "BAM inside gzip"),
        (b"CRAM\x03\x00", "CRAM"),
        (gzip.compress(b"BCF\x02\x02"), "BCF inside gzip"),
        (b"@SQ\tSN:1\tLN:10\n", "SAM"),
        (b"@read 1\nACGT\n+\n>III\n", "FASTQ"),
        (gzip.compress(b"@read 1\r\nACGT\r\n+read 1\r\nIIII\r\n"), "FASTQ inside gzip"),
        (b"##fileformat=VCFv4.2\n", "VCF"),
        (b"##gff-version 3\n##FASTA\n>a\nMKV\n", "GFF"),
        (b"LOCUS       NP_000001  10 aa\n", "GenBank or GenPept"),
        (b"ID   P12345; SV 1;\n", "EMBL or UniProt text"),
        (b"# STOCKHOLM 1.0\na MK-V\n//\n", "a Stockholm alignment"),
        (b"CLUSTAL W (1.83)\n\na MK-V\n", "a Clustal alignment"),
        (b"#NEXUS\nBEGIN DATA;\n", "a NEXUS file"),
        (b" 5 42\na MKV\n", "a PHYLIP alignment"),
        (b">P1;CRAB_ANAPL\nALPHA CRYSTALLIN\n MKV*\n", "PIR (NBRF)"),
        (b"\n<!DOCTYPE html>\n<html>\n", "an HTML page"),
        (b"<?xml version='1.0'?>\n", "an XML file"),
        (b'{"error": "API rate limit exceeded"}\n', "a JSON file"),
        (b"version https://git-lfs.example/spec/v1\noid x\n", "a pointer of Git LFS"),
        (b"HEADER    HYDROLASE\n", "a PDB file"),
        (b"data_1ABC\n#\n", "an mmCIF file"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '|u1'}\n", "binary data"),
        (bytes(range(256)) * 10, "binary data"),
    ],
)
def test_files_of_other_formats_are_named(tmp_path, content, name):
    path = tmp_path / "x.faa"
    path.write_bytes(content)
    for options in ({}, {"skip_invalid": True}):
        with pytest.raises(WorkloadError, match=re.escape(f"cannot read {path}: it is {name}")):
            FastaFile.open(path, **options)


@pytest.mark.parametrize(
    "message",
    [
        b"Error: cannot get document summary\n",
        b"<ERROR>Empty id list - nothing todo</ERROR>\n",
        b"\nSupplied id parameter is empty.\n>a\nMKV\n",
        b"+Error%3A+CEFetchPApplication%3A%3Aproxy_stream()\n",
        b"502 Bad Gateway\n",
    ],
)
def test_the_error_message_of_a_server_is_shown(tmp_path, message):
    path = tmp_path / "x.faa"
    path.write_bytes(message)
    with pytest.raises(WorkloadError, match="begins with an error message") as caught:
        FastaFile.open(path)
    assert message.strip().splitlines()[0].decode() in str(caught.value)


def test_records_behind_the_error_message_can_be_kept(tmp_path):
    path = tmp_path / "x.faa"
    path.write_bytes(b"Error: try again\n>a\nMKV\n")
    fasta = FastaFile.open(path, skip_invalid=True)
    assert (len(fasta), fasta.skipped) == (1, 1)


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        b"\xef\xbb\xbf" + TEXT,
        b"# a note\n" + TEXT,
        b"\n\n" + TEXT,
        b">5 42\nMKV\n",
        b">Error\nMKV\n",
        b">data_x\nMK\n",
    ],
)
def test_fasta_is_none_of_them(tmp_path, content):
    path = tmp_path / "x.faa"
    path.write_bytes(content)
    assert len(FastaFile.open(path)) >= 1
