# SPDX-License-Identifier: MIT
"""A model process with real trials on the GPU. The prefetch factor selects the fault."""

from dataclasses import replace
from enum import IntEnum

import torch

from tests.support.faulty_model import FaultyModel
from virnuc_profiler.sweep.trial.run import measure_configuration


class DeviceFault(IntEnum):
    NONE = 4
    ASSERT = 301
    OUT_OF_MEMORY = 302


class DeviceModel:
    """Allocates memory for each batch, and fails in the middle of the n-th."""

    def __init__(self, device, fault=DeviceFault.NONE, fail_at=3):
        self.device, self.fault, self.fail_at, self.calls = device, fault, fail_at, 0
        self.weights = torch.ones(4, 4, device=device)

    def __call__(self, tokens, cu_seqlens, max_seqlen, host_cu_seqlens=None):
        self.calls += 1
        held = [torch.ones(len(tokens), 4, device=self.device) for _ in range(8)]
        if self.calls == self.fail_at and self.fault == DeviceFault.OUT_OF_MEMORY:
            total = torch.cuda.get_device_properties(self.device).total_memory
            held.extend(torch.empty(total // 4, dtype=torch.uint8, device=self.device) for _ in range(8))
        if self.calls == self.fail_at and self.fault == DeviceFault.ASSERT:
            table = torch.zeros(4, device=self.device)
            table[torch.full((1,), 99, device=self.device)].sum()  # index out of bounds
        return held[0] @ self.weights


class FaultyDevice(FaultyModel):
    device_name = "a GPU"

    def run_trial(self, workload, configuration, output_dir, on_progress=None, on_tokens=None, brief=False):
        device = torch.device(str(self.request.device))
        model = DeviceModel(device, DeviceFault(configuration.prefetch_factor))
        used = configuration.replace(prefetch_factor=1)
        result = measure_configuration(
            used, workload.path, output_dir, model, device, cooldown_s="auto", on_progress=on_progress
        )
        return replace(result, configuration=configuration)


def main(*arguments):
    """Entry point that the supervisor starts."""
    from virnuc_profiler.sweep.worker import child

    child.main(*arguments, make_model=FaultyDevice)
