# SPDX-License-Identifier: MIT
"""What runs in DataLoader workers. The forkserver preloads it, so that a worker starts in milliseconds.

Nothing here, nor what it imports, touches CUDA.
"""

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np  # noqa: F401  preloaded for the workers
import torch
from torch.utils.data import Dataset, IterableDataset

import virnuc_profiler.inference.dataset  # noqa: F401  preloaded for the workers
from virnuc_profiler.inference.segment_names import mark_segments


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


def prepare_worker(owner: str, _worker_id: int) -> None:
    """Prepare a worker before it does anything else.

    Args:
        owner: The mark of the main process, which the worker's shared memory segments carry too.
    """
    mark_segments(owner)
    torch.set_num_threads(1)
    # Ctrl-C reaches the whole process group; the main process is the one that ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_main_process, name="main-process-watch", daemon=True).start()


def _end_with_main_process() -> None:
    # Torch watches the parent, which is the forkserver here; and that one lives as long as any worker does.
    # So a main process that is killed would leave them all behind.
    main_process = multiprocessing.parent_process()
    if main_process is not None:
        main_process.join()
        os._exit(1)


def unchanged(item: Any) -> Any:
    """Collation happens in the main process."""
    return item
