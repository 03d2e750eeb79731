# SPDX-License-Identifier: MIT
"""virnucpro's own pipeline: its index, dataset, collator, DataLoader, model and async runner, at its own defaults."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from virnuc_profiler.errors import UsageError
from virnuc_profiler.inference.loading.worker_processes import end_workers
from virnuc_profiler.inference.sequences.fair_esm import import_fair_esm
from virnuc_profiler.targets.adapters.emitted_vectors import Emit, drop_vectors
from virnuc_profiler.targets.adapters.esm2_models import TINY, check_precision, resolve_size
from virnuc_profiler.targets.adapters.fair_esm_weights import load_fair_esm
from virnuc_profiler.targets.adapters.packages import import_program, versions_of
from virnuc_profiler.targets.adapters.probe_batches import probe_pack
from virnuc_profiler.targets.adapters.virnucpro_stages import marking_collator, marking_runner
from virnuc_profiler.targets.knobs.knob import BooleanKnob, IntegerKnob, Knob

if TYPE_CHECKING:
    from virnuc_profiler.capture.profiler import BatchProfiler
    from virnuc_profiler.targets.contract import TargetOptions
    from virnuc_profiler.targets.knobs.configuration import Configuration
    from virnuc_profiler.targets.target_workload import TargetWorkload

_LAYER: Final = 36
"""Layer that its runner asks for, whatever the model: the last one of 3B."""

_log = logging.getLogger(__name__)


def make_target(options: TargetOptions) -> VirnucproTarget:
    """Return the target."""
    return VirnucproTarget(options)


class VirnucproTarget:
    """What virnucpro's GPU worker runs, without its checkpoints and its HDF5 file.

    Args:
        options: Device, model, weights and precision.
        emit: What takes the vectors.

    Raises:
        UsageError: The model has fewer layers than the runner asks for, or cannot have the precision.
    """

    def __init__(self, options: TargetOptions, emit: Emit = drop_vectors) -> None:
        self._data = import_program("virnucpro", "virnucpro.data")
        self._runner_module = import_program("virnucpro", "virnucpro.pipeline.async_inference")
        models = import_program("virnucpro", "virnucpro.models")
        should_use_fp16 = import_program("virnucpro", "virnucpro.utils.precision").should_use_fp16
        self._device, self._emit = options.device, emit
        size = resolve_size(options.model, default="3B")
        self._size = size.with_layers(_LAYER) if size.name == TINY else size
        if self._size.architecture.num_layers < _LAYER:
            raise UsageError(f"virnucpro's runner reads layer {_LAYER}, which {size.name} lacks: use --model 3B")
        default, other = ("fp16", "fp32") if should_use_fp16() else ("fp32", "fp16")
        self._precision = check_precision("virnucpro", options.precision, default, other)
        self._flash = models.FLASH_ATTN_AVAILABLE
        if not self._flash:
            _log.warning(
                "flash-attn is not installed: virnucpro takes its packs apart and pads them, several times slower"
            )
        base, self._weights = load_fair_esm(import_fair_esm(), self._size, options.weights, options.device)
        self._converter = base.alphabet.get_batch_converter()
        self.model: Any = models.ESM2WithFlashAttention(
            base, self._torch_device(), enable_fp16=self._precision == "fp16"
        )

    def describe(self) -> Mapping[str, Any]:
        """Return model, attention and versions."""
        versions = {"virnucpro": import_program("virnucpro").__version__}
        return {
            "name": "virnucpro",
            **self._size.description,
            "precision": self._precision,
            "weights": self._weights,
            "attention_backend": "flash-attn" if self._flash else "padded, since flash-attn is not installed",
            "versions": versions | versions_of("fair-esm", "flash-attn"),
        }

    def knobs(self) -> Sequence[Knob]:
        """Return the arguments of its loader, collator and runner; the default budget is what it computes itself."""
        budget = self._data.calculate_token_budget(device_id=self._torch_device().index or 0)
        return (
            IntegerKnob(
                name="token_budget",
                default=budget,
                low=3,
                high=2**24,
                tries=tuple(sorted({4096, budget, 32768, 65536})),
                help="most tokens of a packed batch",
            ),
            IntegerKnob(
                name="buffer_size", default=2000, low=1, high=2**24, help="sequences collected before they are packed"
            ),
            IntegerKnob(
                name="num_workers", default=4, low=1, high=1024, tries=(1, 4, 8), help="DataLoader processes that read"
            ),
            IntegerKnob(
                name="prefetch_factor", default=4, low=1, high=1024, help="sequences that each worker keeps ready"
            ),
            BooleanKnob(
                name="enable_streams", default=True, tries=(True,), help="copies and computes on streams of their own"
            ),
        )

    def run(self, workload: TargetWorkload, configuration: Configuration, profiler: BatchProfiler) -> Iterator[int]:
        """Embed all sequences with its runner, which fetches and packs inside its own loop."""
        with TemporaryDirectory(prefix="virnuc_profiler_virnucpro_") as folder:
            index = self._data.create_sequence_index([workload.path], Path(folder) / "index.json")
            dataset = import_program("virnucpro", "virnucpro.data.sequence_dataset").IndexBasedDataset(
                index, self._data.get_worker_indices(index, 0, 1), max_length=workload.max_residues
            )
            collator = marking_collator(self._data.VarlenCollator, profiler)(
                self._converter, max_sequence_length=workload.max_residues, buffer_size=configuration["buffer_size"]
            )
            loader = self._data.create_async_dataloader(
                dataset,
                collator,
                num_workers=configuration["num_workers"],
                prefetch_factor=configuration["prefetch_factor"],
                token_budget=configuration["token_budget"],
            )
            runner = marking_runner(self._runner_module.AsyncInferenceRunner, profiler, configuration["token_budget"])(
                self.model,
                self._torch_device(),
                enable_streams=configuration["enable_streams"],
                log_file=Path(folder) / "gpu_metrics.log",  # its default is a folder in the user's working directory
            )
            results = runner.run(loader)
            try:
                for result in profiler.batches(results):
                    batch = profiler.current_batch
                    batch.mark("emit")
                    self._emit(result.sequence_ids, result.embeddings)
                    batch.end()
                    yield len(result.sequence_ids)
            finally:
                results.close()
                end_workers(loader._iterator)  # they are persistent, and would live as long as the loader

    def probe(self, configuration: Configuration, tokens: int) -> None:  # noqa: ARG002
        """Run one pack of `tokens` tokens."""
        import torch

        ids, cu_lens, longest = probe_pack(tokens)
        with torch.inference_mode():
            self.model.forward_packed(ids.to(self._device), cu_lens.to(self._device), longest, repr_layers=[_LAYER])

    def close(self) -> None:
        """Release the model."""
        self.model = None

    def _torch_device(self) -> Any:
        import torch

        return torch.device(self._device)
