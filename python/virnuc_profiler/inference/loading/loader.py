# SPDX-License-Identifier: MIT
"""Turn a dataset into packed batches: workers read and encode, the main process packs.

Packing is native code and takes microseconds per batch, so it needs no worker. A buffer in each worker would leave one
poorly filled last batch per worker; the single buffer here leaves one, which the flush emits.
"""

import multiprocessing
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from virnuc_profiler.capture.start_up.preparation import preparing
from virnuc_profiler.errors import DeadlineExceeded, WorkerCrash, WorkloadError
from virnuc_profiler.inference.argument_checks import MAX_INT32, checked_integer
from virnuc_profiler.inference.batches import EncodedChunk, PackedBatch
from virnuc_profiler.inference.loading.environment import environment_failure
from virnuc_profiler.inference.loading.forkserver import start_forkserver
from virnuc_profiler.inference.loading.interrupts import deferred_interrupts
from virnuc_profiler.inference.loading.owner_tag import owner_tag
from virnuc_profiler.inference.loading.worker import GuardedDataset, WorkerFailure, guarded, prepare_worker, unchanged
from virnuc_profiler.inference.loading.worker_processes import (
    dead_worker,
    end_workers,
    watch_workers,
    worker_processes,
)
from virnuc_profiler.inference.packing.collator import VarlenCollator
from virnuc_profiler.inference.packing.sequence_items import is_single_item
from virnuc_profiler.telemetry.parts.start_up_records import STARTING_LOADER

_PRELOADED = ["virnuc_profiler.inference.loading.worker"]


