# SPDX-License-Identifier: MIT
"""fair-esm's model with random weights or those of a checkpoint, for the programs that run it."""

from __future__ import annotations

import argparse
from typing import Any

from virnuc_profiler.errors import ModelError
from virnuc_profiler.inference.esm2.hub_cache import cached_checkpoint
from virnuc_profiler.targets.adapters.esm2_models import TINY, ModelSize, random_weights_on


def load_fair_esm(esm: Any, size: ModelSize, weights: str, device: str) -> tuple[Any, str]:
    """Return fair-esm's model on a device, and where its weights are from.

    Args:
        esm: The module.
        size: The model; ``tiny`` and other numbers of layers than the original ones have random weights only.
        weights: ``auto``, ``pretrained``, ``random`` or the path of a checkpoint.
        device: Device of the model.

    Raises:
        ModelError: The weights cannot be loaded.
    """
    import torch

    cached = cached_checkpoint(size.name).is_file()
    if size.name == TINY or weights == "random" or (weights == "auto" and not cached):
        shape = size.architecture
        with random_weights_on(device):
            model = esm.model.esm2.ESM2(shape.num_layers, shape.hidden_size, shape.attention_heads)
        return model, "random seed 0"
    source = size.name if weights in ("auto", "pretrained") else weights
    try:
        with torch.serialization.safe_globals(
            [argparse.Namespace]
        ):  # newer PyTorch refuses it, which fair-esm predates
            model, _ = esm.pretrained.load_model_and_alphabet(source)
    except Exception as error:  # fair-esm raises bare exceptions
        raise ModelError(f"{source} cannot be loaded ({error}): use --weights random for timings") from error
    return model.to(device), source
