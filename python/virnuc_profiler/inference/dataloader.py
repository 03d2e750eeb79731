# SPDX-License-Identifier: MIT
"""From a dataset to packed batches: workers read and encode, the main process packs.

Packing is native and takes microseconds a batch, so it needs no worker; and a buffer in each worker would
leave one poorly filled rest for each of them, while the one buffer here leaves a single rest, which the flush
brings out.
"""

import multiprocessing
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from virnuc_profiler.errors import DeadlineExceeded, WorkerCrash
from virnuc_profiler.inference.arguments import LARGEST_INT32, checked_integer
from virnuc_profiler.inference.batches import EncodedChunk, PackedBatch
from virnuc_profiler.inference.collator import VarlenCollator
from virnuc_profiler.inference.interrupts import deferred_interrupts, start_forkserver
from virnuc_profiler.inference.process_mark import own_mark
from virnuc_profiler.inference.worker import WorkerFailure, guarded, prepare_worker, unchanged
from virnuc_profiler.inference.worker_processes import (
    dead_worker,
    end_workers,
    watch_workers,
    worker_processes,
)

_PRELOADED = ["virnuc_profiler.inference.worker"]


class AsyncDataLoader:
    """An iterable of `PackedBatch`: each iteration is a fresh pass over the dataset, flush included.

    Made by `create_async_dataloader`. A pass that is begun ends the one before it; leaving a loop early ends
    the workers too.
    """

    def __init__(
        self,
        loader: "DataLoader[Any]",
        collator: VarlenCollator,
        *,
        token_budget: int | None,
        pin_memory: bool,
        resolve_ids: Callable[[NDArray[np.int64]], Sequence[str]] | None,
    ) -> None:
        self.collator = collator
        self._loader = loader
        self._token_budget = token_budget
        self._pin_memory = pin_memory
        self._resolve_ids = resolve_ids
        self._chunks: Any = None  # torch's iterator of the pass that runs
        self._set_up_collator()

    @property
    def num_workers(self) -> int:
        """Worker processes of a pass; 0 if the dataset is read in this process."""
        return self._loader.num_workers

    @property
    def token_budget(self) -> int:
        """The budget in force."""
        return self.collator.max_tokens_per_batch

    def __iter__(self) -> Iterator[PackedBatch]:
        """One pass.

        Raises:
            WorkerCrash: a worker raised or died.
            DeadlineExceeded: no worker sent anything for ``timeout_s``.
            WorkloadError: with ``num_workers=0``, whatever the dataset raises itself.
            RuntimeError: this pass was ended by `close` or by a newer one.
        """
        self.close()
        self._set_up_collator()
        self.collator.reset()
        with deferred_interrupts():  # Ctrl-C before the assignment would orphan the workers
            chunks = self._chunks = self._start()
        try:
            for batch in self._batches(chunks):
                yield batch
                if chunks is not self._chunks:
                    raise RuntimeError("this pass was ended by close() or by a newer pass over the same loader")
        finally:
            end_workers(chunks)
            if self._chunks is chunks:
                self._chunks = None

    def worker_pids(self) -> list[int]:
        """Process ids of the running pass's workers; empty before the first batch and after the last."""
        return [worker.pid for worker in worker_processes(self._chunks) if worker.pid is not None]

    def close(self) -> None:
        """Ends the workers, if any run: asks, terminates, kills, and waits for each, 6 s in all at most.

        May be called again, and with dead workers; never raises. The next iteration is a fresh pass.
        """
        chunks, self._chunks = self._chunks, None
        end_workers(chunks)

    def __enter__(self) -> "AsyncDataLoader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _set_up_collator(self) -> None:
        """The collator may have served another loader since."""
        if self._token_budget is not None:
            self.collator.max_tokens_per_batch = self._token_budget
        self.collator.pin_memory = self._pin_memory
        self.collator.resolve_ids = self._resolve_ids

    def _start(self) -> Any:
        if self.num_workers:
            # In effect until the process's first forkserver starts; later workers merely start slower without
            # it.
            multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOADED)
            start_forkserver()
        with _more_workers_than_cores_allowed():
            chunks = iter(self._loader)
        if self.num_workers:
            watch_workers(chunks)
        return chunks

    def _batches(self, chunks: Any) -> Iterator[PackedBatch]:
        while (chunk := self._next_chunk(chunks)) is not None:
            yield from self.collator.packs(chunk if _is_collection(chunk) else [chunk])
        yield from self.collator.remaining_packs()

    def _next_chunk(self, chunks: Any) -> Any:
        """The next item, None at the end."""
        if not self.num_workers:
            return next(chunks, None)
        try:
            item = next(chunks, None)
        except Exception as error:
            raise self._explain(chunks, error) from error
        if isinstance(item, WorkerFailure):
            cause = MemoryError(item.message) if item.kind == "MemoryError" else RuntimeError(item.trace)
            message = f"a DataLoader worker raised {item.kind}: {item.message}"
            raise WorkerCrash(message, exception=item.kind) from cause
        return item

    def _explain(self, chunks: Any, error: Exception) -> Exception:
        dead = dead_worker(chunks)
        if dead is not None:
            return WorkerCrash(f"DataLoader {dead}", worker=dead.number, pid=dead.pid, exit_code=dead.exit_code)
        if "timed out" in str(error):
            return DeadlineExceeded(f"no DataLoader worker sent anything for {self._loader.timeout:g} s (timeout_s)")
        return WorkerCrash(f"the DataLoader failed: {error}")


