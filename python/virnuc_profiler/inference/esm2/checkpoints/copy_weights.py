# SPDX-License-Identifier: MIT
"""Copy stored weights into a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virnuc_profiler.errors import ModelError
from virnuc_profiler.inference.esm2.checkpoints.rotary_frequencies import stored_frequencies
from virnuc_profiler.inference.esm2.checkpoints.stored_weights import StoredWeights
from virnuc_profiler.inference.esm2.checkpoints.weight_names import fair_esm_sources, surplus_names
from virnuc_profiler.inference.esm2.config import model_name_of
from virnuc_profiler.telemetry.number_text import counted

if TYPE_CHECKING:
    from virnuc_profiler.inference.esm2.model import PackedESM2


def copy_weights(model: PackedESM2, stored: StoredWeights) -> None:
    """Copy weights into a model, tensor by tensor, converting device and data type.

    Args:
        model: Model to fill in place.
        stored: Weights to copy. Heads are ignored.

    Raises:
        ModelError: The weights are of another model, or a tensor is missing, has the wrong shape or type, or is one
            that ESM-2 does not have.
    """
    _require_architecture(model, stored)
    _require_plain_encoder(model, stored)
    model.rotary_frequencies = stored_frequencies(stored)
    parameters = dict(model.named_parameters())
    for name, sources in fair_esm_sources(model.num_layers):
        for target, source in zip(parameters[name].chunk(len(sources)), sources, strict=True):
            target.copy_(stored.require(source, tuple(target.shape)))


def _require_architecture(model: PackedESM2, stored: StoredWeights) -> None:
    found = stored.architecture
    if found == model.architecture:
        return
    name = model_name_of(found)
    advice = (
        "choose the model that they belong to"
        if name is None
        else f"choose that model (--model {name}; in Python: model_name={name!r})"
    )
    raise ModelError(
        f"{stored.origin} holds {f'{name}, ' if name else ''}{found}, but {model.model_name} has "
        f"{model.architecture}: {advice}"
    )


def _require_plain_encoder(model: PackedESM2, stored: StoredWeights) -> None:
    surplus = surplus_names(stored.state, model.num_layers)
    if not surplus:
        return
    others = "" if len(surplus) == 1 else f" and {counted(len(surplus) - 1, 'other tensor')}"
    raise ModelError(
        f"{stored.origin} holds {stored.name_in_file(surplus[0])}{others}, which {model.model_name} does not have: it "
        "is another model, or has adapters, which must be merged into its weights first"
    )
