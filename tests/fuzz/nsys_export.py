# SPDX-License-Identifier: MIT
"""Fuzz exports of Nsight Systems: an accepted file can be projected, rendered and written as JSON."""

import json
import tempfile
from pathlib import Path

from tests.fuzz.engine import Target, fuzz, instrumented, require_printable, require_sentence
from tests.fuzz.sqlite_mutation import mutate_sqlite

with instrumented():
    from virnuc_profiler.analysis.nsys import projection  # noqa: F401 - what the command imports late
    from virnuc_profiler.cli.correlate import project_ranges
    from virnuc_profiler.errors import TelemetryFormatError
    from virnuc_profiler.reports.captures import (
        range_table,  # noqa: F401
    )
    from virnuc_profiler.telemetry import files  # noqa: F401


def check(data: bytes) -> None:
    """Read, project and render one file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "capture.sqlite"
        path.write_bytes(data)
        try:
            text, write = project_ranges(path)
        except TelemetryFormatError as error:
            require_sentence(error)
            return
        require_printable(text)
        document = Path(folder) / "ranges.json"
        write(document)
        json.loads(document.read_text())
        assert project_ranges(path)[0] == text


TARGET = Target("nsys_export", check, mutate_sqlite, factor=256)

if __name__ == "__main__":
    fuzz(TARGET)
