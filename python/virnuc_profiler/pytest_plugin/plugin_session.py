# SPDX-License-Identifier: MIT
"""One pytest session: where runs of tests are stored, what they are compared with, and what comes of that."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from virnuc_profiler.errors import TelemetryFormatError, UsageError
from virnuc_profiler.telemetry.number_text import number
from virnuc_profiler.telemetry.values import printable

if TYPE_CHECKING:
    from virnuc_profiler.analysis.comparison.compared import Compared
    from virnuc_profiler.analysis.comparison.measured_run import MeasuredRun
    from virnuc_profiler.telemetry.run_result import RunResult

NO_BASELINE: Final = "no baseline"
NOT_COMPARED: Final = "not compared"

_MAX_NAME: Final = 80
_MAX_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a profiled test.

    Attributes:
        rounds: Number of rounds.
        rate: Steady rate, or that of the whole run, as a text; empty if it has none.
        path: File of the run; None if it was not stored.
        verdict: Verdict with the change and its interval, or why there is none; empty if nothing was compared.
        warning: What a user must know; empty if there is nothing.
        failure: Message of the failure; empty if the test is not slower.
    """

    rounds: int
    rate: str
    path: Path | None = None
    verdict: str = ""
    warning: str = ""
    failure: str = ""

    def properties(self) -> list[tuple[str, object]]:
        """Return the properties of the test's report, which JUnit files contain."""
        found = {
            "virnuc_rounds": self.rounds,
            "virnuc_rate": self.rate,
            "virnuc_run": None if self.path is None else str(self.path),
            "virnuc_verdict": self.verdict,
        }
        return [(name, value) for name, value in found.items() if value not in (None, "")]


@dataclass(frozen=True, slots=True)
class PluginSession:
    """The options of a session, checked.

    Attributes:
        save: Folder to store runs in; None for none.
        folder: Folder with the runs to compare with; None for none.
        runs: Runs to compare with, if they are not looked for in a folder.
        name: What the runs are compared with, in words.
        threshold: Smallest difference that matters, as a share.
        run_noise: Standard deviation from run to run, as a share.
    """

    save: Path | None = None
    folder: Path | None = None
    runs: tuple[MeasuredRun, ...] = ()
    name: str = ""
    threshold: float = 0.02
    run_noise: float = 0.0

    @classmethod
    def of(cls, here: Path, save: str | None, compare: str | None, threshold: float, run_noise: float) -> PluginSession:
        """Check the options.

        Args:
            here: Folder that paths are relative to.
            save: Folder to store runs in.
            compare: Folder or file of runs, or the name of a baseline.
            threshold: Smallest difference that matters, as a share.
            run_noise: Standard deviation from run to run, as a share.

        Raises:
            UsageError: There is no such baseline, or a share is out of range.
            TelemetryFormatError: A file cannot be read.
        """
        for option, value in {"--virnuc-threshold": threshold, "--virnuc-run-noise": run_noise}.items():
            if not 0 <= value <= _MAX_SHARE:
                raise UsageError(f"{option} {100 * value:g} is not a percentage from 0 to {100 * _MAX_SHARE:g}")
        there = None if save is None else here / save
        if there is not None and there.exists() and not there.is_dir():
            raise UsageError(f"--virnuc-save {save} is a file; name a folder")
        folder: Path | None = None
        runs: tuple[MeasuredRun, ...] = ()
        if compare is not None and (here / compare).is_dir():
            folder = here / compare
        elif compare is not None:
            runs = _read(here / compare, compare)
        return cls(there, folder, runs, printable(compare or ""), threshold, run_noise)

    def finish(self, test: str, run: RunResult) -> Outcome:
        """Compare the run of a test, then store it, so that a folder may be compared with what it held before.

        Args:
            test: Id of the test.
            run: The run.

        Raises:
            OutputError: The run cannot be stored.
        """
        from virnuc_profiler.reports.comparison.run_source import run_of

        file = run_file_name(test)
        measured = run_of(run, "this run")
        verdict = warning = failure = ""
        if self.name:
            verdict, warning, failure = self._judge(test, file, measured, _in_rounds(run))
        path = None if self.save is None else run.save(self.save / file)
        rate = measured.values.get("steady_tokens_per_sec") or measured.values.get("tokens_per_sec")
        text = "" if rate is None else number(rate, 1, " rounds/s" if _in_rounds(run) else " tokens/s")
        return Outcome(rounds=len(run.batches), rate=text, path=path, verdict=verdict, warning=warning, failure=failure)

    def _judge(self, test: str, file: str, candidate: MeasuredRun, in_rounds: bool) -> tuple[str, str, str]:
        """Return the verdict, a warning, and the message of a failure."""
        from virnuc_profiler.analysis.comparison.effects import Rule
        from virnuc_profiler.analysis.comparison.measured_run import Side
        from virnuc_profiler.analysis.comparison.sides import compare_sides
        from virnuc_profiler.reports.comparison.comparison_rows import headline
        from virnuc_profiler.reports.comparison.comparison_text import render_comparison

        try:
            reference = self._reference(test, file)
            if not reference:
                return NO_BASELINE, f"{self.name} has no run of {test}, so it was not compared", ""
            sides = Side(name=self.name, runs=reference), Side(name="this run", runs=(candidate,))
            compared = compare_sides(*sides, Rule(threshold=self.threshold, run_noise=self.run_noise))
        except (UsageError, TelemetryFormatError) as error:
            return NOT_COMPARED, f"{test} was not compared: {error}", ""
        said = _worded(headline(compared), in_rounds)
        failure = ""
        if compared.is_slower:
            failure = f"{test}: {said}\n\n{_worded(render_comparison(_without_hints(compared), 80), in_rounds)}"
        return said, "", failure

    def _reference(self, test: str, file: str) -> tuple[MeasuredRun, ...]:
        """Return the runs of a test; those that do not say of which test they are, are of every test."""
        from virnuc_profiler.reports.comparison.run_source import read_run

        if self.folder is not None:
            return tuple(map(read_run, sorted(self.folder.rglob(file))))
        return tuple(run for run in self.runs if run.facts.get("target.test", test) == test)


