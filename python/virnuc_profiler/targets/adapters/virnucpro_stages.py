# SPDX-License-Identifier: MIT
"""Subclasses of virnucpro's runner and collator that mark where a batch is, and otherwise only call their parents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from virnuc_profiler.inference.packing.pack_statistics import pack_statistics

if TYPE_CHECKING:
    from virnuc_profiler.capture.profiler import BatchProfiler


def marking_collator(parent: Any, profiler: BatchProfiler) -> Any:
    """Return a subclass of ``VarlenCollator`` that marks when it packs.

    Args:
        parent: virnucpro's class.
        profiler: Running profiler, whose current batch waits for sequences.
    """

    class MarkingCollator(parent):  # type: ignore[misc]
        def __call__(self, item: Any) -> Any:
            # A mark for each sequence that is only collected would cost more than the work.
            if not self.packed_queue and len(self.buffer) + 1 < self.buffer_size:
                return super().__call__(item)
            profiler.current_batch.mark("collate")
            return super().__call__(item)

        def flush(self) -> Any:
            profiler.current_batch.mark("collate")
            return super().flush()

    return MarkingCollator


def marking_runner(parent: Any, profiler: BatchProfiler, token_budget: int) -> Any:
    """Return a subclass of ``AsyncInferenceRunner`` that marks the stages of a batch on the streams that they run on.

    Args:
        parent: virnucpro's class.
        profiler: Running profiler, whose current batch is the one that the runner works on.
        token_budget: Tokens that batches are packed up to.
    """

    class MarkingRunner(parent):  # type: ignore[misc]
        def process_batch(self, batch: Any) -> Any:
            cu_seqlens = batch["cu_seqlens"].numpy()
            # Its packer lets a batch exceed the budget only if that is one sequence.
            profiler.current_batch.set_packing(pack_statistics(cu_seqlens, token_budget))
            return super().process_batch(batch)

        def _transfer_to_gpu(self, batch: Any) -> Any:
            self._mark("h2d")
            return super()._transfer_to_gpu(batch)

        def _run_inference(self, gpu_batch: Any) -> Any:
            self._mark("forward")
            return super()._run_inference(gpu_batch)

        def _extract_embeddings(self, representations: Any, gpu_batch: Any) -> Any:
            self._mark("pool")
            embeddings = super()._extract_embeddings(representations, gpu_batch)
            self._mark("d2h")
            return embeddings

        def _mark(self, stage: str) -> None:
            import torch

            on_gpu = self.device.type == "cuda"
            stream = torch.cuda.current_stream(self.device).cuda_stream if on_gpu else None
            profiler.current_batch.mark(stage, stream)

    return MarkingRunner
