# SPDX-License-Identifier: MIT
"""What runs in DataLoader workers. The forkserver preloads it, so that a worker starts in milliseconds.

Nothing here, nor what it imports, touches CUDA.
"""

import signal
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np  # noqa: F401  preloaded for the workers
import torch
from torch.utils.data import Dataset, IterableDataset

import virnuc_profiler.inference.dataset  # noqa: F401  preloaded for the workers


@dataclass(frozen=True, slots=True)
class WorkerFailure:
    """An exception of a worker as a message, since not every exception can be pickled and raised again.

    Attributes:
        kind: the exception's class.
        message: its text.
        trace: its traceback, printed.
    """

    kind: str
    message: str
    trace: str


class GuardedDataset(IterableDataset[Any]):
    """A dataset whose exceptions arrive as a last item, a `WorkerFailure`."""

    def __init__(self, dataset: IterableDataset[Any]) -> None:
        super().__init__()
        self._dataset = dataset

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._dataset
        except Exception as error:
            yield WorkerFailure(type(error).__name__, str(error), traceback.format_exc())


def guarded(dataset: Dataset[Any]) -> Dataset[Any]:
    """`dataset`, with its exceptions as items where it is an iterable one."""
    return GuardedDataset(dataset) if isinstance(dataset, IterableDataset) else dataset


def prepare_worker(_worker_id: int) -> None:
    """Runs first in each worker."""
    torch.set_num_threads(1)
    # Ctrl-C reaches the whole process group; the main process is the one that ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def unchanged(item: Any) -> Any:
    """Collation happens in the main process."""
    return item