def run_file_name(test: str) -> str:
    """Return the name of the file of a test's run: readable, and different for different tests.

    Args:
        test: Id of the test, which may contain any character in its parameters.
    """
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", test.rpartition("/")[2]).strip("-.")
    digest = hashlib.sha256(test.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"run_{readable[:_MAX_NAME]}-{digest}.json"


def _read(path: Path, name: str) -> tuple[MeasuredRun, ...]:
    """Return the runs of a file, or else of a saved baseline.

    Raises:
        UsageError: There is neither.
        TelemetryFormatError: The file cannot be read.
    """
    from virnuc_profiler.reports.comparison.baseline_store import baselines_folder, load_baseline
    from virnuc_profiler.reports.comparison.run_source import read_run

    if path.exists():
        return (read_run(path),)
    try:
        return load_baseline(baselines_folder(), name).side.runs
    except UsageError as error:
        raise UsageError(f"--virnuc-compare {name} is no folder or file, and {error}") from error


def _in_rounds(run: RunResult) -> bool:
    """Return whether every batch counts as one token, as rounds do."""
    return all(batch.packing is not None and batch.packing.tokens == 1 for batch in run.batches)


def _worded(text: str, in_rounds: bool) -> str:
    """Return a text about tokens as one about rounds. Both words have six letters, so tables keep their columns."""
    return text.replace("tokens/s", "rounds/s").replace("Tokens/s", "Rounds/s") if in_rounds else text


def _without_hints(compared: Compared) -> Compared:
    """Return a comparison without the warning that model and sequences are not known: those of a test are its own."""
    from dataclasses import replace

    return replace(compared, warnings=tuple(one for one in compared.warnings if not one.startswith("not known on")))
