# SPDX-License-Identifier: MIT
"""Which configuration a sweep recommends, and why."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from virnuc_profiler.analysis.confidence.paired import CANNOT_TELL, FASTER, MIN_BLOCKS_TO_AGREE, SAME, Comparison
from virnuc_profiler.sweep.plan.cheapest import cheapest
from virnuc_profiler.sweep.plan.estimate import in_words
from virnuc_profiler.sweep.plan.objective import ENERGY, Objective
from virnuc_profiler.sweep.results.choice import Choice
from virnuc_profiler.sweep.results.verdicts.candidates import Candidate, Ranking, packs
from virnuc_profiler.sweep.results.verdicts.confirmation import BETTER, TIED, Confirmation
from virnuc_profiler.sweep.results.verdicts.race_replay import Allowance, Replay
from virnuc_profiler.sweep.results.verdicts.standing import Standing
from virnuc_profiler.sweep.results.verdicts.standings import THRESHOLD
from virnuc_profiler.sweep.search.finals import nearly_best
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.number_text import counted, limit, number, share, times

_BASELINE: Final = "baseline"


def conclude(
    replay: Replay | None,
    allowance: Allowance,
    memory_gb: Mapping[Configuration, float | None],
    allowed: Collection[Configuration],
) -> Confirmation:
    """Return what a race has shown, and what it recommends.

    A configuration that is shown to be better than the baseline is recommended. Otherwise it is the cheapest of those
    that are shown to be no more than the threshold worse than the baseline, among them the baseline itself.

    Args:
        replay: The race; None if the time suffices for none, or there is one configuration only.
        allowance: The time.
        memory_gb: Peak device memory of each configuration in GB.
        allowed: Configurations that keep the required packing efficiency and the limit of memory, if one does.
    """
    if replay is None:
        return Confirmation(
            contenders=None, verdict=CANNOT_TELL, recommended=None, comparisons={}, leaders=(), blocks=0,
            allowed_sec=allowance.allowed_sec, used_sec=0.0,
        )  # fmt: skip
    comparisons, leaders, reference = replay.comparisons(), replay.leaders(), replay.contenders.reference
    better = [one for one in leaders if one in comparisons and comparisons[one].verdict == FASTER]
    level = [one for one, found in comparisons.items() if _is_level(found)]
    same = all(found.verdict == SAME for found in comparisons.values())
    verdict = BETTER if better else TIED if same else CANNOT_TELL
    eligible = better or [reference, *level]
    if replay.contenders.others:  # a search selects; whether the selected one is better is the verdict's matter
        eligible = nearly_best({one: replay.speeds(one) for one in better or leaders}) or [reference]
    return Confirmation(
        contenders=replay.contenders,
        verdict=verdict,
        recommended=cheapest([one for one in eligible if one in allowed] or eligible, memory_gb),
        comparisons=comparisons,
        leaders=leaders,
        blocks=replay.block,
        allowed_sec=allowance.allowed_sec,
        used_sec=replay.used_sec,
    )


def _is_level(found: Comparison) -> bool:
    """Return whether a configuration is shown to be no more than the threshold worse than the reference."""
    enough = found.blocks >= MIN_BLOCKS_TO_AGREE
    return enough and found.low is not None and found.low >= 1 / (1 + found.threshold)


def choose(
    ranking: Ranking,
    objective: Objective,
    confirmation: Confirmation | None,
    standing: Callable[[Configuration], Standing | None],
) -> Choice | None:
    """Return the configuration to recommend; None if no configuration succeeded.

    A confirmation decides. Without one, the best of the steps is chosen, and called untested unless it was measured in
    blocks. If these do not show it to be better than the baseline, the cheapest of the tied is chosen instead.

    Args:
        ranking: The candidates of all steps.
        objective: What is minimized.
        confirmation: What the confirmation has shown; None if there was none.
        standing: Returns how a configuration stands beside the baseline in a step with blocks; None if there is none.
    """
    if ranking.best is None:
        return None
    choice = _measured_best(ranking, ranking.best, objective)
    if ranking.best.configuration == ranking.baseline and (confirmation is None or confirmation.contenders is None):
        return _cheapest_tied(ranking, objective, choice, standing)  # there is no advantage to test
    if confirmation is None or confirmation.recommended is None or confirmation.contenders is None:
        why = "" if confirmation is None else _why_untested(ranking, confirmation)
        found = _tested_in_steps(choice, standing(ranking.best.configuration), why)
        return found if found.verdict in (None, BETTER) else _cheapest_tied(ranking, objective, found, standing)
    recommended = next(one for one in ranking.safe if one.configuration == confirmation.recommended)
    if recommended is not ranking.best:
        choice = _measured_best(ranking, recommended, objective)
        met = packs(recommended, objective.required_packing) and objective.fits(recommended.peak_memory_gb)
        choice = replace(choice, constraint_met=met, constraint_met_in_steps=met)
    return _confirmed(choice, confirmation, objective, ranking.memory_gb)


def _measured_best(ranking: Ranking, best: Candidate, objective: Objective) -> Choice:
    """Return the choice of a candidate by what the steps have measured."""
    noise = max((one.spread for one in ranking.rivals if len(one.costs) > 1), default=None)
    rivals = [one for one in ranking.rivals if one.configuration != best.configuration]
    close = None if noise is None else [one for one in rivals if one.cost <= best.cost * (1 + noise)]
    return Choice(
        reason=_reason(ranking, best, objective, noise, close or []),
        configuration=best.configuration,
        constraint_met=ranking.constraint_met,
        constraint_met_in_steps=ranking.constraint_met,
        sequences_per_sec=best.sequences_per_sec,
        packing_efficiency=best.packing_efficiency,
        measurements=len(best.costs),
        found_in=best.found_in,
        noise=noise,
        equals_within_noise=None if close is None else len(close),
        objective=objective.kind,
        cost=best.cost,
    )


def _tested_in_steps(choice: Choice, standing: Standing | None, why: str = "") -> Choice:
    """Return a choice that no confirmation has tested, with what a step with blocks has shown of it."""
    if standing is None or standing.verdict is None:
        return replace(choice, reason=f"{choice.reason}; its advantage is not tested{why}")
    verdict = {FASTER: BETTER, SAME: TIED}.get(standing.verdict, CANNOT_TELL)
    return replace(
        choice,
        verdict=verdict,
        speedup=standing.speedup,
        speedup_low=standing.speedup_low,
        speedup_high=standing.speedup_high,
        reason=f"{choice.reason}; {_ratio(standing.speedup, standing.speedup_low, standing.speedup_high)} of the "
        f"baseline in {counted(standing.measurements, 'block')}",
    )


def _cheapest_tied(
    ranking: Ranking,
    objective: Objective,
    choice: Choice,
    standing: Callable[[Configuration], Standing | None],
) -> Choice:
    """Return the cheapest of the baseline and what blocks have shown to be as good; the choice without a baseline."""
    level = [
        one
        for one in ranking.safe
        if one.configuration == ranking.baseline
        or ((stood := standing(one.configuration)) is not None and stood.verdict == SAME and one in ranking.rivals)
    ]
    if all(one.configuration != ranking.baseline for one in level):
        return choice
    level = [one for one in level if one in ranking.rivals] or level  # what keeps the requirements, if something does
    recommended = cheapest([one.configuration for one in level], ranking.memory_gb)
    if recommended == choice.configuration:
        return choice
    candidate = next(one for one in level if one.configuration == recommended)
    met = packs(candidate, objective.required_packing) and objective.fits(candidate.peak_memory_gb)
    assert choice.configuration is not None
    best = "the least energy measured" if objective.kind == ENERGY else "the fastest measured"
    within = f"within {limit(100 * THRESHOLD, '%')} of the baseline"
    reason = "the baseline" if recommended == ranking.baseline else f"the cheapest that is shown to be {within}"
    if choice.configuration != ranking.baseline:
        reason += f"; {best}, {_distinct(choice.configuration, recommended)}, is not shown to be better"
    found = replace(_measured_best(ranking, candidate, objective), constraint_met=met, constraint_met_in_steps=met)
    stood = standing(recommended)
    return replace(
        found,
        reason=reason,
        verdict=TIED if choice.configuration == ranking.baseline else choice.verdict,
        speedup=None if stood is None else stood.speedup,
        speedup_low=None if stood is None else stood.speedup_low,
        speedup_high=None if stood is None else stood.speedup_high,
    )


def _why_untested(ranking: Ranking, confirmation: Confirmation) -> str:
    if ranking.contenders is None or len(ranking.contenders.all) < 2:
        return ": there is nothing to compare it with"
    return f": {in_words(confirmation.allowed_sec)} are too short for a confirmation"


def _confirmed(
    choice: Choice,
    confirmation: Confirmation,
    objective: Objective,
    memory_gb: Mapping[Configuration, float | None],
) -> Choice:
    contenders, recommended = confirmation.contenders, confirmation.recommended
    assert contenders is not None
    assert recommended is not None
    found = confirmation.comparisons.get(recommended)
    blocks = counted(confirmation.blocks, "block")
    level = [one for one in confirmation.leaders if one != recommended]
    reference = "the baseline" if contenders.baseline is not None else "the fastest measured"
    if confirmation.verdict == BETTER and found is not None:
        what = "less energy" if objective.kind == ENERGY else "faster"
        reason = f"{what} than {reference} in {blocks}: {_ratio(found.ratio, found.low, found.high)}"
    elif confirmation.verdict == TIED:
        names = " and ".join(_distinct(one, recommended) for one in level)
        kept = "" if cheapest([recommended, *level], memory_gb) == recommended else " that keeps what is required"
        reason = f"tied within {limit(100 * THRESHOLD, '%')} with {names} in {blocks}, and the cheapest of them{kept}"
    else:
        others = ", ".join(
            f"{_distinct(one, contenders.reference)} at {_ratio(each.ratio, each.low, each.high)}"
            for one, each in confirmation.comparisons.items()
        )
        kept = reference if recommended == contenders.reference else "the cheapest that is shown to be as good"
        if contenders.others:
            kept = "the cheapest of those that measured best"
        reason = f"cannot tell in {blocks} whether anything is better than {reference} ({others}), so it is {kept}"
    return replace(
        choice,
        reason=reason,
        verdict=confirmation.verdict,
        speedup=1.0 if found is None else found.ratio,
        speedup_low=None if found is None else found.low,
        speedup_high=None if found is None else found.high,
        tied_with=tuple(level),
    )


def _distinct(configuration: Configuration, other: Configuration) -> str:
    """Return the values of the knobs in which a configuration differs from another."""
    theirs = other.values()
    return ", ".join(
        f"{name}={configuration.knobs[name].text(value)}"
        for name, value in configuration.values().items()
        if value != theirs.get(name)
    )


def _ratio(ratio: float | None, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{times(ratio)} (no interval)"
    return f"{times(ratio, beside=None)} ({number(low, 2)} to {number(high, 2)})"


def _reason(
    ranking: Ranking, best: Candidate, objective: Objective, noise: float | None, close: Sequence[Candidate]
) -> str:
    if ranking.is_fallback and best is ranking.best:
        min_packing = objective.required_packing
        full = "what keeps the limit" if min_packing is None else f"what packs {limit(100 * min_packing, '%')} or more"
        if objective.kind == ENERGY:
            return f"the energy of the baseline; {full} needs more"
        return f"the speed of the baseline; {full} is slower"
    repeats = f" (median of {len(best.costs)})" if len(best.costs) > 1 else ""
    unsafe = f" ({ranking.failed} failed)" if ranking.failed else ""
    packing = _kept(objective, ranking.constraint_met)
    doubt = ""
    if noise and close:
        among = " (the baseline among them)" if any(_BASELINE in rival.found_in for rival in close) else ""
        others = counted(len(close), "other is", "others are")
        within = f"within the {share(noise)} by which repeated measurements differ"
        doubt = f"; no difference beyond the noise: {others} {within}{among}"
    heat = "; the device was throttled in every measurement" if best.throttled else ""
    what = "least energy" if objective.kind == ENERGY else "shortest predicted time"
    return f"{what}{repeats} of {len(ranking.safe)} that succeeded{unsafe}{packing}{doubt}{heat}"


def _kept(objective: Objective, met: bool) -> str:
    """Return what is required of the best, and whether anything keeps it; empty if nothing is required."""
    min_packing = objective.required_packing
    memory = "" if objective.max_memory_gb is None else f" within {limit(objective.max_memory_gb, ' GB')}"
    if min_packing is None:
        return memory if met or not memory else f"; none stayed{memory}"
    wanted = f"a packing efficiency of {limit(100 * min_packing, '%')}"
    return f" with {wanted} or more{memory}" if met else f"; none reached {wanted}{memory}"
