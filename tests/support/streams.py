# SPDX-License-Identifier: MIT
"""Simulated CUDA streams and events, which log all operations and prove their order.

Each stream carries a vector clock: an operation comes after all operations that its stream knows of. So a missing event
is found, whatever the timing on a device would have been.
"""

from contextlib import contextmanager


class SimulatedStream:
    def __init__(self, cuda, name, handle):
        self.cuda, self.name, self.cuda_stream = cuda, name, handle
        self.knows = {name: 0}

    def operate(self, what):
        self.knows[self.name] += 1
        self.cuda.operations.append((what, self.name, dict(self.knows)))

    def wait_event(self, event):
        for name, time in event.knows.items():
            self.knows[name] = max(self.knows.get(name, 0), time)

    def wait_stream(self, stream):
        self.wait_event(stream)


class SimulatedEvent:
    def __init__(self, cuda, blocking):
        self.cuda, self.blocking, self.knows = cuda, blocking, {}
        cuda.events_made += 1

    def record(self, stream):
        if self.cuda.lost:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        self.knows = dict(stream.knows)

    def synchronize(self):
        if self.cuda.lost:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        for name, time in self.knows.items():
            self.cuda.host_knows[name] = max(self.cuda.host_knows.get(name, 0), time)


class SimulatedCuda:
    """Replaces ``torch.cuda``'s streams and events.

    Attributes:
        operations: Operation, stream, and what the stream knew of each stream, in the order of queueing.
        host_knows: Number of operations of each stream that the host has waited for.
        lost: Whether the device is lost, so that every use of an event fails.
    """

    def __init__(self, monkeypatch, torch):
        self.operations, self.host_knows = [], {}
        self.events_made, self.lost = 0, False
        self.streams = [SimulatedStream(self, "compute", 0)]
        self.current = self.compute = self.streams[0]
        monkeypatch.setattr(torch.cuda, "Stream", self._make_stream)
        monkeypatch.setattr(torch.cuda, "Event", lambda blocking=False: SimulatedEvent(self, blocking))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: self.current)
        monkeypatch.setattr(torch.cuda, "set_stream", self._use)
        monkeypatch.setattr(torch.cuda, "device", self._use_device)
        copy, empty = torch.Tensor.copy_, torch.empty
        monkeypatch.setattr(torch.Tensor, "copy_", lambda *args, **options: self._copy(copy, *args, **options))
        monkeypatch.setattr(torch, "empty", lambda *args, pin_memory=False, **options: empty(*args, **options))

    def operate(self, what):
        self.current.operate(what)

    def last(self, what):
        """Return the stream of the last operation of that name, and what it knew."""
        return next((stream, knows) for name, stream, knows in reversed(self.operations) if name == what)

    def _make_stream(self, _device):
        self.streams.append(SimulatedStream(self, ("copy in", "copy out")[len(self.streams) - 1], len(self.streams)))
        return self.streams[-1]

    def _copy(self, copy, target, source, non_blocking=False):
        if non_blocking:
            self.operate("copy")
        return copy(target, source)

    def _use(self, stream):
        self.current = stream

    @contextmanager
    def _use_device(self, _device):
        yield
