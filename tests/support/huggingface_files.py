# SPDX-License-Identifier: MIT
"""Hugging Face folders of ESM-2 models, written by hand from a fair-esm model."""

import json

import esm
import torch
from safetensors.torch import save_file

_LAYER = {
    "self_attn_layer_norm": "attention.LayerNorm",
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "self_attn.rot_emb": "attention.self.rotary_embeddings",
    "final_layer_norm": "LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
}

_MASKED_LM = {
    "embed_tokens.weight": "esm.embeddings.word_embeddings.weight",
    "emb_layer_norm_after.weight": "esm.encoder.emb_layer_norm_after.weight",
    "emb_layer_norm_after.bias": "esm.encoder.emb_layer_norm_after.bias",
    "contact_head.regression.weight": "esm.contact_head.regression.weight",
    "contact_head.regression.bias": "esm.contact_head.regression.bias",
    "lm_head.weight": "lm_head.decoder.weight",
}


def hugging_face_tensors(model, dtype=torch.float32, prefix="esm."):
    """Return a fair-esm model's tensors under the names of an ``EsmForMaskedLM``, with copies of the frequencies.

    Args:
        model: fair-esm model.
        dtype: Data type of the tensors.
        prefix: ``esm.``, or nothing, as in a file of an ``EsmModel``.
    """
    found = {}
    for name, value in model.state_dict().items():
        if name.startswith("layers."):
            _, layer, module = name.split(".", 2)
            module, kind = module.rsplit(".", 1)
            stored = f"esm.encoder.layer.{layer}.{_LAYER[module]}.{kind}"
        else:
            stored = _MASKED_LM.get(name, name)
        found[prefix + stored.removeprefix("esm.") if stored.startswith("esm.") else stored] = value.to(dtype).clone()
    hidden_size = model.embed_dim
    found[f"{prefix}embeddings.position_embeddings.weight"] = torch.ones(1026, hidden_size, dtype=dtype)
    found[f"{prefix}embeddings.position_ids"] = torch.arange(1026)[None]
    found[f"{prefix}pooler.dense.weight"] = torch.ones(hidden_size, hidden_size, dtype=dtype)
    return found


def hugging_face_config(model, **changes):
    """Return the ``config.json`` of a fair-esm model, as the published ones are."""
    return {
        "architectures": ["EsmForMaskedLM"],
        "model_type": "esm",
        "num_hidden_layers": model.num_layers,
        "hidden_size": model.embed_dim,
        "num_attention_heads": model.attention_heads,
        "intermediate_size": 4 * model.embed_dim,
        "position_embedding_type": "rotary",
        "token_dropout": True,
        "emb_layer_norm_before": False,
        "is_folding_model": False,
        "layer_norm_eps": 1e-05,
        "mask_token_id": 32,
        "pad_token_id": 1,
        "vocab_size": 33,
        "vocab_list": None,
        **changes,
    }


def save_hugging_face(model, folder, *, dtype=torch.float32, prefix="esm.", shards=1, tensors=None, **config):
    """Write the folder of a Hugging Face model and return it.

    Args:
        model: fair-esm model.
        folder: Folder to make.
        dtype: Data type of the tensors.
        prefix: Prefix of the encoder's names.
        shards: Number of safetensors files; more than one come with an index.
        tensors: Tensors to write instead of those of `model`.
        config: Values of the ``config.json`` that differ.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = hugging_face_tensors(model, dtype, prefix) if tensors is None else tensors
    alphabet = esm.data.Alphabet.from_architecture("ESM-1b").all_toks
    (folder / "vocab.txt").write_text("\n".join(alphabet) + "\n")
    (folder / "config.json").write_text(json.dumps(hugging_face_config(model, **config)))
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder
    parts = {name: f"model-{1 + number % shards:05}-of-{shards:05}.safetensors" for number, name in enumerate(tensors)}
    for part in set(parts.values()):
        save_file({name: tensors[name] for name in tensors if parts[name] == part}, folder / part)
    index = {"metadata": {"total_size": 0}, "weight_map": parts}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder
