# SPDX-License-Identifier: MIT
"""A process with a model on one card, which measures for some seconds on request.

Started by :mod:`benchmarks.scaling_turns`, once for each card. It prints ``ready``, then reads the seconds of a
measurement from each line of its input, and answers with one line of JSON, a :class:`Reading`.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import psutil

from virnuc_profiler import generate_tuning_workload, load_esm2_model
from virnuc_profiler.analysis.summary.run_summary import run_summary
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.sweep.trial.run import measure_configuration
from virnuc_profiler.sweep.trial.warm_up import warm_up_model
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.run_result import RunResult


@dataclass(frozen=True, slots=True)
class Reading:
    """What one card did during a measurement. What was not measured is None.

    Attributes:
        uuid: UUID of the card; None on the CPU.
        tokens_per_sec: Steady rate.
        low: Lower end of the 95 % interval of that rate.
        high: Upper end of the 95 % interval of that rate.
        seconds: Seconds after start-up that were measured.
        watts: Mean power, from the energy counter.
        sm_clock_mhz: Mean clock of the readings.
        temperature_c: Highest temperature of the readings.
        throttled_s: Seconds by throttle reason.
        cpu_cores: CPU seconds of the process and its workers, per second.
        bound_by: What the diagnosis names.
        diagnosis: Its sentence.
    """

    uuid: str | None
    tokens_per_sec: float | None
    low: float | None
    high: float | None
    seconds: float | None
    watts: float | None
    sm_clock_mhz: float | None
    temperature_c: int | None
    throttled_s: dict[str, float] | None
    cpu_cores: float
    bound_by: str | None
    diagnosis: str | None


def main() -> None:
    """Load the model, and measure until the input ends."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--model", default="8M")
    options.add_argument("--device", default="cuda")
    options.add_argument("--num-sequences", type=int, default=2000)
    options.add_argument("--num-workers", type=int, default=4)
    options.add_argument("--token-budget", type=int, default=16_384)
    options.add_argument("--folder", required=True, help="folder of this process's own files")
    arguments = options.parse_args()
    replies, sys.stdout = sys.stdout, sys.stderr  # nothing but replies goes to the parent
    model, converter = load_esm2_model(arguments.model, arguments.device, weights="random")
    fasta = FastaFile.open(generate_tuning_workload(arguments.folder, arguments.num_sequences))
    configuration = Configuration(num_workers=arguments.num_workers, token_budget=arguments.token_budget)
    warm_up_model(model, arguments.device, fasta, num_workers=1, batch_converter=converter)
    print("ready", file=replies, flush=True)
    for line in sys.stdin:
        before = _cpu_seconds()
        result = measure_configuration(
            configuration, fasta, arguments.folder, model, arguments.device, batch_converter=converter,
            cooldown_s=0.0, trial_seconds=float(line),
        )  # fmt: skip
        if result.run_path is None:
            raise SystemExit(f"the measurement failed: {result.message}")
        run = RunResult.load(result.run_path, max_bytes=sys.maxsize)
        cores = (_cpu_seconds() - before) / (result.elapsed_sec or 1.0)
        reading = reading_of(run, result.measured_sec, result.rate_interval, cores)
        print(json.dumps(asdict(reading)), file=replies, flush=True)


def reading_of(run: RunResult, seconds: float | None, interval: Any, cpu_cores: float) -> Reading:
    """Return what a run says of its card.

    Args:
        run: The run.
        seconds: Seconds after start-up that were measured.
        interval: JSON of the steady rate's interval; None if it is not known.
        cpu_cores: CPU seconds per second.
    """
    summary = run_summary(run)
    readings = () if run.gpu is None else run.gpu.fast
    clocks = [one.sm_clock_mhz for one in readings if one.sm_clock_mhz is not None]
    degrees = [one.temperature_c for one in readings if one.temperature_c is not None]
    ends = interval or {}
    return Reading(
        uuid=run.device.uuid,
        tokens_per_sec=summary.get("steady_tokens_per_sec"),
        low=ends.get("low"),
        high=ends.get("high"),
        seconds=seconds,
        watts=summary.get("mean_power_watts"),
        sm_clock_mhz=fmean(clocks) if clocks else None,
        temperature_c=max(degrees, default=None),
        throttled_s=summary.get("throttled_seconds"),
        cpu_cores=cpu_cores,
        bound_by=summary.get("bound_by"),
        diagnosis=summary.get("diagnosis"),
    )


def _cpu_seconds() -> float:
    """Return the CPU time of this process and all that it has started, ended workers included."""
    this = psutil.Process()
    return sum(sum(one.cpu_times()[:4]) for one in (this, *this.children(recursive=True)))


if __name__ == "__main__":
    main()
