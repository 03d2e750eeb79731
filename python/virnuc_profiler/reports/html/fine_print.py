# SPDX-License-Identifier: MIT
"""What the numbers of a page rest on: the machine, the versions, the model, the workload and the settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from virnuc_profiler.reports.figures import number, words
from virnuc_profiler.reports.html.html_table import fact_list
from virnuc_profiler.reports.html.page import Section

_LABELS: Final = {
    "gpu_models": "GPU", "gpu_count": "GPUs", "gpu_memory_gb": "GPU memory, GB", "driver_version": "Driver",
    "cuda_version": "CUDA of the driver", "torch_version": "PyTorch", "torch_cuda_version": "CUDA of PyTorch",
    "cpu_model": "CPU", "cpu_usable_cores": "CPU cores usable", "cpu_logical_cores": "CPU cores, logical",
    "cpu_physical_cores": "CPU cores, physical", "cpu_affinity_cores": "CPU cores by affinity",
    "cpu_quota_cores": "CPU cores by quota", "memory_total_gb": "Memory, GB", "python_version": "Python",
    "python_implementation": "Python implementation", "fair_esm": "fair-esm", "flash_attn": "flash-attn",
    "virnuc_profiler": "virnuc_profiler", "model_name": "Model", "bytes_per_token": "Bytes per token",
    "fixed_bytes": "Bytes of the model", "skip_invalid": "Invalid records skipped", "num_sequences": "Sequences",
    "sequences_in_file": "Sequences in the file", "longest_tokens": "Longest sequence, tokens",
    "tokens_in_file": "Tokens in the file", "cooldown_s": "Cool-down, s", "trial_seconds": "Shortest trial, s",
    "precision_target": "Precision wanted of each rate", "timeout_s": "Time limit of a trial, s",
    "numpy": "NumPy", "torch": "PyTorch", "cuda": "CUDA", "gpu_compute_capability": "Compute capability",
    "progress_timeout_s": "Time limit without progress, s", "start_timeout_s": "Time limit of a start, s",
}  # fmt: skip
_LARGE: Final = 1000
_HIDDEN: Final = frozenset({"gpus", "target", "length_strata", "gpu_reason"})
"""Keys whose values are lists or objects, or that others say already."""


def condition_sections(
    machine: Mapping[str, Any],
    versions: Mapping[str, Any],
    model: Mapping[str, Any],
    workload: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Iterator[Section]:
    """Yield a section for each part of the conditions of measurements that is known.

    Args:
        machine: Description of the hardware.
        versions: Versions of the software.
        model: Description of the model.
        workload: Description of the sequences.
        settings: Settings of the measurement.
    """
    for anchor, title, values in (
        ("machine", "Machine", machine),
        ("versions", "Versions", versions),
        ("model", "Model and weights", model),
        ("workload", "Workload", workload),
        ("settings", "Settings", settings),
    ):
        if facts := list(_facts(values)):
            yield Section(f"fine-{anchor}", title, [fact_list(facts)])


def _facts(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    known = [name for name in values if name in _LABELS]
    for name in [*(name for name in _LABELS if name in known), *(name for name in values if name not in _LABELS)]:
        value = values[name]
        if name in _HIDDEN or value is None or value in ("", [], {}) or isinstance(value, Mapping):
            continue
        yield _LABELS.get(name) or str(name).replace("_", " ").capitalize(), _text(value)


def _text(value: Any) -> str:
    """Return a value in words, and large counts with commas."""
    large = isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _LARGE
    return number(value) if large else words(value, 300)
