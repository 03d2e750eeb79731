# SPDX-License-Identifier: MIT
"""config.json and vocab.txt beside the weights: ESM-2's, or refused."""

import json

import esm
import pytest
import torch

from tests.support.huggingface_files import hugging_face_config
from tests.support.packed import TINY, fair_esm_model
from virnuc_profiler.errors import ModelError
from virnuc_profiler.inference.esm2.checkpoints.huggingface_config import read_config, require_vocabulary
from virnuc_profiler.inference.esm2.config import ARCHITECTURES, MODEL_NAMES

ALPHABET = esm.data.Alphabet.from_architecture("ESM-1b").all_toks


def written(tmp_path, document):
    path = tmp_path / "config.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def config(**changes):
    return hugging_face_config(fair_esm_model(TINY), **changes)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_the_six_models_are_recognized(name, tmp_path):
    architecture = ARCHITECTURES[name]
    with torch.device("meta"):
        oracle = esm.model.esm2.ESM2(architecture.num_layers, architecture.hidden_size, architecture.attention_heads)
    assert read_config(written(tmp_path, hugging_face_config(oracle))) == architecture


def test_transformers_own_config_is_read(tmp_path):
    transformers = pytest.importorskip("transformers")
    transformers.EsmConfig(**config()).save_pretrained(tmp_path)
    assert read_config(tmp_path / "config.json") == TINY


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_type", "bert"),
        ("position_embedding_type", "absolute"),  # ESM-1b
        ("rope_theta", 500.0),
        ("token_dropout", False),
        ("emb_layer_norm_before", True),
        ("layer_norm_eps", 1e-12),
        ("vocab_size", 64),
        ("mask_token_id", 31),
        ("pad_token_id", 0),
        ("is_folding_model", True),
        ("is_decoder", True),
        ("intermediate_size", 64),
    ],
)
def test_a_config_of_another_model_is_refused(tmp_path, key, value):
    path = written(tmp_path, config(**{key: value}))
    with pytest.raises(ModelError, match=rf"{path} says {key} = {value!r}, but ESM-2"):
        read_config(path)


@pytest.mark.parametrize("key", ["position_embedding_type", "token_dropout", "layer_norm_eps", "vocab_size"])
def test_a_missing_key_has_hugging_faces_default(tmp_path, key):
    document = config()
    del document[key]
    with pytest.raises(ModelError, match=f"says {key} = "):
        read_config(written(tmp_path, document))


@pytest.mark.parametrize("key", ["is_decoder", "add_cross_attention", "emb_layer_norm_before", "rope_theta"])
def test_keys_that_may_be_missing(tmp_path, key):
    document = config()
    document.pop(key, None)
    assert read_config(written(tmp_path, document)) == TINY


@pytest.mark.parametrize("key", ["num_hidden_layers", "hidden_size", "num_attention_heads"])
@pytest.mark.parametrize("value", [None, 0, -1, "32", 31.0, 7, True])
def test_sizes_that_make_no_model_are_refused(tmp_path, key, value):
    document = config(**{key: value})
    if (key, value) == ("num_hidden_layers", 7):
        document["num_hidden_layers"] = []
    with pytest.raises(ModelError, match=r"config\.json"):
        read_config(written(tmp_path, document))


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not JSON"), ("[]", "holds no JSON object"), ("\ufeff{}", "is not JSON")]
)
def test_other_files_are_refused(tmp_path, text, message):
    with pytest.raises(ModelError, match=message):
        read_config(written(tmp_path, text))
    with pytest.raises(ModelError, match=r"absent\.json cannot be read: No such file"):
        read_config(tmp_path / "absent.json")


def test_the_vocabulary_is_fair_esms(tmp_path):
    path = tmp_path / "vocab.txt"
    require_vocabulary(path, ALPHABET)  # it may be absent
    path.write_text("\n".join(ALPHABET))
    require_vocabulary(path, ALPHABET)
    path.write_text("\n".join(ALPHABET[:-1]))
    with pytest.raises(ModelError, match=r"vocab\.txt has nothing as token 32, but ESM-2's alphabet has <mask>"):
        require_vocabulary(path, ALPHABET)
    swapped = [*ALPHABET[:4], ALPHABET[5], ALPHABET[4], *ALPHABET[6:]]
    path.write_text("\n".join(swapped))
    with pytest.raises(ModelError, match="has A as token 4, but ESM-2's alphabet has L"):
        require_vocabulary(path, ALPHABET)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ModelError, match=r"vocab\.txt cannot be read"):
        require_vocabulary(path, ALPHABET)