@contextmanager
def _more_workers_than_cores_allowed() -> Iterator[None]:
    """Keeps torch from warning of them: they may be just what a sweep wants to measure."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
        yield


def _is_collection(item: Any) -> bool:
    """Whether an item of the dataset holds sequences, or is one itself."""
    if isinstance(item, EncodedChunk):
        return True
    is_pair = isinstance(item, tuple) and len(item) == 2 and all(isinstance(part, str) for part in item)
    return not (is_pair or isinstance(item, Mapping))


def create_async_dataloader(
    dataset: Dataset[Any],
    collate_fn: VarlenCollator,
    num_workers: int = 4,
    prefetch_factor: int = 4,
    pin_memory: bool = True,
    batch_size: int | None = None,
    token_budget: int | None = None,
    timeout_s: float = 0.0,
) -> AsyncDataLoader:
    """A loader whose workers read and encode while the main process packs.

    Workers come from a forkserver and never touch CUDA, so it may be in use already.

    Args:
        dataset: a `SequenceDataset` or `IndexBasedDataset`, or any torch dataset of (id, sequence) pairs or
            ``{"id", "sequence"}`` mappings (an iterable one must share itself out among workers).
        collate_fn: packs; it is reset at the start of each pass.
        num_workers: worker processes; 0 reads in this process.
        prefetch_factor: chunks that each worker keeps ready; without workers it has no effect.
        pin_memory: whether batches lie in page-locked memory; without CUDA it has no effect.
        batch_size: must be None: packing decides what a batch holds.
        token_budget: sets the collator's ``max_tokens_per_batch``, so that there is one budget; None leaves
            it.
        timeout_s: longest wait for the workers' next chunk, their start included; 0 waits for ever.

    Raises:
        ValueError: an argument is out of range.
        TypeError: `collate_fn` is no `VarlenCollator`.
    """
    if batch_size is not None:
        raise ValueError(
            f"batch_size is {batch_size}, must be None: packing fills batches up to the token budget, "
            "so set token_budget instead"
        )
    if not isinstance(collate_fn, VarlenCollator):
        raise TypeError(f"collate_fn is a {type(collate_fn).__name__}, must be a VarlenCollator")
    workers = checked_integer("num_workers", num_workers, 0)
    prefetch = checked_integer("prefetch_factor", prefetch_factor, 1)
    if token_budget is not None:
        token_budget = checked_integer("token_budget", token_budget, 1, LARGEST_INT32)
    if not timeout_s >= 0:
        raise ValueError(f"timeout_s is {timeout_s}, must be at least 0 (0: no limit)")
    resolve_ids = getattr(dataset, "sequence_ids", None)
    parallel: dict[str, Any] = {}
    if workers:
        parallel = {
            "prefetch_factor": prefetch,
            "multiprocessing_context": "forkserver",
            "worker_init_fn": partial(prepare_worker, own_mark()),
            "timeout": timeout_s,
        }
        dataset = guarded(dataset)
    with _more_workers_than_cores_allowed():
        loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_size=None,
            num_workers=workers,
            collate_fn=unchanged,
            generator=torch.Generator(),  # its own: the caller's random numbers stay as they were
            **parallel,
        )
    pinned = bool(pin_memory) and torch.cuda.is_available()
    return AsyncDataLoader(loader, collate_fn, token_budget=token_budget, pin_memory=pinned, resolve_ids=resolve_ids)
