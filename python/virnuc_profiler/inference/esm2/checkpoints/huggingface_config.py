# SPDX-License-Identifier: MIT
"""The files beside the weights in a Hugging Face folder: they must describe an ESM-2 model with fair-esm's alphabet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from virnuc_profiler.errors import ModelError
from virnuc_profiler.inference.esm2.config import ALPHABET_SIZE, MASK_TOKEN, PADDING_TOKEN, Architecture
from virnuc_profiler.inference.esm2.layers import NORM_EPS
from virnuc_profiler.telemetry.json_text import parse_json

_OF_ESM2: Final[Mapping[str, tuple[Any, Any]]] = {
    "model_type": (None, "esm"),
    "is_folding_model": (False, False),
    "position_embedding_type": ("absolute", "rotary"),
    "rope_theta": (10000.0, 10000.0),
    "token_dropout": (False, True),
    "emb_layer_norm_before": (None, False),
    "layer_norm_eps": (1e-12, NORM_EPS),
    "vocab_size": (None, ALPHABET_SIZE),
    "mask_token_id": (None, MASK_TOKEN),
    "pad_token_id": (None, PADDING_TOKEN),
    "is_decoder": (False, False),
    "add_cross_attention": (False, False),
}
"""Keys that decide what a model computes: the default of Hugging Face's ``EsmConfig``, and the value of ESM-2."""


def read_config(path: Path) -> Architecture:
    """Return the architecture in a ``config.json``.

    Args:
        path: Path of the file.

    Raises:
        ModelError: The file cannot be read, or describes another model than ESM-2.
    """
    config = read_json_object(path)
    for key, (default, required) in _OF_ESM2.items():
        if (value := config.get(key, default)) != required and (value or required):  # null is as good as false
            raise ModelError(f"{path} says {key} = {value!r}, but ESM-2 has {required!r}: it describes another model")
    sizes = [config.get(key) for key in ("num_hidden_layers", "hidden_size", "num_attention_heads")]
    try:
        layers, hidden_size, heads = (_positive(size) for size in sizes)
        architecture = Architecture(layers, hidden_size, heads)
    except ValueError as error:
        raise ModelError(f"{path} does not describe an ESM-2 model: {error}") from None
    if config.get("intermediate_size") != 4 * hidden_size:
        raise ModelError(
            f"{path} says intermediate_size = {config.get('intermediate_size')!r}, but ESM-2 of hidden size "
            f"{hidden_size} has {4 * hidden_size}: it describes another model"
        )
    return architecture


def require_vocabulary(path: Path, alphabet: Sequence[str]) -> None:
    """Refuse a ``vocab.txt`` that numbers tokens in another way than fair-esm.

    Args:
        path: Path of the file, one token per line; it may be absent.
        alphabet: fair-esm's tokens in order.

    Raises:
        ModelError: The file cannot be read, or has other tokens.
    """
    if not path.is_file():
        return
    try:
        tokens = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    for number, expected in enumerate(alphabet):
        found = tokens[number] if number < len(tokens) else "nothing"
        if found != expected:
            raise ModelError(
                f"{path} has {found} as token {number}, but ESM-2's alphabet has {expected}: the model would read "
                "other residues than it is given"
            )


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Args:
        path: Path of the file.

    Raises:
        ModelError: The file cannot be read, or holds no object.
    """
    try:
        document = parse_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ModelError(f"{path} holds no JSON object")
    return document


def _positive(size: Any) -> int:
    if type(size) is not int or size < 1:
        raise ValueError(f"{size!r} is not a size")
    return size
