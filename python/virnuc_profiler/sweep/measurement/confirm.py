# SPDX-License-Identifier: MIT
"""Runs the race of the confirmation, block by block, until it is decided or its time is used up."""

from __future__ import annotations

from virnuc_profiler.sweep.measurement.blocks import block_order
from virnuc_profiler.sweep.measurement.listener import TrialRunner
from virnuc_profiler.sweep.measurement.trial_recorder import TrialRecorder
from virnuc_profiler.sweep.plan.steps import Step
from virnuc_profiler.sweep.results.document import Document
from virnuc_profiler.sweep.results.from_journal import Documents
from virnuc_profiler.targets.knobs.configuration import Configuration


def confirm(recorder: TrialRecorder, step: Step, run: TrialRunner, *, seed: int) -> Document:
    """Measure what is left of the confirmation, and return its document.

    The race is replayed from the journal before each trial. A contender that fails is not safe, so another one takes
    its place.

    Args:
        recorder: Measures one configuration.
        step: The step of the confirmation.
        run: Runs a trial.
        seed: Seed of the order within blocks.
    """
    tried: set[tuple[Configuration, int]] = set()
    while True:
        documents = Documents(recorder.journal.records)
        replay = documents.confirmation()
        missing = [] if replay is None else replay.missing()
        if replay is None or not missing:
            break
        configuration = block_order(missing, seed, step.name, replay.block)[0]
        if (configuration, replay.block) in tried:  # it was stopped again and again
            break
        tried.add((configuration, replay.block))
        recorder.measure(step, configuration, run, replay.block)
    document = documents.confirmation_document()
    if recorder.journal.current.has(step.name):
        recorder.writer.write(step.file_name, document)
    return document
