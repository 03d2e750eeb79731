import resource
import signal
import zlib

import pytest

from virnuc_profiler.embed.streaming.checked_file import checked_file
from virnuc_profiler.errors import OutputError


def test_size_and_checksum_are_those_of_the_file(tmp_path):
    path = tmp_path / "new" / "a"
    with checked_file(path, "0") as file:
        file.write(b"some ")
        file.write(memoryview(b"bytes"))
        assert not path.exists()
        assert file.tell() == 10
    assert path.read_bytes() == b"some bytes"
    assert (file.bytes, file.crc32) == (10, zlib.crc32(b"some bytes"))
    assert [one.name for one in path.parent.iterdir()] == ["a"]


def test_a_failure_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"earlier")
    with pytest.raises(TypeError), checked_file(path, "0") as file:
        file.write("half")
    assert path.read_bytes() == b"earlier"
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


def test_a_file_that_the_system_refuses_is_named_and_nothing_is_left(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with (
            pytest.raises(OutputError, match=r"cannot write .*a: File too large"),
            checked_file(tmp_path / "a", "0") as file,
        ):
            file.write(bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []
