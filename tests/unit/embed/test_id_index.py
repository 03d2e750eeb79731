import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from virnuc_profiler.embed.formats.shard_table import IdColumn
from virnuc_profiler.embed.id_index import IdIndex


def column(names):
    texts = [name.encode() for name in names]
    ends = np.cumsum([0, *map(len, texts)]).astype(np.int32)
    return IdColumn(np.frombuffer(b"".join(texts), dtype=np.uint8), ends)


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8"), max_size=6), max_size=12), max_size=4))
def test_every_identifier_finds_all_its_rows(parts):
    names = [name for part in parts for name in part]
    index = IdIndex.build(column(part) for part in parts)
    assert len(index) == len(names)
    for name in {*names, "x", ""}:
        assert index.rows_of(name).tolist() == [row for row, other in enumerate(names) if other == name]
    assert [index.id_of(row) for row in range(len(names))] == names


def test_the_index_is_mapped_from_its_files(tmp_path):
    assert IdIndex.load(tmp_path) is None
    for name, array in IdIndex.build([column(["b", "a"]), column(["b"])]).arrays().items():
        np.save(tmp_path / f"{name}.npy", array)
    index = IdIndex.load(tmp_path)
    assert isinstance(index.text, np.memmap)
    assert index.rows_of("b").tolist() == [0, 2]


def test_equal_hashes_do_no_harm():
    index = IdIndex.build([column(["a", "b"])])
    same = IdIndex(index.text, index.offsets, np.full(2, index.hashes[0]), np.array([0, 1]))
    name = index.id_of(int(index.rows[0]))
    assert same.rows_of(name).tolist() == [int(index.rows[0])]
