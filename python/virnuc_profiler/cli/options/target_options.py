# SPDX-License-Identifier: MIT
"""``--target`` and ``--knob``: which program is measured, and with which values of its knobs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from virnuc_profiler.errors import UsageError
from virnuc_profiler.inference.esm2.config import resolve_model_name
from virnuc_profiler.targets.contract import TargetOptions
from virnuc_profiler.targets.knobs.configuration import (
    BUILTIN_KNOBS,
    BUILTIN_TARGET,
    Configuration,
    KnobSet,
    with_absolute_path,
)
from virnuc_profiler.targets.knobs.target_facts import BUILTIN_FACTS, TargetFacts
from virnuc_profiler.targets.registry import TARGETS

if TYPE_CHECKING:
    from virnuc_profiler.cli.options.isolation import ModelHost
    from virnuc_profiler.sweep.plan.steps import Grid
    from virnuc_profiler.targets.knobs.knob import Knob, KnobValue

_PRECISION: Final = "precision"
"""A knob of the built-in target that the factory of any other one is given too."""
_DEFAULT: Final = "default"
"""What tables show for a knob whose value is left to the program."""


def add_target_options(parser: argparse.ArgumentParser, *, lists: bool) -> None:
    """Add ``--target`` and ``--knob``.

    Args:
        parser: Parser of the command.
        lists: Whether knobs take lists of values to try, rather than one value each.
    """
    group = parser.add_argument_group("target")
    names = ", ".join((BUILTIN_TARGET, *TARGETS))
    group.add_argument(
        "--target", type=target_of_text, default=BUILTIN_TARGET, metavar="NAME",
        help=f"program that is measured: {names}, or your own as module:factory or path/to/file.py:factory "
        f"(default: {BUILTIN_TARGET})",
    )  # fmt: skip
    values = "NAME=V1,V2" if lists else "NAME=VALUE"
    what = "values to try of a knob" if lists else "value of a knob"
    single = "a single value holds in every step; " if lists else ""
    group.add_argument(
        "--knob", action="append", type=_assignment, metavar=values,
        help=f"{what} of the target that has no option of its own; {single}may be repeated "
        "(default: the target's own, which doctor --target NAME lists)",
    )  # fmt: skip


def facts_of_target(arguments: argparse.Namespace, host: ModelHost) -> TargetFacts:
    """Return what the chosen target is tuned by. It is made on its device, which may take as long as loading a model.

    Args:
        arguments: The parsed options.
        host: Process in which it is made.

    Raises:
        UsageError: There is no such target, its package is missing, or it does not keep the contract.
        VirnucError: It could not be made.
    """
    if arguments.target == BUILTIN_TARGET:
        return BUILTIN_FACTS
    device = str(host.resolve_device(arguments.device, {}))
    precision = arguments.precision
    if isinstance(precision, tuple):
        precision = precision[0] if len(precision) == 1 else None
    return host.knobs_of(arguments.target, TargetOptions(device, arguments.model, arguments.weights, precision))


def resolve_model(arguments: argparse.Namespace, given: dict[str, Any], target: str) -> None:
    """Replace the name of a model by its full one, unless the target has names of its own.

    Args:
        arguments: The parsed options, which are changed.
        given: Options that were given, by name, which are changed too.
        target: The target.

    Raises:
        UsageError: The built-in target has no such model.
    """
    if target == BUILTIN_TARGET and "model" in given:
        arguments.model = given["model"] = resolve_model_name(given["model"])


def values_given(given: Mapping[str, Any], knobs: KnobSet) -> dict[str, tuple[KnobValue, ...]]:
    """Return the values of knobs that were given, by options of their own or by ``--knob``.

    Args:
        given: Options that were given, by name.
        knobs: Knobs of the target.

    Raises:
        UsageError: The target has no such knob, or it cannot have such a value, or it was given twice.
    """
    found: dict[str, tuple[KnobValue, ...]] = {}
    for name in BUILTIN_KNOBS:
        if name in given and not _is_for_the_factory(name, given[name], knobs):
            values = given[name] if isinstance(given[name], tuple) else (given[name],)
            found[name] = _checked(knobs, name, values, f"{BUILTIN_KNOBS[name].option} has no effect here")
    for name, text in given.get("knob", ()):
        if knobs.is_builtin and name in knobs:
            raise UsageError(f"--knob {name} has an option of its own: use {knobs[name].option}")
        if name in found:
            raise UsageError(f"{name} is given twice: leave one of them out")
        found[name] = _parsed(_required(knobs, name, f"--knob {name} has no effect here"), text)
    return found


def configuration_given(given: Mapping[str, Any], knobs: KnobSet) -> Configuration:
    """Return the one configuration that options name; a knob without a value has its default.

    Args:
        given: Options that were given, by name.
        knobs: Knobs of the target.

    Raises:
        UsageError: The target has no such knob, it cannot have such a value, or it was given several.
    """
    values = values_given(given, knobs)
    for name, chosen in values.items():
        if len(chosen) > 1:
            raise UsageError(f"--knob {name} has {len(chosen)} values; only sweep takes lists")
    return knobs.baseline.replace(**{name: chosen[0] for name, chosen in values.items()})


def grid_given(given: Mapping[str, Any], knobs: KnobSet, *, searched: bool = False) -> Grid:
    """Return the lists of values that a sweep tries, as its journal holds them.

    Of the built-in target, a list replaces the default ones. A single value of a knob that needs a model of its own is
    none: the whole sweep runs with that model. Of any other target, the lists that it names itself are among them.

    Args:
        given: Options that were given, by name.
        knobs: Knobs of the target.
        searched: Whether a search explores the ranges of the knobs that were not given.

    Raises:
        UsageError: The target has no such knob, or it cannot have such a value, or nothing is varied.
    """
    lists = values_given(given, knobs)
    if knobs.is_builtin:
        return {name: values for name, values in lists.items() if len(values) > 1 or not knobs[name].needs_new_model}
    if searched:
        return lists
    own = {name: tried for name, knob in knobs.items() if len(tried := knob.tried()) > 1}
    return {name: {**own, **lists}[name] for name in knobs if name in own or name in lists}


def refuse_options_of_builtin(given: Mapping[str, Any], target: str) -> None:
    """Refuse options that only the built-in target has.

    Args:
        given: Options that were given, by name.
        target: The target.

    Raises:
        UsageError: There is such an option.
    """
    if target != BUILTIN_TARGET and "min_cosine" in given:
        raise UsageError(f"--min-cosine has no effect with --target {target}: leave it out")


def option_of(knobs: KnobSet, name: str) -> str:
    """Return the option that gives a knob its values, such as ``--num-workers`` or ``--knob batch_size``.

    Args:
        knobs: Knobs of the target.
        name: Name of the knob.
    """
    return BUILTIN_KNOBS[name].option if name in BUILTIN_KNOBS else f"--knob {knobs[name].name}"


def _is_for_the_factory(name: str, value: Any, knobs: KnobSet) -> bool:
    """Return whether a precision goes to the factory of the target, because that has no knob for it.

    Raises:
        UsageError: There are several.
    """
    if name != _PRECISION or knobs.is_builtin or name in knobs:
        return False
    if isinstance(value, tuple) and len(value) > 1:
        raise UsageError(f"--precision takes one value with --target {knobs.target}, which has no knob of that name")
    return True


def _required(knobs: KnobSet, name: str, problem: str) -> Knob:
    try:
        return knobs.require(name)
    except ValueError as error:
        raise UsageError(f"{problem}: {error}") from None


def _checked(knobs: KnobSet, name: str, values: Sequence[KnobValue], problem: str) -> tuple[KnobValue, ...]:
    knob = _required(knobs, name, problem)
    try:
        return knob.check_list(values)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _parsed(knob: Knob, text: str) -> tuple[KnobValue, ...]:
    """Read values of a knob, where ``default`` leaves the choice to a program that can make it."""
    choosing = knob.default is None and not knob.accepts(_DEFAULT)
    try:
        if choosing and _DEFAULT in (parts := [part.strip() for part in text.split(",")]):
            return knob.check_list([None if part == _DEFAULT else knob.parse(part) for part in parts])
        return knob.parse_list(text)
    except ValueError as error:
        raise UsageError(f"--knob {knob.name}: {error}") from None


def target_of_text(text: str) -> str:
    """Read a target; of one in a file, the path holds from any folder."""
    if not text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a target")
    return with_absolute_path(text)


def _assignment(text: str) -> tuple[str, str]:
    name, equals, values = text.partition("=")
    if not equals or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name.strip(), values
