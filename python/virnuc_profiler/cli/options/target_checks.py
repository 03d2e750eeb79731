# SPDX-License-Identifier: MIT
"""The doctor's checks of targets: which of them can be made here, and what one says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from virnuc_profiler.capture.device_checks import BROKEN, MISSING, OK, Check
from virnuc_profiler.errors import VirnucError
from virnuc_profiler.targets.contract import TargetOptions
from virnuc_profiler.targets.knobs.configuration import BUILTIN_TARGET
from virnuc_profiler.targets.knobs.knob import Knob
from virnuc_profiler.targets.knobs.target_facts import TargetFacts
from virnuc_profiler.targets.registry import TARGETS, is_installed

_OPTIONAL: Final[Mapping[str, str]] = {
    "probe": "a memory forecast (probe)",
    "warm_up": "a warm-up of its own (warm_up)",
    "close": "a clean-up of its own (close)",
}
"""What a target may have beside its contract, in words."""


def registered_checks() -> Iterator[Check]:
    """Check which targets have their package."""
    for name, known in TARGETS.items():
        if not known.package or is_installed(known.package):
            yield Check(f"target {name}", OK, known.summary)
        else:
            yield Check(f"target {name}", MISSING, f"the package {known.package} is not installed", known.install)


def target_checks(name: str, options: TargetOptions) -> Iterator[Check]:
    """Make a target, and check what it says of itself.

    Args:
        name: Target as the user names it.
        options: Options of its factory.
    """
    if name == BUILTIN_TARGET:
        yield Check("target", OK, "builtin: the loader, the packing, the model and the runner of this package")
        return
    from virnuc_profiler.targets.loaded_target import LoadedTarget

    known = TARGETS.get(name)
    try:
        target = LoadedTarget.make(name, options)
        facts = TargetFacts.from_json(target.facts())
    except VirnucError as error:
        missing = known is not None and known.package and not is_installed(known.package)
        yield Check("target", BROKEN, str(error), known.install if known is not None and missing else "")
        return
    said = {key: value for key, value in target.about.items() if key != "name"}
    has = [words for attribute, words in _OPTIONAL.items() if callable(getattr(target.target, attribute, None))]
    target.close()
    yield Check("target", OK, f"{target.about['name']}, on {options.device}")
    yield Check("target describes", OK, "; ".join(f"{key}: {_text(value)}" for key, value in said.items()) or "no more")
    yield from (Check(f"knob {knob.name}", OK, _described(knob)) for knob in target.knobs.values())
    yield _packing(facts)
    yield Check("target also has", OK, ", ".join(has) or "nothing beyond its contract")


def _packing(facts: TargetFacts) -> Check:
    if not facts.has_packing_rule:
        return Check("target packing", OK, "the best configuration may pack as it likes")
    required = "the usual share" if facts.min_packing is None else f"{facts.min_packing:.0%}"
    return Check("target packing", OK, f"the best configuration must reach {required}")


def _described(knob: Knob) -> str:
    tried = ", ".join(map(knob.text, knob.tried()))
    default = knob.text(knob.default) if knob.default is not None else knob.default_text or "left to the program"
    return f"{knob.help or knob.heading}: {knob.range_text()}; default: {default}; tried: {tried}"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {one}" for key, one in value.items())
    return str(value)
