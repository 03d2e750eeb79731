# SPDX-License-Identifier: MIT
import esm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virnuc_profiler import _core
from virnuc_profiler.inference.sequences.alphabet import NOT_IN_ALPHABET, residue_alphabet

ALPHABET = esm.data.Alphabet.from_architecture("ESM-1b")
LETTERS = "LAGVSERTIDPKQNFYMHWCXBUZO.-"
"""All letters of fair-esm's alphabet."""


def encode(texts, max_residues=10_000):
    parts = [text.encode("latin-1") for text in texts]
    ends = np.cumsum([len(part) for part in parts])
    starts = ends - [len(part) for part in parts]
    ours = residue_alphabet()
    return _core.encode_residues(
        b"".join(parts),
        starts,
        ends,
        ours.table,
        bos=ours.bos,
        eos=ours.eos,
        unknown=ours.unknown,
        max_residues=max_residues,
    )


def rows(encoded):
    return [encoded.tokens[a:b].tolist() for a, b in zip(encoded.offsets, encoded.offsets[1:], strict=False)]


def fair_esm(texts):
    """Return fair-esm's token ids without padding."""
    tokens = ALPHABET.get_batch_converter()([("", text) for text in texts])[2]
    return [[one for one in row.tolist() if one != ALPHABET.padding_idx] for row in tokens]


@pytest.mark.parametrize("letter", LETTERS)
def test_every_letter_has_fair_esms_id(letter):
    assert rows(encode([letter, letter.lower()])) == fair_esm([letter]) * 2


def test_no_other_byte_is_in_the_table():
    table = residue_alphabet().table
    assert {chr(byte) for byte in np.flatnonzero(table != NOT_IN_ALPHABET)} == set(LETTERS)


@given(st.lists(st.text(LETTERS, min_size=1, max_size=150), min_size=1, max_size=10))
def test_sequences_have_fair_esms_ids(texts):
    assert rows(encode(texts)) == fair_esm(texts)


@given(
    st.text(st.characters(max_codepoint=255), max_size=120).filter(lambda text: text.strip(" \t\n\r\v\f*")),
    st.integers(1, 130),
)
def test_any_bytes_follow_the_rule(text, limit):
    residues = [letter for letter in text if letter not in " \t\n\r\v\f"]
    if residues[-1] == "*":
        residues.pop()
    upper = [letter.upper() if letter.isascii() else letter for letter in residues]
    kept = upper[:limit]
    encoded = encode([text], limit)
    inner = [ALPHABET.get_idx(letter) for letter in kept]
    assert rows(encoded) == [[ALPHABET.cls_idx, *inner, ALPHABET.eos_idx]]
    assert encoded.unknown_residues == sum(letter not in LETTERS for letter in kept)
    assert encoded.truncated == (len(upper) > limit)
