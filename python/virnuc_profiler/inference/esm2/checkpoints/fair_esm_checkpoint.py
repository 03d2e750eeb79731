# SPDX-License-Identifier: MIT
"""Checkpoints in fair-esm's own format: a ``.pt`` file with the settings in ``cfg`` and the weights in ``model``."""

from __future__ import annotations

import argparse
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from virnuc_profiler.errors import ModelError
from virnuc_profiler.inference.esm2.checkpoints.broken_files import advice_on
from virnuc_profiler.inference.esm2.checkpoints.stored_weights import StoredWeights
from virnuc_profiler.inference.esm2.config import Architecture

_KEY_PREFIXES: Final = ("encoder.sentence_encoder.", "encoder.")
"""Prefixes that fair-esm strips from the names in a checkpoint, longest first."""

_FORBIDDEN_OBJECT: Final = re.compile(r"GLOBAL (\S+) (?:was not an allowed global|whose module \S+ is blocked)")
"""PyTorch's words for an object that is neither a tensor nor a plain value."""


def read_fair_esm_checkpoint(path: Path) -> StoredWeights:
    """Return the weights of a checkpoint, memory-mapped.

    Args:
        path: Path of the checkpoint.

    Raises:
        ModelError: The file cannot be read, or is not an ESM-2 checkpoint of fair-esm.
    """
    checkpoint = _load(path)
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model"), dict):
        raise ModelError(f"{path} is not a checkpoint of fair-esm: it has no entry 'model'")
    architecture = _declared_architecture(checkpoint.get("cfg"))
    if architecture is None:
        raise ModelError(f"checkpoint {path} holds no ESM-2 model: its entry 'cfg' does not describe one")
    state = {_strip_prefix(str(name)): value for name, value in checkpoint["model"].items()}
    return StoredWeights(f"checkpoint {path}", architecture, state)


def stored_in_fair_esm(esm_model: nn.Module) -> StoredWeights:
    """Return the weights of a fair-esm model.

    Args:
        esm_model: An ``esm.model.esm2.ESM2``.

    Raises:
        ModelError: `esm_model` is another kind of model.
    """
    model: Any = esm_model
    if type(model).__name__ != "ESM2" or not getattr(model, "token_dropout", False):
        raise ModelError(
            f"{type(model).__name__} is not an ESM-2 model of fair-esm with token dropout; "
            "no other models are supported"
        )
    architecture = Architecture(model.num_layers, model.embed_dim, model.attention_heads)
    return StoredWeights("the fair-esm model", architecture, model.state_dict())


def _load(path: Path) -> Any:
    try:
        # fair-esm stores its settings in a Namespace, which holds values and executes nothing.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except MemoryError:
        raise
    except OSError as error:
        raise ModelError(f"checkpoint {path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a broken file can raise almost anything in the unpickler
        if forbidden := _FORBIDDEN_OBJECT.search(str(error)):
            raise ModelError(
                f"{path} holds the Python object {forbidden[1]}, which no checkpoint of fair-esm has; it was not "
                "loaded, because it could run any code: use a file from fair-esm, or a model in safetensors"
            ) from error
        # An UnpicklingError's text is advice for programmers, so it is left out.
        first_line = str(error).strip().partition("\n")[0]
        reason = "" if isinstance(error, pickle.UnpicklingError) else f" ({type(error).__name__}: {first_line})"
        raise ModelError(f"{path} is not a checkpoint of fair-esm, or is broken{reason}{advice_on(path)}") from error


def _strip_prefix(name: str) -> str:
    for prefix in _KEY_PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def _declared_architecture(settings: Any) -> Architecture | None:
    """Return the architecture in a checkpoint's ``cfg``, where fair-esm reads it; None if there is none."""
    settings = settings.get("model") if isinstance(settings, Mapping) else None
    if not getattr(settings, "token_dropout", True):
        return None
    try:
        return Architecture(settings.encoder_layers, settings.encoder_embed_dim, settings.encoder_attention_heads)
    except (AttributeError, TypeError, ValueError, ZeroDivisionError):
        return None
