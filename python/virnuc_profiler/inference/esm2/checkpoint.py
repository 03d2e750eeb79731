# SPDX-License-Identifier: MIT
"""Fill a model with weights: random numbers, or a fair-esm checkpoint."""

from __future__ import annotations

import argparse
import math
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from virnuc_profiler.errors import ModelError
from virnuc_profiler.inference.esm2.config import PADDING_TOKEN, Architecture

if TYPE_CHECKING:
    from virnuc_profiler.inference.esm2.model import PackedESM2

_DOWNLOAD_URL: Final = "https://dl.fbaipublicfiles.com/fair-esm/models/{name}.pt"

_KEY_PREFIXES: Final = ("encoder.sentence_encoder.", "encoder.")
"""Prefixes that fair-esm strips from the names in a checkpoint, longest first."""

_LAYER_PARTS: Final = {
    "attention_norm": ("self_attn_layer_norm",),
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention_out": ("self_attn.out_proj",),
    "feed_forward_norm": ("final_layer_norm",),
    "up": ("fc1",),
    "down": ("fc2",),
}
"""Our parts of a layer, and the parts of fair-esm's layer that are concatenated to make each of them."""


def fill_randomly(model: PackedESM2, seed: int) -> None:
    """Fill a model in place with random weights, uniform within 1 / sqrt(inputs).

    The same seed gives the same weights on the same kind of device in the same precision. The global random state does
    not change.

    Args:
        model: Model to fill.
        seed: Random seed.
    """
    generator = torch.Generator(model.device).manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.weight.fill_(1.0)
            module.bias.zero_()
        elif isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            module.weight.uniform_(-bound, bound, generator=generator)
            module.bias.uniform_(-bound, bound, generator=generator)
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(generator=generator)
            module.weight[PADDING_TOKEN].zero_()
    model.weights, model.weights_source = f"random seed {seed}", "random"


def fill_from_checkpoint(model: PackedESM2, path: Path) -> None:
    """Fill a model in place from a fair-esm checkpoint, tensor by tensor from the memory-mapped file.

    Args:
        model: Model to fill.
        path: Path of the checkpoint.

    Raises:
        ModelError: The file is missing, is not an ESM-2 checkpoint, or holds another model.
    """
    checkpoint = _read_checkpoint(path)
    state = {_strip_prefix(name): value for name, value in checkpoint["model"].items()}
    found = _declared_architecture(checkpoint)
    if found != model.architecture:
        raise ModelError(
            f"checkpoint {path} holds {found or 'no ESM-2 model'}, but {model.model_name} has "
            f"{model.architecture}: choose the model that the checkpoint belongs to"
        )
    copy_weights(model, state, f"checkpoint {path}")
    model.weights = str(path)


def copy_weights(model: PackedESM2, state: Mapping[str, Tensor], origin: str) -> None:
    """Copy fair-esm's weights into a model, converting device and data type.

    Args:
        model: Model to fill in place.
        state: State dict of fair-esm's model; entries that the encoder does not need are ignored.
        origin: Description of `state`, for messages.

    Raises:
        ModelError: A tensor is missing or has the wrong shape.
    """
    parameters = dict(model.named_parameters())
    for name, sources in _weight_names(model.num_layers):
        for target, source in zip(parameters[name].chunk(len(sources)), sources, strict=True):
            if source not in state:
                raise ModelError(f"{origin} has no tensor {source}: it is not a complete ESM-2 model of fair-esm")
            if state[source].shape != target.shape:
                raise ModelError(
                    f"{origin} has {source} of shape {tuple(state[source].shape)} instead of {tuple(target.shape)}: "
                    f"it does not belong to {model.model_name}"
                )
            target.copy_(state[source])


def fair_esm_architecture(esm_model: Any) -> Architecture:
    """Return the architecture of a fair-esm ESM-2 model.

    Args:
        esm_model: An ``esm.model.esm2.ESM2``.

    Raises:
        ModelError: `esm_model` is another kind of model.
    """
    if type(esm_model).__name__ != "ESM2" or not getattr(esm_model, "token_dropout", False):
        raise ModelError(
            f"{type(esm_model).__name__} is not an ESM-2 model of fair-esm with token dropout; "
            "no other models are supported"
        )
    return Architecture(esm_model.num_layers, esm_model.embed_dim, esm_model.attention_heads)


def cached_checkpoint(model_name: str) -> Path:
    """Return where PyTorch's hub caches a model's checkpoint, whether or not it exists."""
    return Path(torch.hub.get_dir()) / "checkpoints" / f"{model_name}.pt"


def download_checkpoint(model_name: str) -> Path:
    """Download a checkpoint from fair-esm's server into the hub's cache; return its path.

    fair-esm's own function unpickles whatever it receives; this one only stores the file.

    Args:
        model_name: Full name of the model.

    Raises:
        ModelError: The checkpoint cannot be downloaded or stored.
    """
    url, path = _DOWNLOAD_URL.format(name=model_name), cached_checkpoint(model_name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=False)
    except (OSError, HTTPException) as error:
        raise ModelError(
            f"the weights of {model_name} could not be downloaded from {url} ({error}): put the file at {path} "
            "yourself, or use --weights random (in Python: weights='random'), which is enough for timings"
        ) from error
    return path


def _weight_names(num_layers: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each of our parameters with the fair-esm parameters that make it up."""
    yield "embed_tokens.weight", ("embed_tokens.weight",)
    for layer in range(num_layers):
        for part, sources in _LAYER_PARTS.items():
            for kind in ("weight", "bias"):
                yield (
                    f"layers.{layer}.{part}.{kind}",
                    tuple(f"layers.{layer}.{source}.{kind}" for source in sources),
                )
    for kind in ("weight", "bias"):
        yield f"final_norm.{kind}", (f"emb_layer_norm_after.{kind}",)


def _read_checkpoint(path: Path) -> dict[str, Any]:
    try:
        # fair-esm stores its settings in a Namespace, which holds values and executes nothing.
        with torch.serialization.safe_globals([argparse.Namespace]):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except MemoryError:
        raise
    except OSError as error:
        raise ModelError(f"checkpoint {path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a broken file can raise almost anything in the unpickler
        # An UnpicklingError's text is advice for programmers, so it is left out.
        first_line = str(error).strip().partition("\n")[0]
        reason = "" if isinstance(error, pickle.UnpicklingError) else f" ({type(error).__name__}: {first_line})"
        cached = path.resolve().is_relative_to(Path(torch.hub.get_dir()).resolve())
        advice = ": delete it and download it again" if cached else ""
        raise ModelError(f"{path} is not a checkpoint of fair-esm, or is broken{reason}{advice}") from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model"), dict):
        raise ModelError(f"{path} is not a checkpoint of fair-esm: it has no entry 'model'")
    return checkpoint


def _strip_prefix(name: str) -> str:
    for prefix in _KEY_PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def _declared_architecture(checkpoint: Mapping[str, Any]) -> Architecture | None:
    """Return the architecture in a checkpoint's ``cfg``, where fair-esm reads it; None if there is none."""
    settings: Any = checkpoint.get("cfg")
    settings = settings.get("model") if isinstance(settings, Mapping) else None
    try:
        return Architecture(settings.encoder_layers, settings.encoder_embed_dim, settings.encoder_attention_heads)
    except (AttributeError, TypeError, ValueError):
        return None
