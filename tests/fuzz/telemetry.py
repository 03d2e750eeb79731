# SPDX-License-Identifier: MIT
"""Fuzz telemetry files: an accepted file can be rendered, written and read again."""

import json
import tempfile
from pathlib import Path

from tests.fuzz.engine import Target, fuzz, instrumented, require_printable, require_sentence
from tests.fuzz.json_mutation import mutate_json

with instrumented():
    from virnuc_profiler.errors import TelemetryFormatError
    from virnuc_profiler.reports.performance_text import generate_performance_report
    from virnuc_profiler.reports.shard_files import aggregate_telemetry_shards
    from virnuc_profiler.telemetry.files import write_json_atomically
    from virnuc_profiler.telemetry.reader import read_telemetry


def check(data: bytes) -> None:
    """Read, render and write one file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "telemetry_x.json"
        path.write_bytes(data)
        try:
            document = read_telemetry(path)
        except TelemetryFormatError as error:
            require_sentence(error)
            return
        require_printable(generate_performance_report(path))
        other = write_json_atomically(path.with_name("telemetry_y.json"), document)
        json.dumps(aggregate_telemetry_shards([path, other]), allow_nan=False)
        assert read_telemetry(write_json_atomically(path, document)) == document


TARGET = Target("telemetry", check, mutate_json, factor=48)

if __name__ == "__main__":
    fuzz(TARGET)
