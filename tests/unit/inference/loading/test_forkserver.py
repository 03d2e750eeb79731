# SPDX-License-Identifier: MIT
"""Workers start whatever TMPDIR is, and the folder of their sockets is removed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from virnuc_profiler.errors import EnvironmentFailure
from virnuc_profiler.inference.loading import forkserver
from virnuc_profiler.inference.loading.forkserver import forkserver_end, make_socket_folder

PROGRAM = """
import json, sys, tempfile
from multiprocessing.process import current_process
from virnuc_profiler import SequenceDataset, VarlenCollator, create_async_dataloader

if __name__ == "__main__":
    dataset = SequenceDataset(sys.argv[1], chunk_sequences=5)
    loader = create_async_dataloader(dataset, VarlenCollator(max_tokens_per_batch=512), num_workers=2)
    count = sum(len(batch.sequence_ids) for batch in loader)
    print(json.dumps([count, current_process()._config["tempdir"], tempfile.gettempdir()]))
"""


@pytest.mark.parametrize("length", [0, 60, 100])
def test_workers_start_whatever_the_length_of_tmpdir_is(tmp_path, length):
    program, sequences, temporary = tmp_path / "program.py", tmp_path / "s.fasta", tmp_path / ("x" * length)
    program.write_text(PROGRAM)
    sequences.write_text("".join(f">s{number}\nMKV\n" for number in range(20)))
    temporary.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, program, sequences], capture_output=True, text=True, check=False,
        env={**os.environ, "TMPDIR": str(temporary)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    count, sockets, used = json.loads(done.stdout)
    assert count == 20
    assert used == str(temporary)
    assert len(sockets) + len("/listener-12345678") <= 107
    assert not Path(sockets).exists()


def test_without_any_folder_for_sockets_the_way_out_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(forkserver.tempfile, "gettempdir", lambda: str(tmp_path / ("x" * 100)))
    monkeypatch.setattr(forkserver, "_SHORT_FOLDERS", ("/no-such-folder/absent",))
    with pytest.raises(EnvironmentFailure, match=r"xxx is too long; .*absent: No such file.*set TMPDIR to a writable"):
        make_socket_folder()


def test_a_forkserver_that_has_ended_is_told_from_other_errors(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert forkserver_end(OSError("no")) is None
    assert "its own output says why" in forkserver_end(EOFError("unexpected EOF"))
    (tmp_path / "socket.py").touch()
    assert f"{tmp_path / 'socket.py'} hides Python's own module" in forkserver_end(ConnectionRefusedError())
