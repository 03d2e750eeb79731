# SPDX-License-Identifier: MIT
"""Compare two sides: choose what is compared with what, refuse what says nothing, and say what intervals leave out."""

from __future__ import annotations

import math
from dataclasses import replace

from virnuc_profiler.analysis.comparison.compared import Compared, Failure, configuration_text
from virnuc_profiler.analysis.comparison.differences import Difference, differences, refusal, unknown_facts
from virnuc_profiler.analysis.comparison.effects import Effect, Rule, effect_on, run_effects
from virnuc_profiler.analysis.comparison.measured_run import ConfigurationKey, MeasuredRun, Side
from virnuc_profiler.analysis.comparison.metrics import METRICS
from virnuc_profiler.analysis.comparison.pooled_effects import Pair, PooledEffects, pooled_effects
from virnuc_profiler.errors import UsageError
from virnuc_profiler.telemetry.number_text import counted, share

ONE_RUN_EACH = (
    "One run on each side: the intervals show how steady each run was, not how runs of the same build vary, which can "
    "be several percent. Repeat both, five times or more, to test a difference: compare A1 A2 ... --with B1 B2 ..."
)
WITH_RUN_NOISE = "One run on each side, and runs of the same build are taken to vary by {noise}, as --run-noise says."
ONE_AGAINST_REPEATS = (
    "A single run against repeats: its own variation is taken to be that of the other side. Repeat it to test that."
)
BETWEEN_SWEEPS = (
    "The noise is the spread of the configurations' ratios and of repeated trials. What changed between the two "
    "sessions as a whole, such as the state of the host, is part of the effect; several sweeps on each side show it."
)


def compare_sides(reference: Side, candidate: Side, rule: Rule, *, anyway: bool = False) -> Compared:
    """Compare two sides.

    A sweep on one side only stands for its trials of the configuration that the other side's runs have.

    Args:
        reference: The side that is compared with.
        candidate: The side that is judged.
        rule: When a difference is a difference.
        anyway: Whether to compare sides whose comparison says nothing, with a warning.

    Raises:
        UsageError: There is nothing to compare, the runs of a side are no repeats of each other, or the comparison
            would be meaningless and `anyway` is false.
    """
    if reference.is_sweep != candidate.is_sweep:
        reference, candidate = _of_one_configuration(reference, candidate), _of_one_configuration(candidate, reference)
    for side in (reference, candidate):
        _require_success(side)
    found = differences(reference.succeeded(), candidate.succeeded())
    meaningless = [reason for side in (reference, candidate) if (reason := _mixed(side))]
    if reason := refusal(found):
        meaningless.append(f"{reference.name} and {candidate.name} differ in {reason}")
    if meaningless and not anyway:
        reasons = "; ".join(meaningless)
        raise UsageError(f"{reasons}: comparing them says nothing; --anyway compares them nevertheless")
    compared = Compared(
        reference=reference,
        candidate=candidate,
        rule=rule,
        effects=(),
        configurations=(),
        recommended=None,
        failures=(),
        differences=(*_configuration_differences(reference, candidate), *found),
        warnings=(*(f"compared anyway: {reason}." for reason in meaningless), *_warnings(reference, candidate)),
        notes=(),
    )
    return _compare_sweeps(compared) if reference.is_sweep else _compare_runs(compared)


def require_usable(side: Side) -> None:
    """Refuse a side that no comparison could use.

    Args:
        side: The side.

    Raises:
        UsageError: None of its runs succeeded, or they are no repeats of each other.
    """
    _require_success(side)
    if reason := _mixed(side):
        raise UsageError(reason)


def _require_success(side: Side) -> None:
    if not side.succeeded():
        failures = dict.fromkeys(str(run.failure) for run in side.runs)
        raise UsageError(f"{side.name} holds no run that succeeded ({', '.join(failures)}): nothing can be compared")


def _compare_runs(compared: Compared) -> Compared:
    before, after = compared.reference.succeeded(), compared.candidate.succeeded()
    fewest, most = sorted((len(before), len(after)))
    notes = (_on_single_runs(compared.rule),) if most == 1 else (ONE_AGAINST_REPEATS,) if fewest == 1 else ()
    return replace(compared, effects=run_effects(before, after, compared.rule), notes=notes)


def _on_single_runs(rule: Rule) -> str:
    return WITH_RUN_NOISE.format(noise=share(rule.run_noise)) if rule.run_noise else ONE_RUN_EACH


