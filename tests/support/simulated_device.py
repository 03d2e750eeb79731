# SPDX-License-Identifier: MIT
"""A simulated GPU for the runner: batches are launched at once, and finish when they are waited for."""

import torch

from tests.support.packed import packed_batch, proteins
from virnuc_profiler.inference import runner as runner_module


def batches(sizes):
    """Yield packs with these numbers of sequences; positions continue from pack to pack."""
    first = 0
    for size in sizes:
        yield packed_batch(proteins(range(first + 1, first + size + 1)), first_position=first, token_budget=4096)
        first += size


def drain(run, seen):
    """Consume a run; `seen` holds the numbers of its batches even if the run fails."""
    for result in run:
        seen.append(result.batch_idx)


class SimulatedDevice:
    """Launches batches at once, finishes them when they are waited for, and logs the order of both."""

    def __init__(self, monkeypatch):
        self.log = []
        self.fail_at = {}
        self.broken_rows = {}
        self.while_waiting = lambda number: None
        monkeypatch.setattr(runner_module, "resolve_device", lambda device: torch.device("cuda", 0))
        monkeypatch.setattr(runner_module, "make_launcher", lambda model, device: self.launch)

    def launch(self, packed, marks):
        number = sum(kind == "launch" for kind, _ in self.log)
        self.log.append(("launch", number))
        if ("launch", number) in self.fail_at:
            raise self.fail_at["launch", number]
        return SimulatedBatch(self, packed, number)


class SimulatedBatch:
    """A batch in flight on the simulated device."""

    def __init__(self, device, packed, number):
        self.device, self.packed, self.number = device, packed, number

    def wait(self):
        self.device.log.append(("wait", self.number))
        self.device.while_waiting(self.number)
        if ("wait", self.number) in self.device.fail_at:
            raise self.device.fail_at["wait", self.number]
        embeddings = torch.full((len(self.packed.positions), 2), float(self.number))
        embeddings[self.device.broken_rows.get(self.number, [])] = torch.nan
        return embeddings

    def drop(self):
        self.device.log.append(("drop", self.number))
