# SPDX-License-Identifier: MIT
"""The names of ESM-2's weights: ours, fair-esm's, and Hugging Face's. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

ROTARY: Final = "rot_emb.inv_freq"
"""Last part of fair-esm's names for the rotary frequencies, of which each layer has a copy."""

EMBEDDING: Final = "embed_tokens.weight"

TIED_EMBEDDING: Final = "lm_head.weight"
"""fair-esm's name for the output weights of the language model, which are those of the embedding."""

_OUTSIDE_THE_ENCODER: Final = ("lm_head.", "contact_head.")

_LAYER_PARTS: Final = {
    "attention_norm": ("self_attn_layer_norm",),
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention_out": ("self_attn.out_proj",),
    "feed_forward_norm": ("final_layer_norm",),
    "up": ("fc1",),
    "down": ("fc2",),
}
"""Our parts of a layer, and the parts of fair-esm's layer that are concatenated to make each of them."""

_HUGGING_FACE_LAYER: Final = {
    "attention.LayerNorm": "self_attn_layer_norm",
    "attention.self.query": "self_attn.q_proj",
    "attention.self.key": "self_attn.k_proj",
    "attention.self.value": "self_attn.v_proj",
    "attention.output.dense": "self_attn.out_proj",
    "LayerNorm": "final_layer_norm",
    "intermediate.dense": "fc1",
    "output.dense": "fc2",
    "attention.self.rotary_embeddings": "self_attn.rot_emb",
}

_HUGGING_FACE_NAMES: Final = {
    "embeddings.word_embeddings": "embed_tokens",
    "encoder.emb_layer_norm_after": "emb_layer_norm_after",
    "rotary_embeddings": "rot_emb",  # one for all layers, in the models of transformers 5
    "encoder.layer.*.attention.self.rotary_embeddings": "rot_emb",  # the same in the files that it writes
    "lm_head.decoder": "lm_head",
}

_ENCODER_OF_HUGGING_FACE: Final = ("encoder.", "embeddings.")

_WITHOUT_EFFECT: Final = ("embeddings.position_embeddings.weight", "embeddings.position_ids")
"""Tensors in Hugging Face files that a model with rotary embeddings does not use."""


def fair_esm_sources(num_layers: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each of our parameters with the fair-esm parameters that make it up.

    Args:
        num_layers: Number of transformer layers.
    """
    yield EMBEDDING, (EMBEDDING,)
    for layer in range(num_layers):
        for part, sources in _LAYER_PARTS.items():
            for kind in ("weight", "bias"):
                yield (
                    f"layers.{layer}.{part}.{kind}",
                    tuple(f"layers.{layer}.{source}.{kind}" for source in sources),
                )
    for kind in ("weight", "bias"):
        yield f"final_norm.{kind}", (f"emb_layer_norm_after.{kind}",)


def surplus_names(names: Iterable[str], num_layers: int) -> list[str]:
    """Return the names of an encoder's tensors, by fair-esm's names, that ESM-2 of this depth does not have.

    Args:
        names: fair-esm's names of all tensors; heads and rotary frequencies are accepted.
        num_layers: Number of transformer layers.
    """
    known = {source for _, sources in fair_esm_sources(num_layers) for source in sources}
    return sorted(
        name
        for name in names
        if name not in known and not name.endswith(ROTARY) and not name.startswith(_OUTSIDE_THE_ENCODER)
    )


def from_hugging_face(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield fair-esm's name of each tensor in a Hugging Face file, with its name in the file.

    Heads and unused tensors are left out. A name in the encoder that ESM-2 does not have keeps its form.

    Args:
        names: Names in the file, with or without the prefix ``esm.``.
    """
    for stored in names:
        name = stored.removeprefix("esm.")
        if name in _WITHOUT_EFFECT:
            continue
        module, _, kind = name.rpartition(".")
        if (target := _HUGGING_FACE_NAMES.get(module)) is not None:
            yield f"{target}.{kind}", stored
        elif match := re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", module):
            yield f"layers.{match[1]}.{_HUGGING_FACE_LAYER.get(match[2], match[2])}.{kind}", stored
        elif name.startswith(_ENCODER_OF_HUGGING_FACE):
            yield name, stored


def to_hugging_face(name: str) -> str:
    """Return Hugging Face's name, without the prefix ``esm.``, of a tensor with this name in fair-esm."""
    module, _, kind = name.rpartition(".")
    for theirs, ours in _HUGGING_FACE_NAMES.items():
        if module == ours:
            return f"{theirs}.{kind}"
    for theirs, ours in _HUGGING_FACE_LAYER.items():
        if match := re.fullmatch(rf"layers\.(\d+)\.{re.escape(ours)}", module):
            return f"encoder.layer.{match[1]}.{theirs}.{kind}"
    return name