class AsyncDataLoader:
    """An iterable of `PackedBatch`; each iteration is a new pass over the dataset, flush included.

    `create_async_dataloader` makes it. A new pass ends the one before it, and leaving a loop early ends the workers
    too.

    Attributes:
        collator: The `VarlenCollator` that packs.
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
        self._chunks: Any = None  # torch's iterator of the running pass
        self._set_up_collator()

    @property
    def num_workers(self) -> int:
        """Number of worker processes of a pass; 0 if this process reads the dataset."""
        return self._loader.num_workers

    @property
    def token_budget(self) -> int:
        """Token budget in force."""
        return self.collator.max_tokens_per_batch

    def __iter__(self) -> Iterator[PackedBatch]:
        """Iterate over the batches of one pass.

        Raises:
            WorkerCrash: A worker raised or died.
            EnvironmentFailure: The machine lacks what workers need, such as processes or shared memory.
            DeadlineExceeded: No worker sent anything for ``timeout_s``.
            WorkloadError: The dataset raised it, here or in a worker, because a file cannot be read or was changed.
            TypeError: An item of the dataset is neither encoded nor in a form that `VarlenCollator` accepts.
            RuntimeError: `close` or a newer pass ended this one.
        """
        return self._passes(None)

    def passes(self, another: Callable[[], bool]) -> Iterator[PackedBatch]:
        """Iterate over the batches of consecutive passes, each of which has the batches of a single pass.

        The workers live on from pass to pass and read ahead, so a pass begins as soon as the one before it is packed.
        Only a dataset that cannot be repeated, which is one without `IndexBasedDataset.repeated`, gets new workers for
        each pass. The collator's counters are those of the current pass. What goes wrong in any of them raises the
        error that it raises in a single pass.

        Args:
            another: Function that is called when the last batch of a pass was consumed, and returns whether another
                pass follows.
        """
        return self._passes(another)

    def _passes(self, another: Callable[[], bool] | None) -> Iterator[PackedBatch]:
        """Iterate over one pass, or over several of them until `another` says that none follows."""
        self.close()
        self._set_up_collator()
        items_of_pass = None if another is None else self._items_of_pass()
        chunks = None
        try:
            while True:
                self.collator.reset()
                if chunks is None:
                    # Ctrl-C between start and assignment would orphan the workers.
                    with deferred_interrupts() if self.num_workers else nullcontext(), preparing(STARTING_LOADER):
                        chunks = self._chunks = self._start(repeated=items_of_pass is not None)
                for batch in self._batches(chunks, items_of_pass):
                    yield batch
                    if chunks is not self._chunks:
                        raise RuntimeError("this pass was ended by close() or by a newer pass over the same loader")
                if another is None or not another():
                    return
                if items_of_pass is None:
                    end_workers(chunks)
                    chunks = None
        finally:
            end_workers(chunks)
            if self._chunks is chunks:
                self._chunks = None

    def worker_pids(self) -> list[int]:
        """Return the process ids of the running pass's workers; empty before the first batch and after the last."""
        return [worker.pid for worker in worker_processes(self._chunks) if worker.pid is not None]

    def close(self) -> None:
        """End the workers, if any run: ask, terminate, kill and wait, at most 6 s in total.

        Never raises, also if called again or with dead workers. The next iteration is a new pass.
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
        """Set the collator's options, because it may have served another loader in the meantime."""
        if self._token_budget is not None:
            self.collator.max_tokens_per_batch = self._token_budget
        self.collator.pin_memory = self._pin_memory
        self.collator.resolve_ids = self._resolve_ids

    def _items_of_pass(self) -> int | None:
        """Return how many items of the dataset make a pass, if workers can read one pass after the other."""
        dataset = self._loader.dataset
        return dataset.chunks_per_pass(self.num_workers) if isinstance(dataset, GuardedDataset) else None

    def _start(self, *, repeated: bool) -> Any:
        """Start the workers, and return torch's iterator over what they read.

        Args:
            repeated: Whether they read one pass after the other, without end.
        """
        if isinstance(self._loader.dataset, GuardedDataset):
            self._loader.dataset.repeated = repeated  # workers get a copy when they start
        with _more_workers_than_cores_allowed():
            if not self.num_workers:
                return iter(self._loader)
            # This has an effect until the process's first forkserver starts; without it, workers just start slower.
            multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOADED)
            try:
                start_forkserver()
                chunks = iter(self._loader)
            except (OSError, EOFError, RuntimeError) as error:
                failure = environment_failure(error, self.num_workers)
                if failure is None:
                    raise
                raise failure from error
        watch_workers(chunks)
        return chunks

    def _batches(self, chunks: Any, items: int | None) -> Iterator[PackedBatch]:
        """Yield the batches of one pass, which has a number of items, or ends with them."""
        for _ in count() if items is None else range(items):
            if (chunk := self._next_chunk(chunks)) is None:
                break
            single = not isinstance(chunk, EncodedChunk) and is_single_item(chunk)
            yield from self.collator.packs([chunk] if single else chunk)
        yield from self.collator.remaining_packs()

    def _next_chunk(self, chunks: Any) -> Any:
        """Return the next item of the dataset; None at the end."""
        if not self.num_workers:
            return next(chunks, None)
        try:
            item = next(chunks, None)
        except Exception as error:
            raise self._explain(chunks, error) from error
        if isinstance(item, WorkerFailure):
            cause = MemoryError(item.message) if item.kind == "MemoryError" else RuntimeError(item.trace)
            if item.kind == WorkloadError.__name__:
                raise WorkloadError(item.message) from cause
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
    """Suppress torch's warning about more workers than cores: a sweep may measure just that."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
        yield


def create_async_dataloader(
    dataset: Dataset[Any],
    collate_fn: VarlenCollator,
    *,
    num_workers: int = 4,
    prefetch_factor: int = 4,
    pin_memory: bool = True,
    batch_size: int | None = None,
    token_budget: int | None = None,
    timeout_s: float = 0.0,
    keys: Iterable[Any] | None = None,
) -> AsyncDataLoader:
    """Create a loader whose workers read and encode while the main process packs.

    Workers are forked from a forkserver and never touch CUDA, so CUDA may be in use already.

    Args:
        dataset: A `SequenceDataset` or `IndexBasedDataset`, or a torch dataset of (id, sequence) pairs or
            ``{"id": ..., "sequence": ...}`` mappings, or of lists of them. An iterable dataset must split itself among
            workers (``torch.utils.data.get_worker_info``).
        collate_fn: Collator that packs; it is reset at the start of each pass.
        num_workers: Number of worker processes; 0 reads in this process.
        prefetch_factor: Number of chunks that each worker keeps ready; no effect without workers.
        pin_memory: Whether batches lie in pinned (page-locked) memory; no effect without CUDA.
        batch_size: Must be None, because packing decides what a batch contains.
        token_budget: New ``max_tokens_per_batch`` of the collator; None keeps the collator's own.
        timeout_s: Longest wait in seconds for the workers' next chunk, worker start included; 0 waits without limit.
        keys: Keys of the items to read, for a dataset with ``__getitem__``; None for all items in their order. A new
            pass starts a new iteration, in this process, which goes only as far ahead as the workers read.

    Raises:
        ValueError: An argument is out of range.
        TypeError: `collate_fn` is not a `VarlenCollator`, or a number is not an integer.
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
        token_budget = checked_integer("token_budget", token_budget, 1, MAX_INT32)
    if not timeout_s >= 0:
        raise ValueError(f"timeout_s is {timeout_s}, must be at least 0 (0: no limit)")
    resolve_ids = getattr(dataset, "sequence_ids", None)
    parallel: dict[str, Any] = {}
    if workers:
        parallel = {
            "prefetch_factor": prefetch,
            "multiprocessing_context": "forkserver",
            "worker_init_fn": partial(prepare_worker, owner_tag()),
            "timeout": timeout_s,
        }
        dataset = guarded(dataset)
    with _more_workers_than_cores_allowed():
        loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_size=None,
            num_workers=workers,
            sampler=keys,
            collate_fn=unchanged,
            generator=torch.Generator(),  # its own, so that the caller's random state does not change
            **parallel,
        )
    pinned = bool(pin_memory) and torch.cuda.is_available()
    return AsyncDataLoader(loader, collate_fn, token_budget=token_budget, pin_memory=pinned, resolve_ids=resolve_ids)
