# SPDX-License-Identifier: MIT
"""What the programs that build on transformers share: configuration, tokenizer, weights and DataLoader."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from virnuc_profiler.errors import ModelError
from virnuc_profiler.inference.esm2.config import ALPHABET_SIZE, MASK_TOKEN, PADDING_TOKEN, Architecture
from virnuc_profiler.inference.sequences.fair_esm import import_fair_esm
from virnuc_profiler.targets.adapters.esm2_models import TINY, ModelSize, random_weights_on
from virnuc_profiler.targets.adapters.padded_batches import batches_of_tokens
from virnuc_profiler.targets.knobs.knob import BooleanKnob, IntegerKnob, Knob

if TYPE_CHECKING:
    import torch
    from torch.utils.data import DataLoader

    from virnuc_profiler.targets.contract import TargetOptions
    from virnuc_profiler.targets.knobs.configuration import Configuration
    from virnuc_profiler.targets.target_workload import TargetWorkload

_log = logging.getLogger(__name__)

SPECIAL_TOKENS: Final = 2
"""BOS and EOS, which are added to each sequence."""

LOADER_KNOBS: Final[Sequence[Knob]] = (
    IntegerKnob(
        name="batch_tokens",
        default=4096,
        low=3,
        high=2**24,
        tries=(4096, 16384, 65536),
        help="most tokens of a batch, padding included",
    ),
    BooleanKnob(
        name="sort_by_length",
        default=False,
        tries=(False, True),
        help="batches sequences of similar length together, the longest first",
    ),
    IntegerKnob(name="num_workers", default=0, low=0, high=1024, tries=(0, 4), help="DataLoader processes"),
)


def esm_config(transformers: Any, architecture: Architecture, **attributes: Any) -> Any:
    """Return the ``EsmConfig`` of an ESM-2 model.

    Args:
        transformers: The module.
        architecture: Shape of the model.
        **attributes: Further attributes of the configuration.
    """
    return transformers.EsmConfig(
        vocab_size=ALPHABET_SIZE,
        hidden_size=architecture.hidden_size,
        num_hidden_layers=architecture.num_layers,
        num_attention_heads=architecture.attention_heads,
        intermediate_size=4 * architecture.hidden_size,
        max_position_embeddings=1026,
        position_embedding_type="rotary",
        token_dropout=True,
        pad_token_id=PADDING_TOKEN,
        mask_token_id=MASK_TOKEN,
        **attributes,
    )


def load_weights(
    options: TargetOptions, size: ModelSize, pretrained: Callable[..., Any], random: Callable[[], Any]
) -> tuple[Any, str]:
    """Return a model on its device, and where its weights are from.

    Args:
        options: What the target was asked for. ``weights`` may be the path of a folder or the name of a repository.
        size: The model.
        pretrained: Loads a folder or repository; is given its name and ``local_files_only``.
        random: Builds the model with random weights.

    Raises:
        ModelError: The weights cannot be loaded.
    """
    weights = "random" if size.name == TINY else options.weights
    if weights != "random":
        source = f"facebook/{size.name}" if weights in ("auto", "pretrained") else weights
        try:
            return pretrained(source, local_files_only=weights == "auto").to(options.device).eval(), source
        except (OSError, ValueError) as error:
            if weights != "auto" or isinstance(error, ValueError):
                raise ModelError(f"{source} cannot be loaded ({error}): use --weights random for timings") from None
            _log.warning("%s is not in the cache: using random weights, which is enough for timings", source)
    with random_weights_on(options.device):
        return random().eval(), "random seed 0"


def esm_tokenizer(transformers: Any) -> Any:
    """Return transformers' tokenizer of ESM-2, which needs no download: all models have fair-esm's alphabet.

    Args:
        transformers: The module.
    """
    with TemporaryDirectory(prefix="virnuc_profiler_") as folder:
        vocabulary = Path(folder) / "vocab.txt"
        vocabulary.write_text("\n".join(import_fair_esm().data.Alphabet.from_architecture("ESM-1b").all_toks))
        return transformers.EsmTokenizer(str(vocabulary))


@dataclass(frozen=True, slots=True)
class TokenizingCollator:
    """Turns records into a padded batch, in a worker if the DataLoader has any.

    Attributes:
        tokenizer: transformers' tokenizer.
    """

    tokenizer: Any

    def __call__(self, records: Sequence[tuple[str, str]]) -> tuple[Sequence[str], torch.Tensor, torch.Tensor]:
        """Return identifiers, token ids (B, longest) and attention mask (B, longest)."""
        ids, sequences = zip(*records, strict=True)
        encoded = self.tokenizer(list(sequences), padding=True, return_tensors="pt")
        return ids, encoded["input_ids"], encoded["attention_mask"]


def padded_loader(
    workload: TargetWorkload, configuration: Configuration, tokenizer: Any, device: str
) -> DataLoader[Any]:
    """Return a DataLoader of padded batches.

    Args:
        workload: Sequences, which are read into memory.
        configuration: Values of :data:`LOADER_KNOBS`.
        tokenizer: transformers' tokenizer.
        device: Device of the model; batches for a GPU are pinned.
    """
    from torch.utils.data import DataLoader

    records: Any = list(workload.records())
    lengths = [len(sequence) + SPECIAL_TOKENS for _, sequence in records]
    return DataLoader(
        records,
        batch_sampler=batches_of_tokens(lengths, configuration["batch_tokens"], configuration["sort_by_length"]),
        num_workers=configuration["num_workers"],
        collate_fn=TokenizingCollator(tokenizer),
        pin_memory=device != "cpu",
    )
