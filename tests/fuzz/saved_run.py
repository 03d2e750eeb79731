# SPDX-License-Identifier: MIT
"""Fuzz saved runs: an accepted file can be rendered, diagnosed, saved and loaded again."""

import tempfile
import warnings
from pathlib import Path

from tests.fuzz.engine import Target, fuzz, instrumented, require_printable, require_sentence
from tests.fuzz.json_mutation import mutate_json

with instrumented():
    from virnuc_profiler.errors import TelemetryFormatError
    from virnuc_profiler.reports.diagnosis_text import render_diagnosis
    from virnuc_profiler.reports.stage_table import render_stages
    from virnuc_profiler.telemetry.run_result import RunResult


def check(data: bytes) -> None:
    """Load, render and save one file."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        path = Path(folder) / "run_x.json"
        path.write_bytes(data)
        try:
            run = RunResult.load(path)
        except TelemetryFormatError as error:
            require_sentence(error)
            return
        require_printable(render_stages(run))
        require_printable(render_diagnosis(run))
        list(run.batches)
        again = RunResult.load(run.save(path))
        assert again.batches.to_columns() == run.batches.to_columns()
        assert again.schema_version == run.schema_version
        assert RunResult.load(again.save(path)).unknown == again.unknown
        assert (again.device, again.gpu, again.cost, again.metadata) == (run.device, run.gpu, run.cost, run.metadata)


TARGET = Target("saved_run", check, mutate_json, factor=64)

if __name__ == "__main__":
    fuzz(TARGET)
