"""A GPU played in Python: a host and a stream, each with its own clock in whole nanoseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from archprof.facts.ran import Ran
from archprof.measuring.cuda import CudaDevice
from archprof.measuring.protocols import PassMemory

CYCLE = 1
"""Nanoseconds of one clock cycle."""


class FakeEvent:
    def __init__(self, gpu: FakeGpu) -> None:
        self.gpu, self.at = gpu, -1

    def record(self) -> None:
        self.gpu.host += self.gpu.record
        self.gpu.give(self.gpu.event_cost, self)

    def elapsed_time(self, end_event: Any) -> float:
        assert 0 <= self.at <= end_event.at <= self.gpu.host, "an event was read before the GPU had got to it"
        return (end_event.at - self.at) / 1e6


class FakeGraph:
    def __init__(self, gpu: FakeGpu, work: list[tuple[int, FakeEvent | None]]) -> None:
        self.gpu, self.work = gpu, work

    def replay(self) -> None:
        self.gpu.host += self.gpu.launch_cost
        for length, event in self.work:
            self.gpu.give(length, event)


class FakeGpu:
    """launch_cost, record: what the host needs for a launch and for an event; event_cost: what the stream needs."""

    def __init__(self, *, launch_cost: int = 0, record: int = 0, event_cost: int = 0) -> None:
        self.launch_cost, self.record, self.event_cost = launch_cost, record, event_cost
        self.host = self.stream = 0
        self.captured: list[tuple[int, FakeEvent | None]] | None = None
        self.events = self.captures = 0
        self.refuses_capture = ""
        self.sleeps: list[int] = []

    def launch(self, length: int) -> None:
        """A kernel that takes so many nanoseconds."""
        self.host += self.launch_cost
        self.give(length, None)

    def give(self, length: int, event: FakeEvent | None) -> None:
        if self.captured is not None:
            self.captured.append((length, event))
            return
        self.stream = max(self.host, self.stream) + length
        if event is not None:
            event.at = self.stream

    def now(self) -> float:
        return self.host / 1e9

    def event(self) -> FakeEvent:
        self.events += 1
        return FakeEvent(self)

    def synchronize(self) -> None:
        assert self.captured is None, "the host may not wait during a capture"
        self.host = max(self.host, self.stream)

    def sleep(self, cycles: int) -> None:
        self.sleeps.append(cycles)
        self.launch(cycles * CYCLE)

    def capture(self, run: Callable[[], Any], between: Callable[[], None]) -> FakeGraph:
        for _ in range(3):
            run()
            between()
        if self.refuses_capture:
            raise RuntimeError(self.refuses_capture)
        self.captures += 1
        made = self.events
        self.captured = work = []
        run()
        self.captured = None
        assert made == self.events, "a capture should find its events made"
        return FakeGraph(self, work)


GPU = FakeGpu()


class Played(CudaDevice):
    """The device of `GPU`; the model's own ops run on the CPU, and take no time on the stream."""

    kind = "cpu"
    name = "Played 9000"  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(GPU)

    def measure_memory(self, subject: Any, profile: Any) -> PassMemory:
        return PassMemory((), None)

    def free_bytes(self) -> None:
        return None

    def release_cache(self) -> None:
        """Nothing is held."""

    def environment(self) -> Ran:
        return Ran(details={"gpu": self.name})


class Kernels(nn.Module):
    """A layer that launches kernels of these lengths on `GPU`."""

    def __init__(self, *lengths: int) -> None:
        super().__init__()
        self.lengths = lengths

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for length in self.lengths:
            GPU.launch(length)
        return x + 1


class Residual(nn.Module):
    """A container with work of its own."""

    def __init__(self, length: int, inner: nn.Module) -> None:
        super().__init__()
        self.length, self.inner = length, inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.inner(x)
        GPU.launch(self.length)
        return y + x


class FakeSubject:
    """What samplers use of a `Subject`."""

    train = compiled = False

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def run_pass(self, begins: Any = lambda stage, loss: None) -> None:
        with torch.no_grad():
            begins("forward", None)
            self.model(torch.zeros(2))
            begins("end", None)
