# SPDX-License-Identifier: MIT
"""FAESM: Hugging Face's ESM-2 with flash-attn, which takes the padding out again inside the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from virnuc_profiler.targets.adapters.emitted_vectors import Emit, drop_vectors
from virnuc_profiler.targets.adapters.esm2_models import check_precision, resolve_size, torch_dtype
from virnuc_profiler.targets.adapters.packages import import_program, versions_of
from virnuc_profiler.targets.adapters.padded_batches import run_padded
from virnuc_profiler.targets.adapters.probe_batches import probe_padded
from virnuc_profiler.targets.adapters.transformers_loader import (
    LOADER_KNOBS,
    esm_config,
    esm_tokenizer,
    load_weights,
    padded_loader,
)

if TYPE_CHECKING:
    import torch

    from virnuc_profiler.capture.profiler import BatchProfiler
    from virnuc_profiler.targets.contract import TargetOptions
    from virnuc_profiler.targets.knobs.configuration import Configuration
    from virnuc_profiler.targets.knobs.knob import Knob
    from virnuc_profiler.targets.target_workload import TargetWorkload


def make_target(options: TargetOptions) -> FaesmTarget:
    """Return the target."""
    return FaesmTarget(options)


class FaesmTarget:
    """FAESM's encoder over padded batches, and means over residues.

    With flash-attn, its layers see no padding, but packing is that of the batches that it is given. Without flash-attn
    it runs PyTorch's attention over the padded batch.

    Args:
        options: Device, model, weights and precision.
        emit: What takes the vectors.
    """

    min_packing = None

    def __init__(self, options: TargetOptions, emit: Emit = drop_vectors) -> None:
        self._transformers = transformers = import_program("faesm", "transformers")
        self._faesm = faesm = import_program("faesm", "faesm.esm")
        self._options, self._emit = options, emit
        self._size = resolve_size(options.model)
        self._use_flash = faesm.flash_attn_installed
        precisions = ("fp16", "bf16") if self._use_flash else ("fp32", "fp16", "bf16")  # flash-attn has no fp32
        self._precision = check_precision("faesm", options.precision, *precisions)
        self._tokenizer = esm_tokenizer(transformers)
        config = esm_config(transformers, self._size.architecture, use_fa=self._use_flash)
        model, self._weights = load_weights(options, self._size, self._pretrained, lambda: self._random(config))
        self.model: Any = model.to(torch_dtype(self._precision))

    def describe(self) -> Mapping[str, Any]:
        """Return model, attention and versions."""
        return {
            "name": "faesm",
            **self._size.description,
            "precision": self._precision,
            "weights": self._weights,
            "attention_backend": "flash-attn" if self._use_flash else "sdpa",
            "versions": versions_of("faesm", "transformers", "flash-attn"),
        }

    def knobs(self) -> Sequence[Knob]:
        """Return the batches' knobs."""
        return LOADER_KNOBS

    def run(self, workload: TargetWorkload, configuration: Configuration, profiler: BatchProfiler) -> Iterator[int]:
        """Embed all sequences."""
        loader = padded_loader(workload, configuration, self._tokenizer, self._options.device)
        yield from run_padded(loader, self._forward, self._options.device, profiler, self._emit)

    def probe(self, configuration: Configuration, tokens: int) -> None:  # noqa: ARG002
        """Run one batch of `tokens` tokens, padding included."""
        probe_padded(self._forward, tokens, self._options.device)

    def close(self) -> None:
        """Release the model."""
        self.model = None

    def _forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.model(tokens, attention_mask=mask.bool()).last_hidden_state
        return hidden

    def _random(self, config: Any) -> Any:
        return self._faesm.FAEsmModel(config, add_pooling_layer=False)

    def _pretrained(self, source: str, local_files_only: bool) -> Any:
        """Load a checkpoint with FAESM's own loader, which would download a missing one."""
        self._transformers.AutoConfig.from_pretrained(source, local_files_only=local_files_only)
        return self._faesm.FAEsmForMaskedLM.from_pretrained(source, use_fa=self._use_flash).esm
