# SPDX-License-Identifier: MIT
"""Packs of random proteins, fair-esm as the oracle, and a profiler that keeps its calls."""

import argparse
from itertools import chain

import esm
import numpy as np
import torch

from virnuc_profiler._core import pack_statistics
from virnuc_profiler.inference.batches import PackedBatch
from virnuc_profiler.inference.esm2.config import Architecture

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
TINY = Architecture(num_layers=3, hidden_size=32, attention_heads=2)

_ALPHABET = esm.data.Alphabet.from_architecture("ESM-1b")


def fair_esm_model(architecture, seed=0):
    """Return fair-esm's model with its own random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = esm.model.esm2.ESM2(architecture.num_layers, architecture.hidden_size, architecture.attention_heads)
    return model.eval().requires_grad_(False)


def round_frequencies(model):
    """Round a fair-esm model's rotary frequencies to fp16, as those of the published models are, and return it."""
    for layer in model.layers:
        frequencies = layer.self_attn.rot_emb.inv_freq
        frequencies.copy_(frequencies.half())
    return model


def save_checkpoint(model, path):
    """Save a model in the format in which fair-esm publishes ESM-2."""
    state = {
        ("encoder." if name.startswith("lm_head") else "encoder.sentence_encoder.") + name: value
        for name, value in model.state_dict().items()
        if not name.startswith("contact_head")
    }
    settings = argparse.Namespace(
        encoder_layers=model.num_layers,
        encoder_embed_dim=model.embed_dim,
        encoder_attention_heads=model.attention_heads,
        token_dropout=True,
    )
    torch.save({"cfg": {"model": settings}, "model": state}, path)
    return path


def proteins(lengths, seed=0):
    """Return one random protein for each number of residues."""
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(RESIDUES), length)) for length in lengths]


def padded_oracle(model, sequences, device="cpu", batch_size=8):
    """Return fair-esm's last representation of each sequence, BOS and EOS included, from padded batches."""
    if len(sequences) > batch_size:
        by_length = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
        found = {}
        for first in range(0, len(by_length), batch_size):
            chosen = by_length[first : first + batch_size]
            found.update(
                zip(chosen, padded_oracle(model, [sequences[i] for i in chosen], device, batch_size), strict=True)
            )
        return [found[index] for index in range(len(sequences))]
    _, _, tokens = _ALPHABET.get_batch_converter()([("", sequence) for sequence in sequences])
    with torch.inference_mode():
        hidden = model(tokens.to(device), repr_layers=[model.num_layers])["representations"][model.num_layers]
    lengths = (tokens != _ALPHABET.padding_idx).sum(1).tolist()
    return [rows[:length] for rows, length in zip(hidden, lengths, strict=True)]


def packed_batch(sequences, first_position=0, token_budget=None):
    """Pack sequences that fair-esm tokenizes; identifiers are ``seq<position>``."""
    encoded = [[_ALPHABET.cls_idx, *_ALPHABET.encode(sequence), _ALPHABET.eos_idx] for sequence in sequences]
    cu_seqlens = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
    positions = np.arange(first_position, first_position + len(sequences))
    return PackedBatch(
        tokens=torch.tensor([*chain.from_iterable(encoded)], dtype=torch.uint8),
        cu_seqlens=torch.from_numpy(cu_seqlens),
        max_seqlen=max(map(len, encoded)),
        positions=positions,
        sequence_ids=[f"seq{position}" for position in positions],
        statistics=pack_statistics(cu_seqlens, token_budget),
        collate_start_ns=1_000,
        collate_end_ns=2_000,
    )


def run_packed(model, sequences, **options):
    """Return the packed model's representation of each sequence, BOS and EOS included, on the CPU in fp32."""
    batch = packed_batch(sequences)
    with torch.inference_mode():
        hidden = model(
            batch.tokens.to(model.device), batch.cu_seqlens.to(model.device), batch.max_seqlen, **options
        ).float()
    return hidden.cpu().split(batch.cu_seqlens.diff().tolist())


def mean_over_residues(rows):
    """Return the embedding of one sequence from its rows, in the simplest way."""
    return rows[1:-1].double().mean(0)


class RecordedBatch:
    """Stands in for ``_core.Batch`` and keeps every call."""

    def __init__(self, index):
        self.index = index
        self.calls = []
        self.state = "open"
        self.packing = None

    def mark(self, stage, stream=None):
        assert self.state == "open"
        self.calls.append(stage)

    def mark_device_timestamped(self, stage, stream, followed_by, gapless):
        self.mark(stage, stream)
        return False

    def copy(self, stage, stream, target, source, size):
        return False  # no driver: the launcher copies with PyTorch

    def end_stage(self):
        self.calls.append("end_stage")

    def record_interval(self, stage, start_ns, end_ns):
        self.calls.append((stage, start_ns, end_ns))

    def set_packing(self, statistics):
        self.packing = statistics

    def end(self):
        assert self.state == "open"
        self.state = "ended"

    def discard(self):
        assert self.state == "open"
        self.state = "discarded"


class RecordingProfiler:
    """Stands in for a running BatchProfiler."""

    def __init__(self):
        self.begun = []
        self.stopped = 0  # ns

    def stopped_ns(self):
        return self.stopped

    def begin_batch(self):
        self.begun.append(RecordedBatch(len(self.begun)))
        return self.begun[-1]

    def batches(self, state="ended"):
        return [batch for batch in self.begun if batch.state == state]
