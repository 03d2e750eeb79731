# SPDX-License-Identifier: MIT
"""Hugging Face's ``EsmModel`` over padded batches, as in most people's loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from virnuc_profiler.targets.knobs.knob import BooleanKnob, ChoiceKnob, Knob

if TYPE_CHECKING:
    import torch

    from virnuc_profiler.capture.profiler import BatchProfiler
    from virnuc_profiler.targets.contract import TargetOptions
    from virnuc_profiler.targets.knobs.configuration import Configuration
    from virnuc_profiler.targets.target_workload import TargetWorkload


def make_target(options: TargetOptions) -> HuggingFaceTarget:
    """Return the target."""
    return HuggingFaceTarget(options)


class HuggingFaceTarget:
    """An ``EsmModel`` without its pooler, a DataLoader that tokenizes and pads, and means over residues.

    Args:
        options: Device, model, weights and precision.
        emit: What takes the vectors.
    """

    min_packing = None

    def __init__(self, options: TargetOptions, emit: Emit = drop_vectors) -> None:
        self._transformers = import_program("huggingface")
        self._options, self._emit = options, emit
        self._size = resolve_size(options.model)
        self._precision = check_precision("huggingface", options.precision, "fp32", "fp16", "bf16")
        self._tokenizer = esm_tokenizer(self._transformers)
        self.model: Any = None
        self._compiled: Any = None
        self._load(attention=None)

    def describe(self) -> Mapping[str, Any]:
        """Return model and versions."""
        return {
            "name": "huggingface",
            **self._size.description,
            "precision": self._precision,
            "weights": self._weights,
            "versions": versions_of("transformers", "tokenizers"),
        }

    def knobs(self) -> Sequence[Knob]:
        """Return the batches' knobs, and two of the model that sweeps vary only if asked to."""
        return (
            *LOADER_KNOBS,
            ChoiceKnob(
                name="attention",
                default=None,
                choices=("eager", "sdpa", "flash_attention_2"),
                tries=(None,),
                default_text="chosen by transformers",
                help="attention implementation; another one loads the model again",
            ),
            BooleanKnob(name="compile", default=False, tries=(False,), help="runs the model through torch.compile"),
        )

    def run(self, workload: TargetWorkload, configuration: Configuration, profiler: BatchProfiler) -> Iterator[int]:
        """Embed all sequences."""
        forward = self._forward(configuration)
        loader = padded_loader(workload, configuration, self._tokenizer, self._options.device)
        yield from run_padded(loader, forward, self._options.device, profiler, self._emit)

    def probe(self, configuration: Configuration, tokens: int) -> None:
        """Run one batch of `tokens` tokens, padding included."""
        probe_padded(self._forward(configuration), tokens, self._options.device)

    def close(self) -> None:
        """Release the model."""
        self.model = self._compiled = None

    def _forward(self, configuration: Configuration) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Return the model that a configuration asks for, as a function of token ids and mask."""
        import torch

        if self.model is None or configuration["attention"] != self._attention:  # None after a load that failed
            self._load(configuration["attention"])
        if configuration["compile"] and self._compiled is None:
            self._compiled = torch.compile(self.model)
        model = self._compiled if configuration["compile"] else self.model

        def forward(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            hidden: torch.Tensor = model(input_ids=tokens, attention_mask=mask).last_hidden_state
            return hidden

        return forward

    def _load(self, attention: str | None) -> None:
        """Load the model with an attention implementation; None leaves the choice to transformers."""
        self.close()
        how = {"add_pooling_layer": False, **({"attn_implementation": attention} if attention else {})}
        automatic = self._transformers.AutoModel
        model, self._weights = load_weights(
            self._options,
            self._size,
            pretrained=lambda source, **where: automatic.from_pretrained(source, **how, **where),
            random=lambda: automatic.from_config(esm_config(self._transformers, self._size.architecture), **how),
        )
        self.model = model.to(torch_dtype(self._precision))
        self._attention = attention
