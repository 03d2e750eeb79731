# SPDX-License-Identifier: MIT
"""What the folder of a sweep holds: the documents of its steps, its recommendation, and its journal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.plan.steps import BEST_CONFIG_FILE, STEPS
from virnuc_profiler.sweep.results.document import BestConfiguration, Document
from virnuc_profiler.sweep.results.from_journal import Documents
from virnuc_profiler.sweep.results.journal import JOURNAL_FILE, read_journal
from virnuc_profiler.sweep.results.result_files import make_document, read_best, read_step
from virnuc_profiler.sweep.results.sweep_record import SweepRecord
from virnuc_profiler.telemetry.values import printable

_log = logging.getLogger(__name__)

_Record = TypeVar("_Record")
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class SweepFolder:
    """A sweep as its folder tells of it.

    Attributes:
        path: The folder, or the file of a single step.
        documents: Documents of the steps that were run, by the name of the step.
        sources: File that each document comes from, by the name of the step.
        best: The recommendation; None if there is none so far.
        records: Sweeps of the journal up to the last that has measured anything; empty without a journal.
    """

    path: Path
    documents: Mapping[str, Document]
    sources: Mapping[str, Path] = field(default_factory=dict)
    best: BestConfiguration | None = None
    records: Sequence[SweepRecord] = ()

    @property
    def record(self) -> SweepRecord | None:
        """The sweep that was begun last and has measured anything; None without a journal."""
        return self.records[-1] if self.records else None


def read_sweep_folder(folder: Path, *, whole: bool = True) -> SweepFolder:
    """Read the folder of a sweep: its result files, or its journal where a file is missing, as after an interruption.

    Args:
        folder: The folder.
        whole: Whether the journal and the recommendation are wanted even if all result files are there.

    Raises:
        TelemetryFormatError: A file is damaged, or of another version.
    """
    there = [step for step in STEPS if (folder / step.file_name).exists()]
    records: Sequence[SweepRecord] = ()
    if whole or len(there) < len(STEPS):
        try:
            records = _that_ran(read_journal(folder))
        except TelemetryFormatError as error:
            if not there:
                raise
            _log.warning("%s", error)
    documents, sources = {}, {}
    for step in STEPS:
        path = folder / step.file_name
        if step in there:
            documents[step.name], sources[step.name] = read_step(path), path
        elif records:
            path = folder / JOURNAL_FILE
            found = guarded(lambda name: Documents(records).comparable(name), step.name, path)
            if found is not None:
                documents[step.name], sources[step.name] = found, path
    best = folder / BEST_CONFIG_FILE
    return SweepFolder(folder, documents, sources, read_best(best) if whole and best.exists() else None, records)


def sweep_of_file(path: Path, *, is_best: bool) -> SweepFolder:
    """Read one result file of a sweep: a step, or the recommendation with its validation.

    Args:
        path: The file.
        is_best: Whether it is that of the recommendation.

    Raises:
        TelemetryFormatError: It is damaged, of another version, or something else.
    """
    if not is_best:
        document = read_step(path)
        return SweepFolder(path, {document.step: document}, {document.step: path})
    best = read_best(path)
    step = next(step for step in STEPS if step.name == "validation")
    conditions = replace(best.conditions, workload=best.validation_workload)
    document = make_document(
        step, conditions, [best.validation], None, planned=1, created=best.created, choice=best.choice,
        projection=best.projection,
    )  # fmt: skip
    return SweepFolder(path, {step.name: document}, {step.name: path}, best)


def guarded(make: Callable[[_Record], _Found], document: _Record, path: Path) -> _Found:
    """Return what a function makes of a document; readers check only what a sweep uses, so it may fail.

    Args:
        make: The function.
        document: The document, or what names it.
        path: File that the document comes from.

    Raises:
        TelemetryFormatError: The document is damaged; the message names the file.
    """
    try:
        return make(document)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise TelemetryFormatError(
            f"{path} is not a whole result file: {type(error).__name__}, {printable(str(error))}"
        ) from error


def _that_ran(records: Sequence[SweepRecord]) -> Sequence[SweepRecord]:
    """Return the sweeps up to the last that has measured anything."""
    last = max((place for place, record in enumerate(records) if record.trials), default=len(records) - 1)
    return records[: last + 1]
