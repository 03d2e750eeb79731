# SPDX-License-Identifier: MIT
"""The indexes of a finished job, which make lookups fast and can be made again at any time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import numpy as np

from virnuc_profiler.embed.formats.select_format import make_format
from virnuc_profiler.embed.id_index import IdIndex
from virnuc_profiler.embed.job import EmbedJob
from virnuc_profiler.embed.manifest.manifest_files import read_manifests
from virnuc_profiler.embed.vector_index import INDEX_FILE, VectorIndex
from virnuc_profiler.errors import OutputError

INDEX_FOLDER: Final = "index"


def build_indexes(folder: Path, job: EmbedJob) -> None:
    """Write the indexes of a finished job, unless they are there and fit its files.

    Args:
        folder: Folder of the job.
        job: The job.

    Raises:
        OutputError: They cannot be written, or a shard cannot be read.
        LibraryUnavailable: The package that reads the shards is missing.
    """
    there = folder / INDEX_FOLDER
    records = sorted(read_manifests(folder).values(), key=lambda record: record.start)
    vectors, ids = VectorIndex.load(there), IdIndex.load(there)
    fits = vectors is not None and all(vectors.places(number, record) for number, record in enumerate(records))
    if fits and ids is not None and len(ids) == job.num_sequences:
        return
    file_format = make_format(job.format)
    unfinished = folder / f".{INDEX_FOLDER}.unfinished-{os.getpid()}"
    try:
        ids = IdIndex.build(file_format.open(folder / record.files[0].name).ids for record in records)
        arrays = {**ids.arrays(), INDEX_FILE.removesuffix(".npy"): VectorIndex.build(folder, job, records).rows}
        unfinished.mkdir()
        for name, array in arrays.items():
            with (unfinished / f"{name}.npy").open("wb") as file:
                np.save(file, array)
                file.flush()
                os.fsync(file.fileno())
        shutil.rmtree(there, ignore_errors=True)
        unfinished.rename(there)
    except (OSError, ValueError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise OutputError(f"cannot write {there}: {reason}") from error
