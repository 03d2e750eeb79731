# SPDX-License-Identifier: MIT
"""Writes the result files of a folder from its journal."""

from __future__ import annotations

from pathlib import Path

from virnuc_profiler.sweep.plan.steps import BEST_CONFIG_FILE, Step
from virnuc_profiler.sweep.results.document import BestConfiguration, Document
from virnuc_profiler.sweep.results.earlier_files import keep_unless_in_journal
from virnuc_profiler.sweep.results.from_journal import Documents
from virnuc_profiler.sweep.results.journal import Journal
from virnuc_profiler.telemetry.files import write_json_atomically


class ResultWriter:
    """Writes result files, and keeps what no journal holds under another name.

    Args:
        output_dir: Folder of the results.
        journal: Open journal of the folder.
    """

    def __init__(self, output_dir: Path, journal: Journal) -> None:
        self._output_dir = output_dir
        self._journal = journal
        self._written: set[str] = set()

    def write_all(self) -> None:
        """Write all result files of the folder again.

        Raises:
            OutputError: A file cannot be written.
        """
        for name, document in Documents(self._journal.records).files().items():
            self.write(name, document)

    def write_step(self, step: Step) -> Document:
        """Write the file of a step with results, remove a recommendation that it overtakes, and return its document.

        Args:
            step: The step.

        Raises:
            OutputError: A file cannot be written.
        """
        documents = Documents(self._journal.records)
        document = documents.step(step.name)
        assert document is not None  # something was recorded just before
        self.write(step.file_name, document)
        if step.name == "validation":
            self.write(BEST_CONFIG_FILE, documents.best(document))
        elif documents.is_overtaken():
            self.write(BEST_CONFIG_FILE, None)
        return document

    def write(self, name: str, document: Document | BestConfiguration | None) -> None:
        """Write a result file; None removes it, because it is out of date. Nothing is lost that no journal holds.

        Args:
            name: Name of the file.
            document: What it holds.

        Raises:
            OutputError: The file cannot be written.
        """
        path = self._output_dir / name
        if name not in self._written:
            keep_unless_in_journal(path, self._journal.records)
            self._written.add(name)
        if document is not None:
            write_json_atomically(path, document.to_json())
        else:
            path.unlink(missing_ok=True)
