# SPDX-License-Identifier: MIT
"""The knobs of the built-in target: the one place where each of them is defined.

Command line, grids, tables, files and run ids all work from these definitions.
"""

from __future__ import annotations

from typing import Final

from virnuc_profiler.inference.argument_checks import MAX_INT32
from virnuc_profiler.targets.knobs.knob import ChoiceKnob, IntegerKnob, Knob

BUILTIN: Final[tuple[Knob, ...]] = (
    IntegerKnob(
        name="num_workers", default=4, low=0, high=1024, code="w", heading="Workers", part="loader",
        help="DataLoader processes; 0 reads in the main process",
    ),
    IntegerKnob(
        name="prefetch_factor", default=4, low=1, high=1024, code="pf", heading="Prefetch", part="loader",
        help="chunks that each worker keeps ready", idle_without="num_workers",
    ),
    IntegerKnob(  # at least BOS, one residue and EOS; at most what int32 cumulative lengths count
        name="token_budget", default=4096, low=3, high=MAX_INT32, code="tb", heading="Budget", part="collator",
        help="most tokens of a packed batch", argument="max_tokens_per_batch",
    ),
    IntegerKnob(
        name="buffer_size", default=2000, low=1, high=MAX_INT32, code="bs", heading="Buffer", part="collator",
        help="sequences collected before they are packed",
    ),
    ChoiceKnob(
        name="precision", choices=("fp16", "bf16", "fp32", "fp8"), code="", heading="Precision", part="model",
        help="precision of the model", default_text="fp16 on a GPU, fp32 on a CPU",
        model_keys=("precision", "attention_backend", "kernels", "bytes_per_token", "fixed_bytes"), since="1.1",
    ),
)  # fmt: skip
"""All of them, in the order of run ids and tables."""
