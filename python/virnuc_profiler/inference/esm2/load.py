# SPDX-License-Identifier: MIT
"""Load an ESM-2 model: resolve its name, device, precision and weights, and return it ready to run."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from virnuc_profiler.capture.start_up.preparation import preparing
from virnuc_profiler.errors import UsageError
from virnuc_profiler.inference.esm2.checkpoints.copy_weights import copy_weights
from virnuc_profiler.inference.esm2.checkpoints.fair_esm_checkpoint import stored_in_fair_esm
from virnuc_profiler.inference.esm2.checkpoints.open_weights import fill_from_file
from virnuc_profiler.inference.esm2.config import ARCHITECTURES, MODEL_NAMES, resolve_model_name
from virnuc_profiler.inference.esm2.hub_cache import cached_checkpoint, download_checkpoint
from virnuc_profiler.inference.esm2.model import ModelInfo, PackedESM2
from virnuc_profiler.inference.esm2.random_weights import fill_randomly
from virnuc_profiler.inference.esm2.weights_fingerprint import weights_fingerprint
from virnuc_profiler.inference.placement import FP8, resolve_device, resolve_precision
from virnuc_profiler.inference.sequences.fair_esm import import_fair_esm
from virnuc_profiler.telemetry.parts.start_up_records import LOADING_MODEL

__all__ = ["MODEL_NAMES", "ModelInfo", "PackedESM2", "load_esm2_model"]

_KEYWORDS: Final = ("auto", "random", "pretrained")

_log = logging.getLogger(__name__)


@preparing(LOADING_MODEL)
def load_esm2_model(
    model_name: str = "esm2_t36_3B_UR50D",
    device: Any = "cuda",
    enable_fp16: bool | None = True,
    *,
    precision: str | None = None,
    weights: str | os.PathLike[str] = "auto",
    seed: int = 0,
    attention: str = "auto",
    kernels: str = "auto",
    cuda_graphs: bool | None = None,
) -> tuple[PackedESM2, Any]:
    """Load an ESM-2 model for packed inference.

    Args:
        model_name: One of ``MODEL_NAMES``, or a short name: ``8M``, ``35M``, ``150M``, ``650M``, ``3B`` or ``15B``.
        device: Device that runs the model: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, a device number or a
            ``torch.device``.
        enable_fp16: Whether to use fp16 instead of fp32 on CUDA, if `precision` is None; None means True.
        precision: Precision: ``fp16``, ``bf16``, ``fp32``, or ``fp8`` (Hopper and later; see `check_precision`).
        weights: Source of the weights: ``auto`` uses the checkpoint in PyTorch's hub cache, or random weights if there
            is none; ``pretrained`` downloads a missing checkpoint; ``random`` uses random weights; anything else is the
            path of a fair-esm checkpoint, of the folder of a Hugging Face model, or of a ``.safetensors`` file.
        seed: Random seed of the weights.
        attention: Attention backend: ``auto``, ``triton``, ``flash-attn``, ``torch-varlen`` or ``sdpa``.
        kernels: Kernels for the work between the matrix products: ``auto``, ``triton`` or ``torch``.
        cuda_graphs: Whether to capture and replay CUDA graphs; None decides by the size of model and pack.

    Returns:
        The model, whose ``info`` holds all of these facts, and fair-esm's batch converter.

    Raises:
        TypeError: `enable_fp16` is not a bool.
        UsageError: There is no such model, device, precision, attention backend or file, or the combination cannot run.
        ModelError: The weights cannot be read or downloaded, or belong to another model.
        LibraryUnavailable: fair-esm cannot be imported, or another package has its module name; or the weights are in
            safetensors, and that package is not installed.
    """
    name = resolve_model_name(model_name)
    target = resolve_device(device)
    dtype = resolve_precision(precision, enable_fp16, target)
    batch_converter = import_fair_esm().data.Alphabet.from_architecture("ESM-1b").get_batch_converter()
    source, path = _resolve_weights(name, weights)

    model = PackedESM2(
        ARCHITECTURES[name],
        device=target,
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
            fill_from_file(model, path)
            model.weights_source, model.weights_fingerprint = source, weights_fingerprint(model)
    info = model.info
    _log.info(
        "%s on %s in %s, attention %s, weights: %s",
        info.model_name, target, info.precision, info.attention_backend, info.weights,
    )  # fmt: skip
    return model, batch_converter


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
        attention: Attention backend: ``auto`` or the name of one.
        kernels: Kernels for the work between the matrix products: ``auto``, ``triton`` or ``torch``.
        cuda_graphs: Whether to capture and replay CUDA graphs; None decides by the size of model and pack.
        fp8: Whether matrix products run in FP8, which needs `dtype` bf16.

    Raises:
        ModelError: `esm_model` is not an ESM-2 model of fair-esm.
        UsageError: The attention backend, the kernels, CUDA graphs or FP8 cannot run on the device.
    """
    stored = stored_in_fair_esm(esm_model)
    model = PackedESM2(
        stored.architecture,
        device=device,
        dtype=dtype,
        attention=attention,
        kernels=kernels,
        cuda_graphs=cuda_graphs,
        fp8=fp8,
    )
    copy_weights(model, stored)
    model.weights, model.weights_source = "taken from a fair-esm model", "fair-esm"
    model.weights_fingerprint = weights_fingerprint(model)
    return model


def _resolve_weights(name: str, weights: str | os.PathLike[str]) -> tuple[str, Path | None]:
    """Return the source of the weights and their file; None for random weights."""
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
    if not path.exists():
        raise UsageError(f"weights {str(weights)!r} is neither a file, nor a folder, nor one of {', '.join(_KEYWORDS)}")
    return "file", path
