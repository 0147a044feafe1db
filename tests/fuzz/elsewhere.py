"""Calls that are made in other threads, and layers that chance leaves out: what a pass may miss."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import nn


class Elsewhere:
    """Makes a call in a thread of its own, or in one of a pool; `plainly`: where it is made, as an oracle asks."""

    plainly = False

    def __init__(self, call: Callable[..., Any], pooled: bool) -> None:
        self.call, self.pooled = call, pooled

    def __call__(self, *values: Any) -> Any:
        if Elsewhere.plainly:
            return self.call(*values)
        found: list[Any] = []

        def work(grad: bool = torch.is_grad_enabled()) -> None:
            with torch.set_grad_enabled(grad):
                found.append(self.call(*values))

        if self.pooled:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(work).result()
        else:
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        return found[0]


class MaybeLeftOut(nn.Module):
    """A layer that chance leaves out in training; `Elsewhere.plainly`: never."""

    def __init__(self, layer: nn.Module, by_torch: bool) -> None:
        super().__init__()
        self.layer, self.by_torch = layer, by_torch

    def forward(self, x: Any) -> Any:
        if not self.training:
            return self.layer(x)
        drops = (torch.rand(()) if self.by_torch else random.random()) < 0.5
        return x if drops and not Elsewhere.plainly else self.layer(x)
