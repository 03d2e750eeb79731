# SPDX-License-Identifier: MIT
"""Hugging Face models in safetensors, in one file or in several with an index: memory-mapped, and never unpickled."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from torch import Tensor

from virnuc_profiler.errors import LibraryUnavailable, ModelError, first_line
from virnuc_profiler.inference.esm2.checkpoints.broken_files import advice_on
from virnuc_profiler.inference.esm2.checkpoints.huggingface_config import (
    read_config,
    read_json_object,
    require_vocabulary,
)
from virnuc_profiler.inference.esm2.checkpoints.stored_weights import StoredWeights
from virnuc_profiler.inference.esm2.checkpoints.weight_names import (
    EMBEDDING,
    ROTARY,
    TIED_EMBEDDING,
    from_hugging_face,
    to_hugging_face,
)
from virnuc_profiler.inference.esm2.config import Architecture
from virnuc_profiler.inference.sequences.fair_esm import import_fair_esm

SUFFIX: Final = ".safetensors"
INDEX_SUFFIX: Final = ".safetensors.index.json"

_ONE_FILE: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"
_PICKLED: Final = "pytorch_model*.bin"
_PART: Final = re.compile(r"-\d+-of-\d+\.safetensors$")


def open_hugging_face_weights(path: Path) -> StoredWeights:
    """Open the weights of an ``EsmModel``, or of a model with a head on it, which is ignored.

    Args:
        path: Folder of the model, path of a ``.safetensors`` file, or of the index of several. A ``config.json`` and a
            ``vocab.txt`` that lie beside the weights are checked; a folder must have the first.

    Raises:
        ModelError: The weights cannot be read, or are not those of an ESM-2 model.
        LibraryUnavailable: The package safetensors is not installed.
    """
    folder = path if path.is_dir() else path.parent
    tensors = _tensors(path)
    names: dict[str, str] = {}
    for name, key in from_hugging_face(tensors):
        if name in names:
            raise ModelError(f"{path} has the same weights twice, as {names[name]} and as {key}: it is ambiguous")
        names[name] = key
    config = folder / "config.json"
    if not config.is_file() and path.is_dir():
        raise ModelError(
            f"{path} has no config.json: choose the folder of a Hugging Face model, or a .safetensors file"
        )
    state = _State(tensors, names)
    architecture = read_config(config) if config.is_file() else _architecture(path, state)
    require_vocabulary(folder / "vocab.txt", import_fair_esm().data.Alphabet.from_architecture("ESM-1b").all_toks)
    prefix = "esm." if any(key.startswith("esm.") for key in tensors) else ""
    return StoredWeights(str(path), architecture, state, lambda name: names.get(name, prefix + to_hugging_face(name)))


def refuse_pickled_weights(path: Path) -> NoReturn:
    """Refuse weights that Hugging Face stored with pickle, and name the way out.

    Args:
        path: Path of the ``.bin`` file.

    Raises:
        ModelError: Always.
    """
    raise ModelError(
        f"{path} is in pickle, which can run any code when it is read: use the same model in safetensors, or let "
        "Hugging Face convert it (EsmModel.from_pretrained(OLD).save_pretrained(NEW)), or use --weights pretrained "
        "(in Python: weights='pretrained')"
    )


class _State(Mapping[str, Tensor]):
    """Tensors by fair-esm's names, each mapped from its file when it is looked up.

    Args:
        tensors: For each name in the files, a function that maps the tensor.
        names: Names in the files by fair-esm's names.
    """

    def __init__(self, tensors: Mapping[str, Callable[[], Tensor]], names: Mapping[str, str]) -> None:
        self._tensors = tensors
        self._names = names

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[self._names[name]]()

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _tensors(path: Path) -> dict[str, Callable[[], Tensor]]:
    """Return a function for each tensor of a model, which maps it from its file."""
    if path.is_dir():
        found = next((path / name for name in (_ONE_FILE, _INDEX) if (path / name).is_file()), None)
        if found is None:
            if pickled := sorted(path.glob(_PICKLED)):
                refuse_pickled_weights(pickled[0])
            snapshot = next(path.glob("snapshots/*"), None)  # of Hugging Face's cache
            example = "" if snapshot is None else f", such as {snapshot}"
            raise ModelError(f"{path} has neither {_ONE_FILE} nor {_INDEX}: choose the folder of the weights{example}")
        path = found
    if not path.name.endswith(INDEX_SUFFIX):
        if _PART.search(path.name) and (path.parent / _INDEX).is_file():
            raise ModelError(f"{path} is one part of a model in several files: choose its folder, {path.parent}")
        return _open(path)
    parts = _parts(path)
    opened = {part: _open(path.parent / part) for part in sorted(set(parts.values()))}
    for key, part in parts.items():
        if key not in opened[part]:
            raise ModelError(f"{path.parent / part} has no tensor {key}, which {path} says: get both files again")
    return {key: opened[part][key] for key, part in parts.items()}


def _parts(index: Path) -> dict[str, str]:
    """Return the file name of each tensor in an index."""
    parts = read_json_object(index).get("weight_map")
    if not isinstance(parts, dict) or not parts:
        raise ModelError(f"{index} is not an index of safetensors files: it has no weight_map")
    for key, part in parts.items():
        if not isinstance(part, str) or Path(part).name != part or not part.endswith(SUFFIX):
            raise ModelError(f"{index} has {part!r} as the file of {key}: it must be a {SUFFIX} file beside it")
    return parts


def _open(path: Path) -> dict[str, Callable[[], Tensor]]:
    """Return a function for each tensor of one file, which maps it."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise LibraryUnavailable(
            f"{path} needs the package safetensors ({error}): pip install 'virnuc_profiler[embed]'"
        ) from error
    if path.exists() and not path.is_file():  # opening a pipe would wait for its writer, and not even end on Ctrl-C
        raise ModelError(f"{path} cannot be read: it is not a file")
    try:
        file: Any = safe_open(path, framework="pt")
        keys = list(file.keys())
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        advice = advice_on(path) or ": get it again"
        raise ModelError(f"{path} is not a safetensors file, or is truncated ({first_line(error)}){advice}") from error
    return {key: partial(_read, file, path, key) for key in keys}


def _read(file: Any, path: Path, key: str) -> Tensor:
    """Return one tensor of an open file, mapped."""
    from safetensors import SafetensorError

    try:
        tensor: Tensor = file.get_tensor(key)
    except (SafetensorError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path} has a tensor {key} that cannot be read: {first_line(error)}") from error
    return tensor


def _architecture(path: Path, state: Mapping[str, Tensor]) -> Architecture:
    """Return the architecture of weights without a ``config.json``, from their shapes."""
    layers = [int(match[1]) for name in state if (match := re.match(r"layers\.([0-9]{1,9})\.", name))]
    embedding = next((state[name] for name in (EMBEDDING, TIED_EMBEDDING) if name in state), None)
    rotary = next((state[name] for name in state if name.endswith(ROTARY)), None)
    if not layers or embedding is None or embedding.dim() != 2:
        raise ModelError(f"{path} does not hold the weights of an ESM-2 model of Hugging Face")
    if rotary is None or not rotary.numel():
        raise ModelError(
            f"{path} does not say how many attention heads it has: put the model's config.json into its folder"
        )
    hidden_size = embedding.shape[1]
    try:
        return Architecture(max(layers) + 1, hidden_size, hidden_size // (2 * rotary.numel()))
    except (ValueError, ZeroDivisionError) as error:
        raise ModelError(f"{path} does not hold the weights of an ESM-2 model: {error}") from None
