# SPDX-License-Identifier: MIT
"""A simulated machine with an exact clock, on which the real loader, packer and runner work.

Its model takes time in proportion to the tokens, or to the FLOPs, of each pack. That time passes on the machine's own
clock, so that what is reported of a run can be compared with the truth, however busy the real machine is.
"""

import random
from itertools import pairwise

import torch

from tests.support.runs import table_of
from virnuc_profiler.analysis.model_cost import DeviceCeiling, arithmetic_metadata, forward_flops
from virnuc_profiler.inference import runner as runner_module
from virnuc_profiler.sweep.plan.workload import generate_tuning_workload
from virnuc_profiler.sweep.trial import trial_run as trial
from virnuc_profiler.targets import repetition
from virnuc_profiler.telemetry.records import STAGES, BatchRecord, DeviceCapture, PackingRecord, StageRecord
from virnuc_profiler.telemetry.run_result import RunResult

ORDERS = ("ascending", "descending", "shuffled")


def workload_in_order(folder, count, order):
    """Write the sweep's workload of `count` sequences in an order of length, and return the path."""
    generated = generate_tuning_workload(folder, count)
    records = [">" + record for record in generated.read_text().split(">")[1:]]
    if order == "shuffled":
        random.Random(count).shuffle(records)
    else:
        records.sort(key=len, reverse=order == "descending")
    path = folder / f"{order}_{count}.fasta"
    path.write_text("".join(records))
    return path


class SimulatedMachine:
    """A model, and in place of a `BatchProfiler` the profiler that times it, on the machine's own clock.

    Args:
        tokens_per_second: Tokens that the machine computes per second; None for a machine of constant FLOPs.
        flops_per_second: FLOPs that it computes per second of the model with `shape`; None for one of constant tokens.
        shape: Shape of the model; None if it is not known.
        start_up_s: Seconds until the first batch arrives.
        on_device: Whether a device computes while the host goes on, with batches in flight and device times.
        slowness: Function that returns the factor by which a pack takes longer, by its number in the run; None for a
            machine of constant speed.
    """

    def __init__(
        self,
        *,
        tokens_per_second=None,
        flops_per_second=None,
        shape=None,
        start_up_s=0.0,
        on_device=False,
        slowness=None,
    ):
        self.slowness = slowness
        self.pack_number = 0
        self.tokens_per_second = tokens_per_second
        self.flops_per_second = flops_per_second
        self.shape = shape
        if shape is not None:  # where trials look for it
            self.num_layers, self.hidden_size = shape.num_layers, shape.hidden_size
        self.start_up_ns = round(start_up_s * 1e9)
        self.on_device = on_device
        self.started_ns = self.now_ns = 1_000_000_000
        self.device_free_ns = 0
        self.records: list[BatchRecord] = []
        self.begun = 0
        self.interrupt_at_pack = None

    def pack_ns(self, lengths):
        """Return how long the machine computes the next pack."""
        factor = 1.0 if self.slowness is None else self.slowness(self.pack_number)
        self.pack_number += 1
        return round(1e9 * factor * self.seconds(sum(lengths), sum(length**2 for length in lengths)))

    def seconds(self, tokens, sum_squared_lengths):
        """Return how long the machine computes, at its own speed."""
        if self.tokens_per_second is not None:
            return tokens / self.tokens_per_second
        return forward_flops(tokens, sum_squared_lengths, self.shape) / self.flops_per_second

    def __call__(self, tokens, cu_seqlens, max_seqlen):
        """Compute one pack: the model of a machine without a device."""
        if self.begun == self.interrupt_at_pack:
            raise KeyboardInterrupt
        self.now_ns += self.pack_ns(cu_seqlens.diff().tolist())
        return torch.zeros(len(tokens), 2)

    def install(self, monkeypatch):
        """Have trials timed by this machine and, with a device, batches launched on it."""
        monkeypatch.setattr(trial, "BatchProfiler", lambda **options: self)
        monkeypatch.setattr(repetition, "monotonic_ns", lambda: self.now_ns)
        if self.on_device:
            monkeypatch.setattr(runner_module, "resolve_device", lambda device: torch.device("cuda", 0))
            monkeypatch.setattr(runner_module, "make_launcher", lambda model, device: self.launch)

    def launch(self, packed, marks):
        """Queue one pack on the device behind those before it."""
        for stage in ("h2d", "forward", "d2h"):
            marks.mark(stage)
        marks.end_stage()
        begins_ns = max(self.now_ns, self.device_free_ns)
        self.device_free_ns = begins_ns + self.pack_ns(packed.cu_seqlens.diff().tolist())
        marks.device_ns = (begins_ns, self.device_free_ns)
        return _Queued(self, packed, self.device_free_ns)

    # The part of BatchProfiler that trials use.

    def start(self):
        self.started_ns = self.now_ns
        self.records, self.begun, self.pack_number = [], 0, 0

    def begin_batch(self):
        self.begun += 1
        return _SimulatedBatch(self, self.begun - 1)

    def stop(self):
        """Return the run."""
        device = DeviceCapture("simulated", "GPU-0", timed=True) if self.on_device else DeviceCapture("cpu")
        records = sorted(self.records, key=lambda record: record.index)
        ceiling = DeviceCeiling(None if self.flops_per_second is None else 2 * self.flops_per_second)
        return RunResult(
            run_id="simulated",
            started_at="2025-03-01T12:00:00+00:00",
            host_start_ns=self.started_ns,
            host_end_ns=self.now_ns,
            stage_names=STAGES,
            batches=table_of(records),
            device=device,
            metadata=arithmetic_metadata(self.shape, ceiling),
        )


class _Queued:
    """A pack on the simulated device."""

    def __init__(self, machine, packed, done_ns):
        self.machine, self.packed, self.done_ns = machine, packed, done_ns

    def wait(self):
        self.machine.now_ns = max(self.machine.now_ns, self.done_ns)
        return torch.zeros(len(self.packed.positions), 2)

    def drop(self):
        pass


class _SimulatedBatch:
    """Stands in for ``_core.Batch`` on the machine's clock."""

    def __init__(self, machine, index):
        self.machine, self.index = machine, index
        self.begun_ns = machine.now_ns
        self.device_ns = (None, None)
        self.marks = []
        self.packing = None
        self.open = True

    def mark(self, stage, stream=None):
        self.marks.append((stage, self.machine.now_ns))
        if stage == "fetch" and self.index == 0:
            self.machine.now_ns += self.machine.start_up_ns

    def mark_device_timestamped(self, stage, stream, followed_by, gapless):
        self.mark(stage, stream)
        return False

    def copy(self, stage, stream, target, source, size):
        return False

    def end_stage(self):
        self.marks.append((None, self.machine.now_ns))

    def record_interval(self, stage, start_ns, end_ns):
        """No-op: real time does not pass on the simulated machine."""

    def set_packing(self, statistics):
        names = ("sequences", "tokens", "min_length", "max_length", "sum_squared_lengths", "token_budget")
        self.packing = PackingRecord(**{name: getattr(statistics, name) for name in names})

    def end(self):
        if not self.open:
            return
        self.open = False
        ended_ns = self.machine.now_ns
        stages = []
        for (stage, start_ns), (_, end_ns) in pairwise([*self.marks, (None, ended_ns)]):
            if stage is not None:
                device_ns = self.device_ns if stage == "forward" else (None, None)
                stages.append(StageRecord(stage, start_ns, end_ns, *device_ns))
        record = BatchRecord(self.index, self.begun_ns, ended_ns, tuple(stages), self.packing)
        self.machine.records.append(record)

    def discard(self):
        self.open = False
