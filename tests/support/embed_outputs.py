# SPDX-License-Identifier: MIT
"""What an embed job has written, read from its files alone."""

import numpy as np
from safetensors.numpy import load_file

from virnuc_profiler.telemetry.checked_lines import decode_lines


def vectors_of(folder):
    """Return the vectors of a job in the order of the file; every position must be there exactly once."""
    tables = [load_file(path) for path in sorted((folder / "vectors").glob("shard_*"))]
    positions = np.concatenate([table["positions"] for table in tables])
    assert sorted(positions.tolist()) == list(range(len(positions)))
    return np.concatenate([table["vectors"] for table in tables])[np.argsort(positions)]


def finished_shards(folder):
    """Return the number of each shard as often as a manifest of some rank has it."""
    return sorted(shard for shards in shards_by_rank(folder).values() for shard in shards)


def shards_by_rank(folder):
    """Return the shards that each rank has finished, by the name of its manifest."""
    paths = sorted((folder / "manifest").glob("rank_*.jsonl"))
    return {path.stem: [entry["shard"] for _, entry in decode_lines(path.read_bytes()).entries] for path in paths}
