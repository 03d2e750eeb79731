# SPDX-License-Identifier: MIT
"""The facts of a run that a comparison checks, from the metadata of telemetry or the conditions of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any, Final

from virnuc_profiler.telemetry.run_result import RunResult

_MACHINE: Final = (
    "hostname", "cpu_model", "cpu_usable_cores", "cpu_quota_cores", "memory_total_gb", "driver_version", "platform",
    "cuda_visible_devices",
)  # fmt: skip
_GPU: Final = ("uuid", "power_limit_mw", "mig_enabled")
_MODEL: Final = ("model_name", "precision", "weights", "attention_backend", "kernels")
_WORKLOAD: Final = ("fingerprint", "num_sequences", "skipped_records", "tokens", "sampling", "sample_fingerprint")
_SETTINGS: Final = ("isolation", "device_memory_gb", "warm_up", "precision_target", "trial_seconds")

_CPU: Final = "cpu"
_SHORTEST_SHARE: Final = 0.01
"""Share of a run under a clock-event reason from which it is named: a shorter one changes nothing."""


def facts_of(
    *,
    device: Any,
    machine: Mapping[str, Any],
    versions: Mapping[str, Any],
    model: Mapping[str, Any],
    workload: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what is known of a run, by dotted names. Values of unknown origin that are no scalars are left out.

    Args:
        device: Name of the device, ``cpu`` or that of a GPU; None if it is not known.
        machine: Description of the hardware.
        versions: Versions of the software.
        model: Description of the model, with what a target other than the built-in one says of itself as ``target``.
        workload: Description of the sequences.
        settings: Settings of a sweep; empty for a run.
    """
    found: dict[str, Any] = {}
    if isinstance(device, str):
        on_cpu = device == _CPU
        found["device.kind"] = "CPU" if on_cpu else "GPU"
        found["device.name"] = machine.get("cpu_model") if on_cpu else device
    found |= {f"model.{name}": model.get(name) for name in _MODEL}
    found |= {f"target.{name}": value for name, value in section(model, "target").items() if name not in _MODEL}
    found |= {f"workload.{name}": workload.get(name) for name in _WORKLOAD}
    if workload:
        found["workload.sampling"] = workload.get("sampling", "first")  # files of older versions hold no other
    found |= {f"machine.{name}": machine.get(name) for name in _MACHINE}
    found |= {f"machine.gpu_{name}": _gpu_named(device, machine).get(name) for name in _GPU}
    found |= {f"versions.{name}": version for name, version in versions.items()}
    found |= {f"settings.{name}": settings.get(name) for name in _SETTINGS}
    return {name: value for name, value in found.items() if isinstance(value, str | int | float)}


def clock_facts(run: RunResult | None, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mean SM clock of a run in MHz, and the reasons for which its clocks were lowered.

    Args:
        run: The whole run; None where only its telemetry is known, which has no clocks.
        summary: Telemetry summary of the run.
    """
    found: dict[str, Any] = {}
    readings = () if run is None or run.gpu is None else run.gpu.fast
    inside = (one for one in readings if run is not None and run.host_start_ns <= one.at_ns <= run.host_end_ns)
    if clocks := [one.sm_clock_mhz for one in inside if one.sm_clock_mhz]:
        found["clocks.sm_mhz"] = round(fmean(clocks))
    seconds, elapsed = summary.get("throttled_seconds"), summary.get("elapsed_seconds")
    if isinstance(seconds, Mapping) and elapsed:
        reasons = sorted(name for name, lasted in seconds.items() if (lasted or 0.0) > _SHORTEST_SHARE * elapsed)
        found["clocks.lowered_by"] = ", ".join(reasons) or "nothing"
    return found


def section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object of a document of unknown origin; empty if it is missing or something else.

    Args:
        values: The document.
        name: Key of the object.
    """
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}


def _gpu_named(device: Any, machine: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the description of the only GPU with a name; empty if several may be meant."""
    cards = machine.get("gpus")
    cards = cards if isinstance(cards, list) else []
    named = [one for one in cards if isinstance(one, Mapping) and one.get("name") == device]
    return named[0] if len(named) == 1 else {}
