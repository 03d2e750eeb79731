# SPDX-License-Identifier: MIT
"""Fuzz baselines and the runs that ``compare`` reads: an accepted file can be compared, rendered, and saved again."""

import json
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

from tests.fuzz.engine import Target, fuzz, instrumented, require_printable, require_sentence
from tests.fuzz.json_mutation import mutate_json

with instrumented():
    from virnuc_profiler.analysis.comparison.effects import Rule
    from virnuc_profiler.analysis.comparison.measured_run import Side
    from virnuc_profiler.analysis.comparison.sides import compare_sides
    from virnuc_profiler.errors import TelemetryFormatError, UsageError
    from virnuc_profiler.reports.comparison.baseline_store import load_baseline, save_baseline
    from virnuc_profiler.reports.comparison.baseline_text import render_baseline_file, render_baselines
    from virnuc_profiler.reports.comparison.comparison_markdown import render_comparison_markdown
    from virnuc_profiler.reports.comparison.comparison_text import render_comparison
    from virnuc_profiler.reports.comparison.run_source import read_run


def check(data: bytes) -> None:
    """Read one file as a baseline, else as a run, and compare it with itself."""
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("error")
        folder = Path(name)
        (folder / "main.json").write_bytes(data)
        try:
            side = load_baseline(folder, "main").side
        except TelemetryFormatError as refusal:
            require_sentence(refusal)
            try:
                side = Side(name="baseline main", runs=(read_run(folder / "main.json"),))
            except TelemetryFormatError as error:
                require_sentence(error)
                return
        save_baseline(folder, "main", side, "0.1.0", replaces=True)
        baseline = load_baseline(folder, "main")
        assert baseline.side == side
        try:
            compared = compare_sides(side, replace(side, name="itself"), Rule(), anyway=True)
        except UsageError as error:
            require_sentence(error)
            return
        require_printable(render_comparison(compared, 80))
        require_printable(render_comparison_markdown(compared))
        json.dumps(compared.to_json(), allow_nan=False)
        require_printable(render_baselines([baseline], 80))
        require_printable(render_baseline_file(baseline, 80))


TARGET = Target("comparison", check, mutate_json, factor=64)

if __name__ == "__main__":
    fuzz(TARGET)
