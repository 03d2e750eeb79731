# SPDX-License-Identifier: MIT
"""The rotary frequencies of stored weights.

ESM-2 was trained with frequencies that are rounded to fp16, and the published checkpoints hold them. With exact ones,
the angles at position 1,000 differ by up to a quarter of a radian, and the vectors are not those of fair-esm.
"""

from __future__ import annotations

import logging
from typing import Final

import torch
from torch import Tensor

from virnuc_profiler.errors import ModelError
from virnuc_profiler.inference.esm2.checkpoints.stored_weights import StoredWeights
from virnuc_profiler.inference.esm2.checkpoints.weight_names import ROTARY
from virnuc_profiler.inference.ops.rotary import exact_frequencies

_ROUNDED_TO_FP16: Final = 1e-3
"""Limit of the relative error of frequencies that are exact or rounded to fp16, which is below 2^-11."""

_ROUNDED_TO_BF16: Final = 1e-2
"""Limit of the relative error of frequencies that are rounded to bf16, which is below 2^-8."""

_log = logging.getLogger(__name__)


def stored_frequencies(stored: StoredWeights) -> Tensor:
    """Return the rotary frequencies of stored weights, (head_dim / 2,) float32 on the CPU.

    Where they are missing, or a conversion has rounded them to bf16, those of the published models are returned, with a
    warning.

    Args:
        stored: Weights, of which each layer may have a copy of the frequencies.

    Raises:
        ModelError: The copies differ, or are not ESM-2's frequencies.
    """
    exact = exact_frequencies(stored.architecture.head_dim)
    names = [name for name in stored.state if name.endswith(ROTARY)]
    if not names:
        return _published(exact, f"{stored.origin} has no rotary frequencies")
    copies = [stored.require(name, tuple(exact.shape)).float().cpu() for name in names]
    first = stored.name_in_file(names[0])
    error = float((copies[0] / exact - 1).abs().max())
    if not error < _ROUNDED_TO_BF16:  # "not <" is also true for NaN
        raise ModelError(
            f"{stored.origin} has rotary frequencies in {first} that are not ESM-2's (base 10,000): it is another "
            "model, or was converted wrongly"
        )
    for name, other in zip(names, copies, strict=True):
        if not torch.equal(other, copies[0]):
            raise ModelError(
                f"{stored.origin} has other rotary frequencies in {stored.name_in_file(name)} than in {first}: layers "
                "with different ones are not supported"
            )
    if error < _ROUNDED_TO_FP16:
        return copies[0]
    return _published(exact, f"{stored.origin} has rotary frequencies that a conversion rounded to bf16")


def _published(exact: Tensor, reason: str) -> Tensor:
    _log.warning("%s: using those of the published ESM-2 models, which are rounded to fp16", reason)
    return exact.half().float()
