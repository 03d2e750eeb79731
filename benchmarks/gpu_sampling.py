# SPDX-License-Identifier: MIT
"""Check the GPU sampler's readings, and what they cost: energy, tensor activity, CPU time, jitter.

A sampler with the default rates runs while the device is idle, fully loaded, and idle again. Then another one runs with
the fast tier alone, under load.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.claim import Claim
from benchmarks.matmul_load import MatmulLoad
from benchmarks.report import parser, print_table, publish
from benchmarks.sampled_phases import Phase, SampledPhases, fast_tier_alone
from benchmarks.sampling_claims import cpu_claim, energy_claim, jitter_claim, tensor_claim
from benchmarks.sampling_figures import (
    Energy,
    activity_in,
    energy_between,
    jitter,
    mean_in,
    throttle_reasons_in,
)
from virnuc_profiler import _core
from virnuc_profiler.inference.placement import resolve_device


def main() -> None:
    """Run the phases, and print what they showed and whether each claim held."""
    arguments = parse_arguments()
    device = resolve_device(arguments.device)
    uuid = _core.cuda_devices()[device.index or 0].uuid
    beside = SampledPhases(_core.GpuSampler(uuid), "all tiers")
    alone = SampledPhases(fast_tier_alone(uuid), "fast tier alone")
    load = MatmulLoad(device, arguments.matrix)
    load.run(0.5)  # the first product loads its kernel
    time.sleep(min(3.0, arguments.idle_s))

    with beside:
        beside.run("idle", arguments.idle_s, time.sleep)
        beside.run("load", arguments.load_s, load.run)
        beside.run("idle again", arguments.idle_s, time.sleep)
    with alone:
        alone.run("load", arguments.fast_only_s, load.run)

    phases = [phase_figures(beside, phase) for phase in beside.phases]
    phases.append(phase_figures(alone, alone.phase("load")) | {"phase": "load, fast tier alone"})
    beside_tiers, alone_tiers = tier_figures(beside), tier_figures(alone)
    energies = energies_of(beside)
    claims = judge(phases, energies, beside, beside_tiers, alone_tiers)

    print_records(f"\nPhases (products of {arguments.matrix}; means once settled)", phases)
    print_records(f"\nTiers in {beside.seconds:.1f} s", beside_tiers)
    print_records(f"\nThe fast tier alone, in {alone.seconds:.1f} s", alone_tiers)
    print(f"\nCPU time of the threads by Linux: {linux_cpu_share(beside):.3%} of a core with all tiers\n")
    figures = {
        "phases": phases,
        "energy": {window: None if energy is None else asdict(energy) for window, energy in energies.items()},
        "tiers": beside_tiers,
        "tiers_fast_alone": alone_tiers,
        "cpu_share_by_linux": linux_cpu_share(beside),
        "claims": [asdict(claim) for claim in claims],
    }
    rows = [[claim.verdict, claim.text, claim.measured] for claim in claims]
    publish("GPU sampling", ["", "claim", "measured"], rows, figures, arguments.json)


def parse_arguments() -> argparse.Namespace:
    """Parse the options. The defaults take about 95 s."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu to try the script with another load")
    options.add_argument("--idle-s", type=float, default=5.0, help="seconds of idle time before and after the load")
    options.add_argument("--load-s", type=float, default=60.0, help="seconds of load with all tiers")
    options.add_argument("--fast-only-s", type=float, default=20.0, help="seconds of load with the fast tier alone")
    options.add_argument("--matrix", type=int, default=8192, help="size of the square matrix products")
    return options.parse_args()


def phase_figures(recording: SampledPhases, phase: Phase) -> dict[str, Any]:
    """Return means over the settled part of a phase."""
    window = (phase.settled_ns, phase.end_ns)
    power_mw = mean_in(recording.fast, "power_mw", *window)
    activities = {
        name: activity_in(recording.gpm, name, *window) for name in ("sm_activity", "tensor_activity", "dram_activity")
    }
    return {
        "phase": phase.name,
        "seconds": (phase.end_ns - phase.start_ns) / 1e9,
        "tflops": phase.tflops,
        "power_w": None if power_mw is None else power_mw / 1e3,
        "sm_clock_mhz": mean_in(recording.fast, "sm_clock_mhz", *window),
        "utilization_percent": mean_in(recording.fast, "utilization_percent", *window),
        **activities,
        "throttle_reasons": throttle_reasons_in(recording.fast, *window),
    }


def tier_figures(recording: SampledPhases) -> list[dict[str, Any]]:
    """Return the readings, errors, and punctuality of each tier."""
    on_time = recording.energy[1:-1]  # its first reading is taken at the start, its last at the end, whenever that is
    readings = {"fast": recording.fast, "gpm": recording.gpm, "energy": on_time}
    found = []
    for tier in recording.sampler.tiers():
        taken, missed = readings.get(tier.name), tier.missed_deadlines
        punctuality = None if taken is None else jitter(taken, tier.interval_ms, missed)
        cpu_ns = getattr(tier, "cpu_ns", None)
        found.append(
            {
                "tier": tier.name,
                "interval_ms": tier.interval_ms,
                "readings": tier.readings,
                "missed_deadlines": tier.missed_deadlines,
                "errors": tier.errors,
                "unsupported": tier.unsupported or ("stalled" if tier.stalled else ""),
                "cpu_share": None if cpu_ns is None else cpu_ns / 1e9 / recording.seconds,
                **{name: getattr(punctuality, name, None) for name in ("p50_ms", "p99_ms", "max_ms")},
            }
        )
    return found


def energies_of(recording: SampledPhases) -> dict[str, Energy | None]:
    """Return the energy of the steady load, and of the time from the first to the last reading of the counter."""
    load = recording.phase("load")
    windows = {"steady load": (load.settled_ns, load.end_ns), "whole run": (0, 2**62)}
    return {name: energy_between(recording.energy, recording.fast, *window) for name, window in windows.items()}


def judge(
    phases: Sequence[dict[str, Any]],
    energies: dict[str, Energy | None],
    beside: SampledPhases,
    beside_tiers: Sequence[dict[str, Any]],
    alone_tiers: Sequence[dict[str, Any]],
) -> list[Claim]:
    """Compare each claim about the sampler with these figures."""
    own_shares = [tier["cpu_share"] for tier in beside_tiers]
    cpu_share = linux_cpu_share(beside) if None in own_shares else sum(own_shares)
    beside_fast, alone_fast = (
        next(tier for tier in tiers if tier["tier"] == "fast") for tiers in (beside_tiers, alone_tiers)
    )
    return [
        *(energy_claim(window, energy) for window, energy in energies.items()),
        *(
            tensor_claim(phase["phase"], phase["tensor_activity"], loaded=phase["phase"] == "load")
            for phase in phases
            if not phase["phase"].endswith("alone")
        ),
        cpu_claim(cpu_share),
        jitter_claim(beside_fast["p99_ms"], alone_fast["p99_ms"]),
    ]


def linux_cpu_share(recording: SampledPhases) -> float:
    """Return the CPU time of the sampler's threads divided by wall time, as a check on what the tiers report."""
    return recording.threads_cpu_s / recording.seconds


def print_records(title: str, records: Sequence[dict[str, Any]]) -> None:
    """Print records with the same keys as a table."""
    print(title)
    print_table(list(records[0]), [[cell(value) for value in record.values()] for record in records])


def cell(value: Any) -> str:
    """Return a value as text, or `n/a` if it was not measured."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {share:.0%}" for name, share in value.items()) or "n/a"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"
    return "n/a" if value is None else str(value)


if __name__ == "__main__":
    main()
