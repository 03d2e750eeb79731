# SPDX-License-Identifier: MIT
"""Find and end the workers of any loader, those of a plain PyTorch ``DataLoader`` too."""

from __future__ import annotations

import gc
from typing import Any

from torch.utils.data import DataLoader

from virnuc_profiler.inference.loading.worker_processes import end_workers, worker_processes


def loader_workers(loader: Any) -> list[int] | None:
    """Return the process ids of a loader's workers; None if the loader does not tell.

    Args:
        loader: A loader with ``worker_pids()``, a PyTorch ``DataLoader``, or anything else.
    """
    if hasattr(loader, "worker_pids"):
        return list(loader.worker_pids())
    if not isinstance(loader, DataLoader):
        return None
    return [
        worker.pid for each in _running_passes(loader) for worker in worker_processes(each) if worker.pid is not None
    ]


def end_loader_workers(loader: Any) -> None:
    """End the workers of a PyTorch ``DataLoader``, which has no ``close()``; a no-op for any other loader.

    A later pass over the loader starts new workers. Takes 6 s at most, see :func:`end_workers`.

    Args:
        loader: A PyTorch ``DataLoader``, or anything else.
    """
    if isinstance(loader, DataLoader):
        for each in _running_passes(loader):
            end_workers(each)
        loader._iterator = None


def _running_passes(loader: DataLoader[Any]) -> list[Any]:
    """Return the iterators of a loader that have workers.

    A loader knows its iterator only if its workers are persistent, so any other one is recognized by the sampler,
    which belongs to one loader.
    """
    if not loader.num_workers:
        return []
    if loader.persistent_workers:
        return [] if loader._iterator is None else [loader._iterator]
    return [
        each
        for each in gc.get_objects()
        if type(each).__name__ == "_MultiProcessingDataLoaderIter"
        and each._index_sampler is loader._index_sampler
        and each._dataset is loader.dataset
    ]