def _compare_sweeps(compared: Compared) -> Compared:
    pairs = _common(compared.reference, compared.candidate)
    if not pairs:
        raise UsageError(
            f"{compared.reference.name} and {compared.candidate.name} have no configuration in common that succeeded"
        )
    pooled = [pooled_effects(metric, pairs, compared.rule) for metric in METRICS]
    rates = next((one for one in pooled if one.overall is not None), pooled[0])
    single = all(len(side) == 1 for pair in pairs for side in (pair.reference, pair.candidate))
    return replace(
        compared,
        effects=tuple(one.overall for one in pooled if one.overall is not None),
        configurations=tuple((pair.configuration, effect) for pair, effect in zip(pairs, rates.each, strict=True)),
        recommended=_recommended_effect(compared, rates),
        failures=_failures(compared.reference, compared.candidate),
        notes=(_on_single_runs(compared.rule) if len(pairs) == 1 and single else BETWEEN_SWEEPS,),
    )


def _recommended_effect(compared: Compared, rates: PooledEffects) -> Effect | None:
    """Return the effect of following the candidate's recommendation instead of the reference's."""
    before, after = (
        () if side.recommended is None else side.with_configuration(side.recommended).succeeded()
        for side in (compared.reference, compared.candidate)
    )
    if not before or not after or not rates.each:
        return None
    effect = effect_on(rates.each[0].metric, before, after, compared.rule)
    if effect.ratio is None or rates.noise is None:
        return effect
    return rates.noise.judge(effect, math.log(effect.ratio), len(before), len(after), compared.rule)


def _common(reference: Side, candidate: Side) -> list[Pair]:
    before, after = _by_configuration(reference), _by_configuration(candidate)
    both = ((runs, after[key]) for key, runs in before.items() if key in after)
    return [Pair(ours[0].configuration, tuple(ours), tuple(theirs)) for ours, theirs in both]


def _by_configuration(side: Side) -> dict[ConfigurationKey, list[MeasuredRun]]:
    found: dict[ConfigurationKey, list[MeasuredRun]] = {}
    for run in side.succeeded():
        found.setdefault(run.configuration_key, []).append(run)
    return found


def _of_one_configuration(side: Side, other: Side) -> Side:
    """Return the trials of a sweep that have the configuration of the other side's runs; runs are left as they are."""
    if not side.is_sweep:
        return side
    keys = {run.configuration_key for run in other.runs}
    found = tuple(run for run in side.runs if run.configuration_key in keys)
    if not found or len(keys) != 1:
        wanted = " and ".join(dict.fromkeys(configuration_text(run.configuration) for run in other.runs))
        raise UsageError(f"{side.name} is a sweep without a trial of the configuration of {other.name}: {wanted}")
    return replace(side, runs=found, is_sweep=False)


def _mixed(side: Side) -> str:
    """Return why the runs of a side are no repeats of each other; empty if they are."""
    first, *others = side.succeeded()
    for other in others:
        apart = [*differences([first], [other]), *([] if side.is_sweep else _configuration_difference(first, other))]
        names = [one.name for one in apart if one.refuses or not one.name.startswith(("clocks.", "machine."))]
        if names:
            return f"{first.source} and {other.source} are no repeats of each other, they differ in {', '.join(names)}"
    return ""


def _configuration_differences(reference: Side, candidate: Side) -> list[Difference]:
    if reference.is_sweep:
        return []
    return _configuration_difference(reference.succeeded()[0], candidate.succeeded()[0])


def _configuration_difference(before: MeasuredRun, after: MeasuredRun) -> list[Difference]:
    names = dict.fromkeys((*before.configuration, *after.configuration))
    pairs = ((name, before.configuration.get(name), after.configuration.get(name)) for name in names)
    return [Difference(f"configuration.{name}", (then,), (now,)) for name, then, now in pairs if then != now]


def _failures(reference: Side, candidate: Side) -> tuple[Failure, ...]:
    """Return the configurations that succeeded on one side and only failed on the other."""
    found = []
    for side, other in ((candidate, reference), (reference, candidate)):
        good, good_elsewhere = _by_configuration(side), _by_configuration(other)
        failed = {run.configuration_key: run for run in side.runs if run.failure is not None}
        found += [
            Failure(run.configuration, side is candidate, str(run.failure))
            for key, run in failed.items()
            if key not in good and key in good_elsewhere
        ]
    return tuple(found)


def _warnings(reference: Side, candidate: Side) -> tuple[str, ...]:
    found = [warning for side in (reference, candidate) for run in side.succeeded() for warning in run.warnings]
    found += [
        f"left out because they failed: {counted(lost, 'run')} of {side.name}."
        for side in (reference, candidate)
        if not side.is_sweep and (lost := len(side.runs) - len(side.succeeded()))
    ]
    both = {run.source for run in reference.runs} & {run.source for run in candidate.runs}
    found += [f"{source} is on both sides." for source in sorted(both)]
    if unknown := unknown_facts(reference.succeeded(), candidate.succeeded()):
        found.append(f"not known on both sides, so not checked: {', '.join(unknown)}.")
    return tuple(dict.fromkeys(found))
