# SPDX-License-Identifier: MIT
"""The definition of a knob, read from JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, get_args

from virnuc_profiler.targets.knobs.knob import BooleanKnob, ChoiceKnob, IntegerKnob, Knob, Part

_KINDS: Final[Mapping[str, type[Knob]]] = {one.kind: one for one in (IntegerKnob, ChoiceKnob, BooleanKnob)}
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(("name", "help", "heading", "part", "argument", "default_text", "since"), (str,)),
    **dict.fromkeys(("code", "idle_without"), (str, type(None))),
    **dict.fromkeys(("tries", "model_keys", "choices"), (list,)),
    **dict.fromkeys(("low", "high"), (int,)),
    "log": (bool,),
    "default": (bool, int, str, type(None)),
}
"""Types of the attributes in JSON, by name."""


def knob_from_json(values: Any) -> Knob:
    """Read what :meth:`Knob.to_json` returned; attributes that this version does not know are left out.

    Args:
        values: The JSON.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(values, Mapping) or values.get("kind") not in _KINDS:
        raise ValueError(f"a knob must be an object whose kind is one of {', '.join(_KINDS)}")
    kind = _KINDS[values["kind"]]
    known = {each.name: values[each.name] for each in fields(kind) if each.name in values}
    for name, value in known.items():
        if not isinstance(value, _TYPES[name]):
            raise ValueError(f"{name} of a knob has the type {type(value).__name__}")
    if known.get("part", "run") not in get_args(Part):
        raise ValueError(f"part of a knob is not one of {', '.join(get_args(Part))}")
    if not all(isinstance(one, str) for name in ("choices", "model_keys") for one in known.get(name, ())):
        raise ValueError("choices and model_keys of a knob must be texts")
    return kind(**known)
