# SPDX-License-Identifier: MIT
"""The contract that a program keeps to be profiled and tuned. Imports no PyTorch.

A program is wrapped by a :class:`Target`, and a factory makes it::

    def make(options: TargetOptions) -> Target: ...

Deadlines, failures, clean-up, telemetry, counts, the journal and the choice are the same for every target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from virnuc_profiler.targets.knobs.knob import Knob

if TYPE_CHECKING:
    from virnuc_profiler.capture.profiler import BatchProfiler
    from virnuc_profiler.targets.knobs.configuration import Configuration
    from virnuc_profiler.targets.target_workload import TargetWorkload


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """What a factory is given.

    Attributes:
        device: Device to run on, already resolved: ``cpu`` or ``cuda:N``.
        model: Model as the user named it, such as ``650M``; None if no model was named.
        weights: ``auto``, ``pretrained``, ``random`` or the path of weights.
        precision: Precision that the user asked for; None for the target's own default.
    """

    device: str
    model: str | None = None
    weights: str = "auto"
    precision: str | None = None


@runtime_checkable
class Target(Protocol):
    """A program that turns sequences into vectors and can be run again and again in one process.

    These are looked up by name and may be missing:

    - ``min_packing: float | None``: packing efficiency that its best configuration must reach. Without it the usual
      rule holds. None says that there is no such rule, as for padded batches.
    - ``stages: Sequence[str]``: names of the stages that it marks, if they are not the usual ones.
    - ``warm_up(workload, configuration)``: runs a few sequences unmeasured. Without it, :meth:`run` is called with a
      small part of the workload and a profiler whose result is dropped.
    - ``probe(configuration, tokens)``: runs one batch of about `tokens` tokens, padding included, for the forecast of
      device memory. Configurations are judged by it if a knob is called ``token_budget``, ``batch_tokens`` (both in
      tokens) or ``batch_size`` (in sequences).
    - ``close()``: releases everything; the target is not used afterwards.
    """

    def describe(self) -> Mapping[str, Any]:
        """Return what identifies the program, in JSON's types.

        Returns:
            ``name`` at least; ``model_name``, ``precision``, ``weights`` and ``versions`` (a mapping of package to
            version) where they apply, and whatever else must be equal for two results to be compared. With
            ``num_layers`` and ``hidden_size``, the FLOP/s of an ESM-2 model are reported.
        """

    def knobs(self) -> Sequence[Knob]:
        """Return the settings that it can be tuned by, with ranges and defaults."""

    def run(self, workload: TargetWorkload, configuration: Configuration, profiler: BatchProfiler) -> Iterator[int]:
        """Run all sequences of a workload, and yield after each batch how many sequences it did.

        Every batch is a batch of `profiler`, with its packing: ``profiler.batches(...)`` or
        ``profiler.begin_batch()``, then ``batch.set_packing(pack_statistics(cu_seqlens, budget))``, or
        ``batch.set_packing(padded_statistics(lengths))`` for a padded one, whose packing efficiency is the share of
        its tokens that is not padding.

        The sequences that are yielded, those that are recorded and those of the workload must be equally many. The
        iterator is closed early when a run is ended early. Processes that it has started must end with it; those that
        do not are killed. Signal handlers, working folder and start method are put back after the run.

        Args:
            workload: Sequences to run.
            configuration: Value of each knob.
            profiler: Running profiler that records the batches.
        """


MakeTarget: TypeAlias = Callable[[TargetOptions], Target]
"""A factory of targets."""
