# SPDX-License-Identifier: MIT
"""Take turns among the alternatives of one model on one workload, so that all share the GPU's thermal state."""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, Final, Protocol

import torch

from benchmarks.end_to_end import EndToEnd, Settings
from benchmarks.gpu_state import GpuStateReader
from benchmarks.matmul_load import MatmulLoad
from benchmarks.packed_forward import full_packs, packed_batches, packed_launch
from benchmarks.padded_baselines import (
    fair_esm_launch,
    hugging_face_launch,
    load_fair_esm,
    load_hugging_face,
    padded_batches,
)
from benchmarks.passes import Passes, means_of
from benchmarks.progress import say
from benchmarks.throughput_figures import (
    BEST,
    BEST_FP8,
    CEILING,
    DEFAULTS,
    FAIR_ESM,
    FORWARD,
    FORWARD_FP8,
    HUGGING_FACE,
    Figure,
    Table,
    Turn,
    shown,
)
from benchmarks.throughput_workloads import Workload
from virnuc_profiler import load_esm2_model
from virnuc_profiler.inference.esm2.config import ARCHITECTURES, resolve_model_name
from virnuc_profiler.inference.esm2.model import PackedESM2

MAX_REASON: Final = 100


class Alternative(Protocol):
    """Something that can be given a turn."""

    def turn(self, seconds: float, warm_up_s: float) -> Turn:
        """Work for about this long, after a warm-up that does not count."""


class Ceiling:
    """Large matrix products, at the speed that this GPU reaches in its present state."""

    def __init__(self, device: torch.device, size: int) -> None:
        self._load = MatmulLoad(device, size)
        self._states = GpuStateReader(device)

    def turn(self, seconds: float, warm_up_s: float) -> Turn:
        """Multiply for about this long. The warm-up brings the GPU's clocks and power to their steady state."""
        self._load.run(warm_up_s)
        tflops = self._load.run(seconds)
        return Turn(seconds, 0, tflops * 1e12 * seconds, *means_of([self._states.read()]))


class Models:
    """One ESM-2 model in all its forms. Each is loaded at its first turn and kept for the others."""

    def __init__(self, name: str, device: torch.device, precision: str) -> None:
        self.name = name
        self.device = device
        self.precision = precision
        self.architecture = ARCHITECTURES[resolve_model_name(name)]

    @cached_property
    def fair_esm(self) -> tuple[Any, torch.dtype]:
        """Return fair-esm's model, and the dtype that it computes in."""
        return load_fair_esm(self.architecture, self.device)

    @cached_property
    def hugging_face(self) -> tuple[Any, torch.dtype]:
        """Return Hugging Face's model, and the dtype that it computes in."""
        return load_hugging_face(self.architecture, self.device)

    @cached_property
    def ours(self) -> PackedESM2:
        """Return our model in the requested precision."""
        return self._load(self.precision)

    @cached_property
    def ours_fp8(self) -> PackedESM2:
        """Return our model in FP8 with the same weights, if it can run here."""
        return self._load("fp8")

    def _load(self, precision: str) -> PackedESM2:
        return load_esm2_model(self.name, self.device, precision=precision, weights="random")[0]


