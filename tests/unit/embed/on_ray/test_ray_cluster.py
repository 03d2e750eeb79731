# SPDX-License-Identifier: MIT
"""What is said before Ray is used at all."""

import sys

import pytest

from virnuc_profiler.embed.on_ray.ray_cluster import _connect, ray_cluster
from virnuc_profiler.errors import EnvironmentFailure, LibraryUnavailable, UsageError


def test_where_ray_is_missing_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(LibraryUnavailable, match=r"embed --engine ray .*: pip install 'virnuc_profiler\[ray\]'$"):
        ray_cluster(None).__enter__()


def test_the_address_of_a_client_is_refused():
    with pytest.raises(UsageError, match="--ray-address ray://head:10001 is that of a Ray client"):
        ray_cluster("ray://head:10001").__enter__()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "127.0.0.1:99999999"])
def test_an_address_where_nothing_listens_is_one_sentence_at_once(address, monkeypatch):
    with pytest.raises(EnvironmentFailure, match=f"^no Ray cluster answers at {address} .*--ray-address local start"):
        _connect(None, address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(EnvironmentFailure, match=f"^no Ray cluster answers at {address} "):
        _connect(None, None)
