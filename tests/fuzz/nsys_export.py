# SPDX-License-Identifier: MIT
"""Fuzz exports of Nsight Systems: an accepted file can be projected, rendered and written as JSON, page and trace."""

import json
import tempfile
from pathlib import Path

from tests.fuzz.engine import Target, fuzz, instrumented, require_printable, require_sentence
from tests.fuzz.sqlite_mutation import mutate_sqlite

with instrumented():
    from virnuc_profiler.analysis.nsys import projection  # noqa: F401 - what the command imports late
    from virnuc_profiler.errors import TelemetryFormatError
    from virnuc_profiler.reports.captures.projected_capture import project_capture, render_projected_capture
    from virnuc_profiler.reports.export.capture_trace import write_capture_trace
    from virnuc_profiler.reports.html.captures.capture_page import render_capture_page
    from virnuc_profiler.telemetry import files  # noqa: F401


def check(data: bytes) -> None:
    """Read, project and render one file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "capture.sqlite"
        path.write_bytes(data)
        try:
            projected = project_capture(path)
        except TelemetryFormatError as error:
            require_sentence(error)
            return
        texts = [render_projected_capture(projected, group=group) for group in (True, False)]
        for text in texts:
            require_printable(text)
        json.loads(projected.save(Path(folder) / "ranges.json").read_text())
        render_capture_page(projected)
        write_capture_trace(Path(folder) / "trace.pftrace", projected)
        assert render_projected_capture(project_capture(path)) == texts[0]


TARGET = Target("nsys_export", check, mutate_sqlite, factor=256)

if __name__ == "__main__":
    fuzz(TARGET)
