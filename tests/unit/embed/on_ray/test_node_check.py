# SPDX-License-Identifier: MIT
"""Whether a node sees the files of a job: each reason why it does not, in a sentence."""

from dataclasses import replace

import pytest

from virnuc_profiler.embed.on_ray import node_check
from virnuc_profiler.embed.on_ray.node_check import node_probe, node_problem


@pytest.fixture
def probe(tmp_path, monkeypatch):
    monkeypatch.setattr(node_check, "PATIENCE_S", 0.0)
    fasta = tmp_path / "a.faa"
    fasta.write_text(">a\nACD\n")
    with node_probe(tmp_path / "out", fasta) as probe:
        yield probe


def test_a_node_that_sees_everything_has_no_problem(probe):
    assert node_problem(probe) is None
    assert probe.file.is_file()


def test_the_probe_is_removed_at_the_end(tmp_path):
    (tmp_path / "a.faa").touch()
    with node_probe(tmp_path, tmp_path / "a.faa") as probe:
        pass
    assert not probe.file.exists()


def test_a_node_with_a_folder_of_its_own_is_found(probe, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    problem = node_problem(replace(probe, folder=tmp_path / "elsewhere"))
    assert f"does not see the files in {tmp_path / 'elsewhere'}: --output-dir and --fasta must be on" in problem


def test_a_node_with_another_file_or_none_is_found(probe):
    probe.fasta.write_text(">a\nAC\n")
    assert f"sees another file as {probe.fasta}" in node_problem(probe)
    probe.fasta.unlink()
    assert f"cannot read {probe.fasta} (No such file or directory)" in node_problem(probe)


def test_a_node_with_another_version_is_found(probe):
    assert ", not 0.0.1: install the same version on every node" in node_problem(replace(probe, version="0.0.1"))


def test_a_node_that_cannot_write_is_found(probe, monkeypatch):
    def refuse(**options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(node_check.tempfile, "TemporaryFile", refuse)
    assert f"cannot write into {probe.folder}: Read-only file system" in node_problem(probe)
