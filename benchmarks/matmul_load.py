# SPDX-License-Identifier: MIT
"""Load the GPU fully and leave the CPU free, with one large bf16 matrix product after the other."""

from __future__ import annotations

from collections import deque
from time import perf_counter

import torch

PRODUCTS_IN_A_ROW = 10
ROWS_IN_FLIGHT = 4
"""About 60 ms of queued work on an H200 at 8192: enough to stay busy, and quickly done at the end."""


class MatmulLoad:
    """Square matrix products of `size`. On the CPU, to try a script, they run in fp32."""

    def __init__(self, device: torch.device, size: int) -> None:
        self._device = device
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self._left, self._right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        self._out = torch.empty_like(self._left)
        self._flops_in_a_row = 2 * size**3 * PRODUCTS_IN_A_ROW

    def run(self, seconds: float) -> float:
        """Keep the device busy for this many seconds and return TFLOP/s."""
        start = perf_counter()
        in_flight: deque[torch.cuda.Event] = deque()
        rows = 0
        while perf_counter() - start < seconds:
            for _ in range(PRODUCTS_IN_A_ROW):
                torch.mm(self._left, self._right, out=self._out)
            rows += 1
            if self._device.type == "cuda":
                in_flight.append(torch.cuda.Event(blocking=True))  # the thread sleeps while it waits
                in_flight[-1].record()
                if len(in_flight) == ROWS_IN_FLIGHT:
                    in_flight.popleft().synchronize()
        while in_flight:
            in_flight.popleft().synchronize()
        return rows * self._flops_in_a_row / (perf_counter() - start) / 1e12
