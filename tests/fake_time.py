"""Time that passes only when it is told to, so that tests of measuring can ask for exact numbers."""

from __future__ import annotations

import torch
from torch import nn


class Time:
    """A clock and what it shows; every mark takes `cost` seconds, half before and half after it is read."""

    def __init__(self, cost: float = 0.0) -> None:
        self.now, self.cost, self.settled = 0.0, cost, 0

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds

    def mark(self) -> float:
        self.spend(self.cost / 2)
        moment = self.now
        self.spend(self.cost / 2)
        return moment

    def settle(self) -> None:
        self.settled += 1

    def seconds(self, start: float, end: float) -> float:
        return end - start

    def __deepcopy__(self, memo: object) -> Time:
        return self  # a model that is copied goes on living in the same time


class Spend(torch.autograd.Function):
    """Adds one; takes `forward` seconds, and `backward` on the way back."""

    @staticmethod
    def forward(ctx, tensor, time, forward, backward):  # type: ignore[no-untyped-def]
        ctx.time, ctx.backward_seconds = time, backward
        time.spend(forward)
        return tensor + 1

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        ctx.time.spend(ctx.backward_seconds)
        return gradient, None, None, None


class Work(nn.Module):
    """A layer with one weight that takes so many seconds."""

    def __init__(self, time: Time, forward: float, backward: float = 0.0) -> None:
        super().__init__()
        self.time, self.seconds = time, (forward, backward)
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, tensor: torch.Tensor) -> torch.Tensor:
        worked: torch.Tensor = Spend.apply(tensor * self.weight, self.time, *self.seconds)
        return worked


class Residual(nn.Module):
    """Its inner layers, and an addition of its own that takes a second (two on the way back)."""

    def __init__(self, time: Time, *inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)
        self.time = time

    def forward(self, tensor: torch.Tensor) -> torch.Tensor:
        added: torch.Tensor = Spend.apply(tensor + self.inner(tensor), self.time, 1.0, 2.0)
        return added
