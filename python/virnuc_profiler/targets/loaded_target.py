# SPDX-License-Identifier: MIT
"""A target that was made: what it says of itself, checked, and calls that do not end this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from virnuc_profiler.analysis.model_cost import ModelShape
from virnuc_profiler.errors import ModelError, UsageError, VirnucError, first_line
from virnuc_profiler.targets.containment.guarded_call import guarded_call
from virnuc_profiler.targets.containment.process_state import ProcessState
from virnuc_profiler.targets.knobs.configuration import Configuration, KnobSet
from virnuc_profiler.targets.knobs.knob import Knob
from virnuc_profiler.targets.registry import make_target, source_version
from virnuc_profiler.targets.target_source import TargetSource
from virnuc_profiler.telemetry.values import plain_items

if TYPE_CHECKING:
    from virnuc_profiler.targets.contract import Target, TargetOptions
    from virnuc_profiler.targets.target_workload import TargetWorkload

_SHOWN: Final[tuple[str, ...]] = ("precision", "weights", "attention_backend")
"""Keys of a description that tables and files of any model have."""

_log = logging.getLogger(__name__)


class LoadedTarget:
    """A target and what it says of itself.

    Args:
        target: What a factory has made.
        name: Target as the user named it.
        source: Fingerprint of the file that holds it, by the name of the file; empty if there is none.

    Attributes:
        target: The target.
        name: Target as the user named it.
        knobs: Its knobs.
        about: What identifies the program, as the target describes it.

    Raises:
        UsageError: It describes itself or its knobs in another way than the contract says.
        ModelError: It cannot say what it is.
    """

    def __init__(self, target: Target, name: str, source: Mapping[str, str] = MappingProxyType({})) -> None:
        self.target = target
        self.name = name
        self._source = source
        self.about = _checked_description(_asked(target.describe, name), name)
        self.knobs = _checked_knobs(_asked(target.knobs, name), name)

    @classmethod
    def make(cls, name: str, options: TargetOptions) -> LoadedTarget:
        """Make a target, and ask what it is.

        Args:
            name: A registered name, ``module:factory``, or ``path/to/file.py:factory``.
            options: Options of the factory.

        Raises:
            UsageError: There is no such target, its package is missing, or it does not keep the contract.
            ModelError: The factory failed.
        """
        return cls(make_target(name, options), name, source_version(name))

    @property
    def description(self) -> dict[str, Any]:
        """The program and its model, under the keys that describe any model, and all of it as ``target``."""
        known = {key: self.about[key] for key in _SHOWN if key in self.about}
        return {"model_name": self.about.get("model_name", self.about["name"]), **known, "target": self.about}

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of the packages that it names, and which version of its own file this is."""
        named = self.about.get("versions")
        versions = named if isinstance(named, dict) else {}
        return {**self._source, **{str(name): str(version) for name, version in versions.items()}}

    @property
    def shape(self) -> ModelShape | None:
        """Shape of the model, if it says ``num_layers`` and ``hidden_size``."""
        layers, size = self.about.get("num_layers"), self.about.get("hidden_size")
        return ModelShape(layers, size) if isinstance(layers, int) and isinstance(size, int) else None

    @property
    def probe(self) -> Callable[[int], None] | None:
        """Function that runs one batch of about that many tokens with the defaults of the knobs; None without one."""
        probe = getattr(self.target, "probe", None)
        if probe is None:
            return None

        def run(tokens: int) -> None:
            with guarded_call(self.name):
                probe(self.knobs.baseline, tokens)

        return run

    def facts(self) -> dict[str, Any]:
        """Return what a process needs to know to plan a sweep over the knobs, in JSON's types.

        ``min_packing`` is there only if the target has a rule of its own, which may be None for no rule.
        """
        own = {"min_packing": self.target.min_packing} if hasattr(self.target, "min_packing") else {}
        return {"knobs": self.knobs.to_json(), "has_probe": self.probe is not None, **own}

    def source(self, workload: TargetWorkload, configuration: Configuration) -> TargetSource:
        """Return a run over a workload.

        Args:
            workload: Sequences to run.
            configuration: Value of each knob.
        """
        return TargetSource(self.target, self.name, workload, configuration)

    def warm_up(self, workload: TargetWorkload, configuration: Configuration) -> bool:
        """Warm up, and return whether the target has a warm-up of its own.

        Args:
            workload: A few sequences.
            configuration: Value of each knob.
        """
        own = getattr(self.target, "warm_up", None)
        if own is None:
            return False
        before = ProcessState.now()
        try:
            with guarded_call(self.name):
                own(workload, configuration)
        finally:
            before.restore()
        return True

    def close(self) -> None:
        """Close the target, and log an error instead of raising it."""
        close = getattr(self.target, "close", None)
        if close is None:
            return
        try:
            with guarded_call(self.name):
                close()
        except Exception as error:
            _log.warning("%s could not be closed: %s", self.name, first_line(error))


def _asked(method: Callable[[], Any], name: str) -> Any:
    """Call a method that says something of the target."""
    try:
        with guarded_call(name):
            return method()
    except VirnucError:
        raise
    except Exception as error:
        what = getattr(method, "__name__", "a method")
        raise ModelError(f"{what}() of {name} failed: {type(error).__name__}: {first_line(error)}") from error


def _checked_description(found: Any, name: str) -> dict[str, Any]:
    if not isinstance(found, Mapping) or not isinstance(found.get("name"), str):
        raise UsageError(f"describe() of {name} returned {found!r:.80}; it must be a dict with a name")
    try:
        return plain_items(found, f"describe() of {name}")
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from None


def _checked_knobs(found: Any, name: str) -> KnobSet:
    try:
        knobs = tuple(found)
        if wrong := [knob for knob in knobs if not isinstance(knob, Knob)]:
            raise TypeError(f"{wrong[0]!r:.80} is no knob")
        return KnobSet(name, knobs)
    except (TypeError, ValueError) as error:
        raise UsageError(f"knobs() of {name} cannot be used: {error}") from None
