import dataclasses
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import safetensors.numpy

from virnuc_profiler.embed.formats import optional_packages, parquet_shards
from virnuc_profiler.embed.formats.select_format import make_format
from virnuc_profiler.embed.formats.shard_table import IdColumn, ShardTable, read_ids
from virnuc_profiler.embed.streaming.checked_file import checked_file
from virnuc_profiler.errors import LibraryUnavailable
from virnuc_profiler.inference.sequences.fasta import FastaFile

ROWS, HIDDEN_SIZE = 700, 24


def table(dtype=np.float32):
    names = [f"id_{number}_é" for number in range(ROWS)]
    texts = [name.encode() for name in names]
    ids = IdColumn(np.frombuffer(b"".join(texts), dtype=np.uint8), np.cumsum([0, *map(len, texts)]).astype(np.int32))
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 2000, ROWS).astype(np.int32)
    vectors = rng.standard_normal((ROWS, HIDDEN_SIZE)).astype(dtype)
    return ShardTable(50, ids, lengths, lengths > 1022, vectors)


def write(path, form, shard):
    with checked_file(path, "0") as file:
        make_format(form, {"model": "m"}).write(shard, file)
    return make_format(form).open(path)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("form", ["parquet", "safetensors"])
def test_what_was_written_is_read(tmp_path, form, dtype, monkeypatch):
    monkeypatch.setattr(parquet_shards, "ROW_GROUP_BYTES", 200 * HIDDEN_SIZE * np.dtype(dtype).itemsize)
    shard = table(dtype)
    view = write(tmp_path / "a", form, shard)
    assert view.positions.tolist() == list(range(50, 50 + ROWS))
    assert view.lengths.tolist() == shard.lengths.tolist()
    assert view.truncated.tolist() == shard.truncated.tolist()
    assert view.ids.text.tobytes() == shard.ids.text.tobytes()
    assert view.ids.offsets.tolist() == shard.ids.offsets.tolist()
    assert len(view.vectors) == ROWS
    out = np.empty((ROWS, HIDDEN_SIZE), dtype)
    view.vectors.read(0, ROWS, out)
    np.testing.assert_array_equal(out, shard.vectors)
    rows = np.array([699, 0, 201, 200, 199, 0])
    view.vectors.take(rows, out[:6])
    np.testing.assert_array_equal(out[:6], shard.vectors[rows])
    part = np.empty((205, HIDDEN_SIZE), dtype)
    view.vectors.read(198, 403, part)
    np.testing.assert_array_equal(part, shard.vectors[198:403])


def test_parquet_as_others_read_it(tmp_path):
    shard = table()
    write(tmp_path / "a", "parquet", shard)
    found = pyarrow.parquet.read_table(tmp_path / "a")
    assert found.column_names == ["id", "position", "length", "truncated", "vector"]
    assert found["id"][3].as_py() == "id_3_é"
    assert str(found.schema.field("vector").type).startswith(f"fixed_size_list<element: float not null>[{HIDDEN_SIZE}]")
    assert json.loads(found.schema.metadata[b"virnuc_profiler"]) == {"model": "m"}
    np.testing.assert_array_equal(np.stack(found["vector"].to_numpy(zero_copy_only=False)), shard.vectors)


def test_vectors_are_views_of_the_mapped_file(tmp_path):
    view = write(tmp_path / "a", "parquet", table())
    pages = view.vectors._pages
    assert all(page.base is not None and not page.flags.owndata for page in pages)
    assert sum(map(len, pages)) == ROWS


def test_parquet_that_another_program_wrote_again_is_read_too(tmp_path):
    shard = table()
    write(tmp_path / "a", "parquet", shard)
    columns = ["vector", "id", "position", "truncated", "length"]
    found = pyarrow.parquet.read_table(tmp_path / "a", columns=columns)
    for compression in ("zstd", "none"):
        pyarrow.parquet.write_table(found, tmp_path / "b", compression=compression, use_dictionary=False)
        view = make_format("parquet").open(tmp_path / "b")
        out = np.empty((ROWS, HIDDEN_SIZE), np.float32)
        view.vectors.read(0, ROWS, out)
        np.testing.assert_array_equal(out, shard.vectors)


def test_safetensors_as_the_library_reads_it(tmp_path):
    shard = table()
    write(tmp_path / "a", "safetensors", shard)
    found = safetensors.numpy.load_file(tmp_path / "a")
    np.testing.assert_array_equal(found["vectors"], shard.vectors)
    assert found["positions"].tolist() == list(range(50, 50 + ROWS))


@pytest.mark.parametrize("form", ["parquet", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"no such file at all", b"\xff" * 64])
def test_a_file_of_something_else_is_refused(tmp_path, form, content):
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises((ValueError, OSError)):
        make_format(form).open(path)


def test_a_missing_package_is_said_with_the_way_out(monkeypatch):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(optional_packages, "import_module", missing)
    with pytest.raises(LibraryUnavailable, match=r"Parquet files need pyarrow.*pip install 'virnuc_profiler\[embed\]'"):
        make_format("parquet")


def test_identifiers_are_those_of_the_dataset(tmp_path):
    path = Path(tmp_path / "a.fa")
    path.write_bytes(">ascii one\nACD\n>é two\nACDE\n>\xff three\nAC\n>last\nACDEF\n".encode("latin-1"))
    fasta = FastaFile.open(path)
    for start, stop in ((0, 4), (0, 1), (1, 3), (3, 4)):
        column = read_ids(fasta, start, stop)
        text, ends = column.text.tobytes(), column.offsets
        found = [text[first:last].decode() for first, last in pairwise(ends)]
        assert found == list(fasta.sequence_ids(np.arange(start, stop)))


def test_positions_follow_the_start():
    assert dataclasses.replace(table(), start=7).positions[:2].tolist() == [7, 8]