class Contest:
    """Give each alternative its turns. If one fails, its reason is kept and the others continue.

    Args:
        models: Models of one architecture.
        workload: Workload that they run.
        options: Options of the command line.
    """

    def __init__(self, models: Models, workload: Workload, options: argparse.Namespace) -> None:
        self._models = models
        self._workload = workload
        self._options = options
        self._alternatives: dict[int, Alternative] = {}
        self._figures: list[Figure] = []

    def run(self) -> Table:
        """Run all rounds. Every other round is reversed, so that drift favors no alternative."""
        for _ in range(self._options.rounds):
            if not self._figures:
                self._take_turns([self._enter(figure) for figure in self._forwards()])
                self._take_turns([self._enter(figure) for figure in self._end_to_ends()])
                order = list(range(len(self._figures)))
            else:
                order.reverse()
                self._take_turns(order)
        return self._table

    @property
    def _table(self) -> Table:
        return Table(self._models.name, self._workload.name, self._figures)

    def _enter(self, figure: Figure) -> int:
        self._figures.append(figure)
        return len(self._figures) - 1

    def _take_turns(self, order: Iterable[int]) -> None:
        for place in order:
            figure = self._figures[place]
            if not figure.reason:
                self._figures[place] = self._after_a_turn(place, figure)

    def _after_a_turn(self, place: int, figure: Figure) -> Figure:
        rounds, warm_up_s = self._options.rounds, self._options.warm_up_s
        seconds = self._options.ceiling_s if figure.role == CEILING else self._options.seconds
        where = f"{self._models.name}, {self._workload.name}, {figure.name} {figure.settings}".rstrip()
        try:
            if place not in self._alternatives:
                self._alternatives[place] = self._make(figure)
            turn = self._alternatives[place].turn(seconds / rounds, warm_up_s / rounds)
        except Exception as error:  # whatever it is, the other figures are worth having
            reason = describe(error)
            self._alternatives.pop(place, None)
        else:
            after = replace(figure, turns=(*figure.turns, turn))
            rate = f"{turn.tokens / turn.seconds:,.0f} tokens/s, " if turn.tokens else ""
            say(f"{where}: {rate}{turn.flops / turn.seconds / 1e12:,.1f} TFLOP/s, W {shown(turn.power_w)}")
            return after
        say(f"{where}: n/a, {reason}")
        free_device_memory()  # only now: the error held what it had allocated
        return replace(figure, reason=reason)

    def _forwards(self) -> list[Figure]:
        """Yield the alternatives that need no other figure."""
        only, size = self._options.only, self._options.matrix
        padded = f"padded batches of {self._options.padded_tokens:,}"
        kinds = ["fp16", "bf16"] if self._models.device.type == "cuda" else ["fp32", "fp32"]
        found = [Figure(CEILING, "matrix product", f"{size} x {size} x {size}")]
        if "a" in only:
            found.append(Figure(FAIR_ESM, "(a) fair-esm", f"{kinds[0]}, {padded}"))
        if "b" in only:
            found.append(Figure(HUGGING_FACE, "(b) Hugging Face", f"{kinds[1]}, SDPA, {padded}"))
        precision = self._models.precision
        for budget in self._budgets:
            found.append(Figure(FORWARD, "(c) forward alone", f"{precision}, packs of {budget:,}", budget))
            if self._options.fp8:
                found.append(Figure(FORWARD_FP8, "(c) forward alone", f"fp8, packs of {budget:,}", budget))
        return found

    @property
    def _budgets(self) -> list[int]:
        """Return the token budgets to measure. End-to-end runs need the forward pass's speed, so they include (c)."""
        only, budgets = self._options.only, list(self._options.token_budgets)
        if "d" in only and self._options.default_settings.token_budget not in budgets:
            budgets.append(self._options.default_settings.token_budget)
        return sorted(budgets) if {"c", "d"} & only else []

    def _end_to_ends(self) -> list[Figure]:
        """Yield the default settings, and the settings with the budget at which the forward pass alone is fastest."""
        if "d" not in self._options.only:
            return []
        defaults = self._options.default_settings
        found = [Figure(DEFAULTS, "(d) end to end, defaults", str(defaults), defaults.token_budget)]
        found.append(self._best(BEST, "(d) end to end, best", FORWARD))
        if self._options.fp8:
            found.append(self._best(BEST_FP8, "(d) end to end, best, fp8", FORWARD_FP8))
        return found

    def _best(self, role: str, name: str, forward: str) -> Figure:
        fastest = self._table.fastest(forward)
        if fastest is None or fastest.token_budget is None:
            return Figure(role, name, "", reason="(c) was measured at no budget")
        return Figure(role, name, str(self._best_settings(fastest.token_budget)), fastest.token_budget)

    def _best_settings(self, token_budget: int) -> Settings:
        options = self._options
        return Settings(options.num_workers, options.prefetch_factor, token_budget, options.buffer_size)

    def _make(self, figure: Figure) -> Alternative:
        return self._makers[figure.role](figure)

    @property
    def _makers(self) -> dict[str, Callable[[Figure], Alternative]]:
        return {
            CEILING: lambda _: Ceiling(self._models.device, self._options.matrix),
            FAIR_ESM: lambda _: self._padded(self._models.fair_esm, fair_esm_launch),
            HUGGING_FACE: lambda _: self._padded(self._models.hugging_face, hugging_face_launch),
            FORWARD: partial(self._packed, lambda: self._models.ours),
            FORWARD_FP8: partial(self._packed, lambda: self._models.ours_fp8),
            DEFAULTS: lambda _: self._end_to_end(self._models.ours, FORWARD, self._options.default_settings),
            BEST: lambda figure: self._best_end_to_end(self._models.ours, FORWARD, figure),
            BEST_FP8: lambda figure: self._best_end_to_end(self._models.ours_fp8, FORWARD_FP8, figure),
        }

    def _padded(self, model_and_dtype: tuple[Any, torch.dtype], launch: Callable[..., Any]) -> Passes:
        model, dtype = model_and_dtype
        batches = padded_batches(self._workload.encoded, self._options.padded_tokens, self._models.architecture, dtype)
        return Passes(self._models.device, batches, launch(model, self._models.device), first_batches=len(batches))

    def _packed(self, load: Callable[[], PackedESM2], figure: Figure) -> Passes:
        model = load()
        packs = full_packs(self._workload.encoded_fasta, figure.token_budget or 0)
        return Passes(model.device, packed_batches(packs, model), packed_launch(model))

    def _best_end_to_end(self, model: PackedESM2, forward: str, figure: Figure) -> EndToEnd:
        return self._end_to_end(model, forward, self._best_settings(figure.token_budget or 0))

    def _end_to_end(self, model: PackedESM2, forward: str, settings: Settings) -> EndToEnd:
        rate = self._table.rate(forward, settings.token_budget)
        if rate is None:
            raise RuntimeError("(c) was not measured at this budget, so the length of a run cannot be estimated")
        return EndToEnd(model, self._workload, settings, rate)


def describe(error: Exception) -> str:
    """Return the first line of an error."""
    lines = str(error).strip().splitlines() or [""]
    text = f"{type(error).__name__}: {lines[0]}" if lines[0] else type(error).__name__
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - 3] + "..."


def free_device_memory() -> None:
    """Release device memory that is no longer referenced."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
