# SPDX-License-Identifier: MIT
"""Code that runs in DataLoader workers. The forkserver preloads it, so that a worker starts in milliseconds.

Neither this module nor its imports touch CUDA.
"""

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np  # noqa: F401  preloaded for the workers
import torch
from torch.utils.data import Dataset, IterableDataset

import virnuc_profiler.inference.sequences.dataset  # noqa: F401  preloaded for the workers
from virnuc_profiler.inference.loading.owner_tag import tag_segments


@dataclass(frozen=True, slots=True)
class WorkerFailure:
    """A worker's exception as a message, because not every exception survives pickling.

    Attributes:
        kind: Class name of the exception.
        message: Text of the exception.
        trace: Formatted traceback.
    """

    kind: str
    message: str
    trace: str


class GuardedDataset(IterableDataset[Any]):
    """An iterable dataset that reports its exception as a last item, a `WorkerFailure`.

    Attributes:
        repeated: Whether workers that start from now on read one pass after the other, without end.
    """

    def __init__(self, dataset: IterableDataset[Any]) -> None:
        super().__init__()
        self._dataset = dataset
        self.repeated = False

    def chunks_per_pass(self, num_workers: int) -> int | None:
        """Return the number of items of one pass; None if the dataset cannot be repeated without end.

        Args:
            num_workers: Number of workers that share the dataset.
        """
        count: Callable[[int], int] | None = getattr(self._dataset, "chunks_per_pass", None)
        return None if count is None else count(num_workers)

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._dataset.repeated() if self.repeated else self._dataset  # type: ignore[attr-defined]
        except Exception as error:
            yield WorkerFailure(type(error).__name__, str(error), traceback.format_exc())


class GuardedItems(Dataset[Any]):
    """A dataset of items by key that returns its exception as an item, a `WorkerFailure`."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self._dataset = dataset

    def __getitem__(self, key: Any) -> Any:
        try:
            return self._dataset[key]
        except Exception as error:
            return WorkerFailure(type(error).__name__, str(error), traceback.format_exc())

    def __len__(self) -> int:
        return len(self._dataset)  # type: ignore[arg-type]


def guarded(dataset: Dataset[Any]) -> Dataset[Any]:
    """Return `dataset`, wrapped so that its exceptions reach the main process as they are."""
    return GuardedDataset(dataset) if isinstance(dataset, IterableDataset) else GuardedItems(dataset)


def prepare_worker(owner: str, _worker_id: int) -> None:
    """Set up a worker process; torch calls it before anything else runs there.

    Args:
        owner: Tag of the main process, which the worker's shared memory segments carry too.
        _worker_id: Number of the worker, from torch.
    """
    tag_segments(owner)
    torch.set_num_threads(1)
    # Ctrl-C reaches the whole process group; the main process ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_main_process, name="main-process-watch", daemon=True).start()


def _end_with_main_process() -> None:
    # Torch watches the parent process, but that is the forkserver, which lives as long as any worker does:
    # without this watch, a killed main process would leave all of them behind.
    main_process = multiprocessing.parent_process()
    if main_process is not None:
        main_process.join()
        os._exit(1)


def unchanged(item: Any) -> Any:
    """Return `item` as it is: packing happens in the main process."""
    return item
