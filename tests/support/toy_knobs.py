# SPDX-License-Identifier: MIT
"""The knobs of a target that is not there, for tests of what works with any knobs."""

from virnuc_profiler.targets.knobs.configuration import KnobSet
from virnuc_profiler.targets.knobs.knob import BooleanKnob, ChoiceKnob, IntegerKnob

TOY = KnobSet(
    "toy",
    (
        IntegerKnob(name="batch_size", default=4, low=1, high=512, tries=(4, 16), help="sequences of a batch"),
        BooleanKnob(name="compile", default=False, tries=(False,), help="compiles the model"),
        ChoiceKnob(name="mode", default="plain", choices=("plain", "fast"), help="how fast it is"),
    ),
)
