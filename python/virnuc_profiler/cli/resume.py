# SPDX-License-Identifier: MIT
"""``virnuc-profiler sweep --resume DIR``: read the plan of a folder's last sweep, and check that it can go on."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from virnuc_profiler.cli.options.decision_options import recorded_decisions
from virnuc_profiler.cli.options.measurement_request import shown_path
from virnuc_profiler.cli.options.target_options import option_of, values_given
from virnuc_profiler.errors import UsageError, WorkloadError
from virnuc_profiler.inference.esm2.config import resolve_model_name
from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.targets.knobs.configuration import BUILTIN_KNOBS, BUILTIN_TARGET, KnobSet
from virnuc_profiler.telemetry.number_text import counted

if TYPE_CHECKING:
    from virnuc_profiler.sweep.plan.request import Request, ResolveDevice
    from virnuc_profiler.sweep.plan.workload import Workload
    from virnuc_profiler.sweep.results.sweep_record import SweepRecord

_SAME: Final = ("fingerprint", "num_sequences", "sample_fingerprint")
"""What a workload must have in common with that of the sweep that is continued."""

_WORDS: Final = ("help", "heading", "tries", "default_text")
"""Attributes of a knob that change nothing in a sweep that has begun."""


def require_journal(folder: Path) -> None:
    """Refuse a folder without a journal.

    Raises:
        UsageError: It has no journal, or is not a folder.
    """
    from virnuc_profiler.sweep.results.journal import JOURNAL_FILE

    if not (folder / JOURNAL_FILE).is_file():
        raise UsageError(f"{folder} holds no sweep that could be resumed: it has no {JOURNAL_FILE}")


def last_sweep(folder: Path, records: Sequence[SweepRecord]) -> SweepRecord:
    """Return the last sweep of a folder.

    Args:
        folder: The folder, for messages.
        records: Sweeps of its journal.

    Raises:
        UsageError: There is none, or the command line did not begin it.
    """
    if not records:
        raise UsageError(
            f"{folder} holds no sweep that could be resumed: its journal names none; start one with "
            f"sweep --output-dir {folder}"
        )
    if not records[-1].plan.options:
        raise UsageError(f"the last sweep in {folder} was begun by other Python code, and only that can continue it")
    return records[-1]


def resumed_request(
    record: SweepRecord, folder: Path, given: Mapping[str, Any], resolve_device: ResolveDevice
) -> Request:
    """Make the request of a sweep that is continued.

    Args:
        record: The sweep.
        folder: Folder of the sweep.
        given: Options that were given, by name.
        resolve_device: Resolves the device and checks that it can compute with the model's knobs.

    Raises:
        UsageError: An option contradicts the sweep, or its device is not there.
    """
    from virnuc_profiler.sweep.plan.request import HARMLESS, request_of

    refuse_contradictions(record, folder, given, resolve_device)
    options = {**record.plan.options, **{name: given[name] for name in HARMLESS if name in given}}
    return request_of(options, record.plan.grid, folder, resolve_device, record.plan.knobs)


def refuse_contradictions(
    record: SweepRecord, folder: Path, given: Mapping[str, Any], resolve_device: ResolveDevice
) -> None:
    """Refuse options that are not those of the sweep.

    Args:
        record: The sweep.
        folder: Folder of the sweep.
        given: Options that were given, by name.
        resolve_device: Resolves the device.

    Raises:
        UsageError: An option contradicts the sweep; each is named, with both values.
    """
    from virnuc_profiler.sweep.plan.request import HARMLESS, NEW_OPTIONS, recorded

    plan, knobs = record.plan, record.plan.knobs
    known = {
        **NEW_OPTIONS,
        **plan.options,
        **{name: plan.grid.get(name) for name in dict.fromkeys((*BUILTIN_KNOBS, *knobs))},
        **{name: (fixed,) for name in BUILTIN_KNOBS.model_knobs if (fixed := plan.options.get(name)) is not None},
        "steps": plan.steps,
        "output_dir": str(folder.resolve()),
        **recorded_decisions(plan.objective, plan.repeats, plan.steps, given, plan.budget_sec),
    }
    found = []
    today_given = {**given, **_lists_given(given, plan.options.get("target", BUILTIN_TARGET), knobs)}
    for name, value in today_given.items():
        today = recorded(name, value)
        if name == "device":
            today = str(resolve_device(value, {}))
        elif name == "output_dir":
            today = str(Path(value).resolve())
        if name in known and name not in HARMLESS and today != known[name]:
            option = option_of(knobs, name) if name in knobs else f"--{name.replace('_', '-')}"
            found.append(f"{option} is {_shown(today)} but was {_shown(known[name])}")
    if found:
        raise UsageError(
            f"the sweep in {folder} was begun with other options: {'; '.join(found)}; leave them out to resume it, or "
            "start a new sweep in another --output-dir"
        )


def _lists_given(given: Mapping[str, Any], target: str, knobs: KnobSet) -> dict[str, Any]:
    """Return the full name of the model and the lists of knobs that were given, as the sweep's plan holds them.

    Raises:
        UsageError: The sweep's target has no such model, knob or value.
    """
    if given.get("target", target) != target:
        return {}  # that alone is refused
    model = {"model": resolve_model_name(given["model"])} if knobs.is_builtin and "model" in given else {}
    return {**model, **values_given(given, knobs)}


def require_same_knobs(record: SweepRecord, folder: Path, today: KnobSet) -> None:
    """Refuse a target whose knobs mean something else than those of the sweep.

    Args:
        record: The sweep.
        folder: Folder of the sweep, for the message.
        today: Knobs that the target has now.

    Raises:
        UsageError: A knob came, went, or has another range or default.
    """
    then, now = (
        {name: {key: value for key, value in knob.to_json().items() if key not in _WORDS} for name, knob in one.items()}
        for one in (record.plan.knobs, today)
    )
    changed = [name for name in dict.fromkeys((*then, *now)) if then.get(name) != now.get(name)]
    if changed:
        raise UsageError(
            f"the knobs of {today.target} are not those of the sweep in {folder}: {', '.join(changed)}; put the target "
            "back to resume, or start a new sweep in another --output-dir"
        )


def require_same_file(record: SweepRecord, request: Request) -> None:
    """Refuse the user's own file if it has changed. Called before the file is read, since it may be truncated.

    Raises:
        WorkloadError: The file is another one, or gone.
    """
    from virnuc_profiler.sweep.plan.workload import require_fingerprint

    if request.fasta is None:
        return
    try:
        require_fingerprint(request.fasta, record.plan.workload.fingerprint)
    except WorkloadError as error:
        raise WorkloadError(_with_way_out(str(error), record, request)) from None


def require_same_workload(record: SweepRecord, request: Request, workload: Workload, validation: Workload) -> None:
    """Refuse sequences that are not those of the sweep.

    Args:
        record: The sweep.
        request: What is asked for.
        workload: Today's workload of the first four steps.
        validation: Today's workload of the validation.

    Raises:
        WorkloadError: They are others, as after a change of the generator or of the drawing of samples.
    """
    for then, today in ((record.plan.workload, workload), (record.plan.validation_workload, validation)):
        if any(getattr(then, name) != getattr(today, name) for name in _SAME):
            raise WorkloadError(_with_way_out(f"{today.path} is not what the sweep has run", record, request))


def require_same_conditions(record: SweepRecord, folder: Path, conditions: Conditions, allow_mixed: bool) -> None:
    """Refuse to add results of other conditions to those that are there, unless that is allowed.

    Args:
        record: The sweep.
        folder: Folder of the sweep, for the message.
        conditions: Today's conditions.
        allow_mixed: Whether results of different conditions may be mixed.

    Raises:
        UsageError: Something differs; the message names all of it, as it was and as it is.
    """
    differences = dict.fromkeys(
        str(difference)
        for then in record.conditions.values()
        for difference in conditions.differences(then, workload=False)
    )
    if record.trials and not allow_mixed:
        _refuse_mixing(folder, differences)


def require_same_model(
    record: SweepRecord, folder: Path, request: Request, description: Mapping[str, Any], allow_mixed: bool
) -> None:
    """Refuse a model that is not the one that earlier results with the same values of its knobs were measured with.

    Conditions say nothing of what a sweep varies, so this compares the results themselves.

    Args:
        record: The sweep.
        folder: Folder of the sweep, for the message.
        request: What is asked for, with the values of the model's knobs.
        description: Description of the model that was loaded.
        allow_mixed: Whether results of different conditions may be mixed.

    Raises:
        UsageError: Something differs; the message names all of it, as it was and as it is.
    """
    today = Conditions({}, {}, description, {})
    earlier = [
        Conditions({}, {}, trial.result.model, {})
        for trial in record.trials
        if trial.result.model and trial.result.succeeded
        if trial.configuration.values("model").items() <= request.model_knobs.items()
    ]
    if not allow_mixed:
        _refuse_mixing(folder, dict.fromkeys(str(found) for then in earlier for found in today.differences(then)))


def _refuse_mixing(folder: Path, differences: Collection[str]) -> None:
    if differences:
        raise UsageError(
            f"the results in {folder} come from other conditions: {'; '.join(differences)}; --allow-mixed continues "
            "nevertheless and marks those results, else start a new sweep in another --output-dir"
        )


def with_limits(conditions: Conditions, request: Request, limits: Mapping[str, float | None]) -> Conditions:
    """Return the conditions with the time limits and the pause of this process."""
    today = {"timeout_s": request.timeout_s, "cooldown_s": request.cooldown_s, **limits}
    return replace(conditions, settings={**conditions.settings, **today})


def conditions_so_far(record: SweepRecord) -> Conditions:
    """Return the sweep's conditions with today's machine and versions, which are known before the model is loaded."""
    from virnuc_profiler.sweep.trial.provenance import machine_description, software_versions

    then = record.current_conditions
    own = {} if then.knobs.is_builtin else then.versions  # those of the target's packages are known once it is loaded
    return replace(then, machine=machine_description(), versions={**own, **software_versions()})


def _with_way_out(message: str, record: SweepRecord, request: Request) -> str:
    return (
        f"{message}; put the file back to resume, or start a new sweep in another --output-dir: the results "
        f"of {counted(len(record.trials), 'finished trial')} stay in {shown_path(request.output_dir)}"
    )


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "not given" if value is None else value if isinstance(value, str) else json.dumps(value)
