# SPDX-License-Identifier: MIT
"""Fuzz telemetry files: an accepted file can be rendered, written and read again."""

import json
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

from tests.fuzz.engine import Target, fuzz, instrumented, require_printable, require_sentence
from tests.fuzz.json_mutation import mutate_json

with instrumented():
    from virnuc_profiler.cli.report import render_job
    from virnuc_profiler.errors import TelemetryFormatError
    from virnuc_profiler.reports.performance_text import generate_performance_report
    from virnuc_profiler.reports.shard_files import aggregate_telemetry_shards
    from virnuc_profiler.telemetry.files import write_json_atomically
    from virnuc_profiler.telemetry.reader import read_telemetry

SHARD = {
    "run_metadata": {"run_id": "y", "started_at": "2025-03-01T12:00:00+00:00"},
    "summary": {"total_sequences": 1, "total_tokens": 10, "elapsed_seconds": 1.0, "avg_gpu_util": 50},
    "per_batch_metrics": [{"num_sequences": 1, "num_tokens": 10}],
}
"""Another shard of the same job."""


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
        shard = write_json_atomically(path.with_name("telemetry_y.json"), SHARD)
        copy = write_json_atomically(path.with_name("telemetry_z.json"), document)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            json.dumps(aggregate_telemetry_shards([path, shard]), allow_nan=False)
            require_printable(render_job([shard, path]))
            with suppress(ValueError):  # refused only where the file proves that it is the same run
                json.dumps(aggregate_telemetry_shards([path, copy]), allow_nan=False)
        assert read_telemetry(write_json_atomically(path, document)) == document


TARGET = Target("telemetry", check, mutate_json, factor=48)

if __name__ == "__main__":
    fuzz(TARGET)
