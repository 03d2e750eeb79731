# SPDX-License-Identifier: MIT
"""Loading an ESM-2 model: name, place, precision and weights to a model that is ready to run."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Final

import esm
import torch
from torch import nn

from virnuc_profiler.errors import UsageError
from virnuc_profiler.inference.esm2.checkpoint import (
    architecture_of,
    cached_checkpoint,
    copy_weights,
    download_checkpoint,
    fill_from_checkpoint,
    fill_randomly,
)
from virnuc_profiler.inference.esm2.config import ARCHITECTURES, MODEL_NAMES, resolve_model_name
from virnuc_profiler.inference.esm2.model import ModelInfo, PackedESM2
from virnuc_profiler.inference.placement import FP8, resolve_device, resolve_precision

__all__ = ["MODEL_NAMES", "ModelInfo", "PackedESM2", "load_esm2_model"]

_KEYWORDS: Final = ("auto", "random", "pretrained")

_log = logging.getLogger(__name__)


def load_esm2_model(
    model_name: str = "esm2_t36_3B_UR50D",
    device: Any = "cuda",
    enable_fp16: bool = True,
    *,
    precision: str | None = None,
    weights: str | os.PathLike[str] = "auto",
    seed: int = 0,
    attention: str = "auto",
    kernels: str = "auto",
    cuda_graphs: bool | None = None,
) -> tuple[PackedESM2, Any]:
    """Loads an ESM-2 model for packed inference.

    Args:
        model_name: one of :data:`MODEL_NAMES`, or for short ``8M``, ``35M``, ``150M``, ``650M``, ``3B``, ``15B``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, a number or a ``torch.device``.
        enable_fp16: fp16 rather than fp32 on CUDA, if `precision` is not given.
        precision: ``fp16``, ``bf16``, ``fp32``, or ``fp8`` (Hopper and later; see `check_precision`).
        weights: ``auto`` takes the checkpoint from PyTorch's hub cache if it is there, else random weights;
            ``pretrained`` downloads it if it is not there; ``random``; or the path of a fair-esm checkpoint.
        seed: of random weights.
        attention: ``auto``, ``triton``, ``flash-attn``, ``torch-varlen`` or ``sdpa``.
        kernels: ``auto``, ``triton`` or ``torch``: what computes the rest between the matrix products.
        cuda_graphs: whether launches are recorded and replayed; None leaves it to the size of model and pack.

    Returns:
        The model, whose ``info`` records all of this, and fair-esm's batch converter.

    Raises:
        UsageError: no such model, device, precision, attention or file, or a combination that cannot run.
        ModelError: the weights cannot be had, or belong to another model.
    """
    name = resolve_model_name(model_name)
    place = resolve_device(device)
    dtype = resolve_precision(precision, enable_fp16, place)
    source, path = _choose_weights(name, weights)

    model = PackedESM2(
        ARCHITECTURES[name],
        device=place,
        dtype=dtype,
        attention=attention,
        kernels=kernels,
        cuda_graphs=cuda_graphs,
        fp8=precision == FP8,
        model_name=name,
    )
    with torch.inference_mode(False):
        if path is None:
            fill_randomly(model, seed)
        else:
            fill_from_checkpoint(model, path)
            model.weights_source = source
    info = model.info
    _log.info(
        "%s on %s in %s, attention %s, weights: %s",
        info.model_name, place, info.precision, info.attention_backend, info.weights,
    )  # fmt: skip
    return model, esm.data.Alphabet.from_architecture("ESM-1b").get_batch_converter()


def from_fair_esm(
    esm_model: nn.Module,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    attention: str = "auto",
    kernels: str = "auto",
    cuda_graphs: bool | None = None,
    fp8: bool = False,
) -> PackedESM2:
    """Make a packed model with the weights of a fair-esm model.

    Args:
        esm_model: An ``esm.model.esm2.ESM2``.
        device: Device of the new model.
        dtype: Data type of its weights and activations.
        attention: ``auto`` or the name of an attention backend.
        kernels: ``auto``, ``triton`` or ``torch``.
        cuda_graphs: Whether launches are recorded and replayed; None decides by the size of model and pack.
        fp8: Whether matrix products run in FP8, which needs `dtype` bf16.

    Raises:
        ModelError: `esm_model` is not an ESM-2 model of fair-esm.
        UsageError: The attention backend, the kernels, CUDA graphs or FP8 cannot run there.
    """
    model = PackedESM2(
        architecture_of(esm_model),
        device=device,
        dtype=dtype,
        attention=attention,
        kernels=kernels,
        cuda_graphs=cuda_graphs,
        fp8=fp8,
    )
    copy_weights(model, esm_model.state_dict(), "the fair-esm model")
    model.weights, model.weights_source = "taken from a fair-esm model", "fair-esm"
    return model


def _choose_weights(name: str, weights: str | os.PathLike[str]) -> tuple[str, Path | None]:
    """Returns where weights come from, and their file; None for random ones."""
    if weights == "random":
        return "random", None
    cached = cached_checkpoint(name)
    if weights in ("auto", "pretrained") and cached.is_file():
        return "cache", cached
    if weights == "auto":
        _log.warning(
            "%s is not in the cache (%s): using random weights, which is enough for timings; "
            "--weights pretrained (in Python: weights='pretrained') downloads the real ones", name, cached,
        )  # fmt: skip
        return "random", None
    if weights == "pretrained":
        _log.info("downloading the weights of %s to %s", name, cached)
        return "download", download_checkpoint(name)
    path = Path(weights)
    if not path.is_file():
        raise UsageError(f"weights {str(weights)!r} is neither a file nor one of {', '.join(_KEYWORDS)}")
    return "file", path
