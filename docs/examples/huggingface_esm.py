# SPDX-License-Identifier: MIT
"""Profile Hugging Face's EsmModel over padded batches; the lines that end in `# +` are the only additions.

    python docs/examples/huggingface_esm.py                                    # ESM-2 650M on a GPU
    python docs/examples/huggingface_esm.py --device cpu --num-layers 2 --hidden-size 64 --num-heads 4 --sequences 64

It needs `pip install transformers`. Weights and sequences are random, which does not change the timings.
"""

import argparse
import random

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader
from transformers import EsmConfig, EsmModel

from virnuc_profiler import BatchProfiler, padded_statistics, render_stages  # +

BOS, PAD, EOS, MASK = 0, 1, 2, 32
TOKENS = {residue: token for token, residue in enumerate("LAGVSERTIDPKQNFYMHWC", start=4)}  # ESM-2's alphabet


def main() -> None:
    """Embed the sequences, print where the time went, and save the run."""
    options = parse_options()
    device = torch.device(options.device)
    model = build_model(options).to(device).eval()
    loader = DataLoader(
        random_proteins(options.sequences),
        batch_size=options.batch_size,
        collate_fn=collate,
        num_workers=options.workers,
        pin_memory=device.type == "cuda",
    )
    embeddings = []
    with (
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"),
        BatchProfiler(device=device) as profiler,  # +
    ):
        for ids, mask in profiler.batches(loader):  # +
            profiler.current_batch.set_packing(padded_statistics(mask.sum(1)))  # +
            profiler.current_batch.mark("h2d")  # +
            ids, mask = ids.to(device, non_blocking=True), mask.to(device, non_blocking=True)
            profiler.current_batch.mark("forward")  # +
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
            profiler.current_batch.mark("pool")  # +
            pooled = (hidden * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
            profiler.current_batch.mark("d2h")  # +
            embeddings.append(pooled.float().cpu())
    print(render_stages(profiler.result), "saved as", profiler.result.save(options.output), sep="\n")  # +
    print(f"{sum(map(len, embeddings))} embeddings")


def parse_options() -> argparse.Namespace:
    """Parse the options, whose defaults are ESM-2 650M."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument("--num-layers", type=int, default=33)
    options.add_argument("--hidden-size", type=int, default=1280)
    options.add_argument("--num-heads", type=int, default=20)
    options.add_argument("--sequences", type=int, default=1000)
    options.add_argument("--batch-size", type=int, default=32)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--output", default="run.json")
    return options.parse_args()


def build_model(options: argparse.Namespace) -> EsmModel:
    """Build an ESM-2 encoder of the requested size."""
    config = EsmConfig(
        vocab_size=33,
        hidden_size=options.hidden_size,
        num_hidden_layers=options.num_layers,
        num_attention_heads=options.num_heads,
        intermediate_size=4 * options.hidden_size,
        max_position_embeddings=1026,
        position_embedding_type="rotary",
        token_dropout=True,
        pad_token_id=PAD,
        mask_token_id=MASK,
    )
    return EsmModel(config, add_pooling_layer=False)


def random_proteins(count: int) -> list[str]:
    """Generate sequences of 50 to 500 residues."""
    source = random.Random(0)
    return ["".join(source.choices(list(TOKENS), k=source.randint(50, 500))) for _ in range(count)]


def collate(sequences: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and attention mask, each (B, longest + 2)."""
    rows = [torch.tensor([BOS, *(TOKENS[residue] for residue in sequence), EOS]) for sequence in sequences]
    ids = pad_sequence(rows, batch_first=True, padding_value=PAD)
    return ids, (ids != PAD).long()


if __name__ == "__main__":
    main()
