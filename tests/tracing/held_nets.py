"""Nets that keep something of a pass, or make constants in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

ROWS = (4, 8)


class Net(nn.Module):
    """Two linear layers around `body`, which gets the module and what the first gave."""

    def __init__(self, body: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.body, self.first, self.second = body, nn.Linear(8, 8), nn.Linear(8, 8)
        self.register_buffer("state", torch.zeros(ROWS))
        self.last: Any = None
        self.items: list[Any] = []
        self.cache: dict[str, Any] = {}

    def forward(self, x: Any) -> Any:
        return self.second(torch.relu(self.body(self, self.first(x))))


def keep(name: str, make: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A body that puts what it makes into an attribute."""

    def body(net: Any, x: Any) -> Any:
        setattr(net, name, make(net, x))
        return x

    return body


def average(net: Any, x: Any) -> Any:
    net.state = (net.state * 0.9 + x).detach()
    return x + net.state * 2


def registered(net: Any, x: Any) -> Any:
    net.register_buffer("state", (net.state * 0.9 + x).detach())
    return x + net.state


def attached(net: Any, x: Any) -> Any:
    net.state = net.state.detach() * 0.9 + x
    return x + net.state.detach() * 2


def keys(net: Any, x: Any) -> Any:
    net.state = torch.cat([net.state[1:], x.detach()[:1]])
    return x @ net.state.T @ net.state


def rolled(net: Any, x: Any) -> Any:
    net.items.append(x.detach() * 2)
    net.items = net.items[-1:]
    return x


def cached(net: Any, x: Any) -> Any:
    net.cache["x"] = x.detach() * 2
    return x


def used_later(net: Any, x: Any) -> Any:
    """The old one goes some ops after the new one is made."""
    new = x.detach() * 2
    mixed = new if net.last is None else new + net.last * 0  # two ops more from the second pass on
    net.last = new
    return x + mixed


def left_loss(net: Any, x: Any) -> Any:
    """A loss beside the output, whose graph nothing goes back through."""
    gate = x.softmax(-1)
    net.last = (gate * gate).sum()
    return x * gate


HELD: dict[str, Callable[[Any, Any], Any]] = {
    "an average": average,
    "an average with its graph": attached,
    "a buffer registered anew": registered,
    "keys and values": keys,
    "the last": keep("last", lambda net, x: x.detach() * 2),
    "the last with its graph": keep("last", lambda net, x: torch.relu(x)),
    "two in a list": keep("items", lambda net, x: [x.detach() * 2, x.detach() * 3]),
    "a tuple of two sizes": keep("last", lambda net, x: (x.detach().sum(), x.detach() * 3)),
    "the newest of a list": rolled,
    "an item of a dict": cached,
    "a loss": left_loss,
}


def in_place(net: Any, x: Any) -> Any:
    net.state.copy_((net.state * 0.9 + x).detach())
    return x + net.state


def from_numpy(net: Any, x: Any) -> Any:
    return x + torch.from_numpy(np.ones(ROWS, dtype="float32"))


def scratch(net: Any, x: Any) -> Any:
    made = torch.zeros(ROWS)
    made[:, :4] = 1
    return x + made


def let_go(net: Any, x: Any) -> Any:
    bias = torch.tensor([1.0] * 8)
    x = x + bias
    bias = None  # type: ignore[assignment]
    return torch.relu(x).sin()


def held_to_the_end(net: Any, x: Any) -> Any:
    bias = torch.tensor([1.0] * 8)
    return torch.relu(x + bias).sin()


CONSTANTS: dict[str, Callable[[Any, Any], Any]] = {
    "a number": lambda net, x: x * torch.tensor(3.0),
    "a range": lambda net, x: x + torch.arange(8),
    "a mask": lambda net, x: x @ torch.triu(torch.ones(8, 8), 1),
    "scratch": scratch,
    "a list": lambda net, x: x + torch.tensor([[1.0] * 8] * 4),
    "a list for an index": lambda net, x: x[torch.tensor([0, 1, 2])],
    "truths": lambda net, x: x.masked_fill(torch.tensor([True] * 4 + [False] * 4), 0.0),
    "numpy's": from_numpy,
    "let go": let_go,
    "a name to the end": held_to_the_end,
    "a state in place": in_place,
}


def hooked(hook: Callable[..., Any], *, backward: bool = False) -> nn.Module:
    """Two layers, the first with a hook that gets the module's dict first."""
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    store: dict[str, Any] = {}
    net.store = store  # type: ignore[assignment]
    add = net[0].register_full_backward_hook if backward else net[0].register_forward_hook
    add(lambda *args: hook(store, *args))
    return net


MODULES: dict[str, Callable[[], nn.Module]] = {
    "a hook that keeps the output": lambda: hooked(lambda store, m, i, out: store.update(out=out)),
    "a hook that keeps a copy": lambda: hooked(lambda store, m, i, out: store.update(out=out.detach().clone())),
    "a hook that keeps a gradient": lambda: hooked(lambda store, m, i, out: store.update(out=i[0]), backward=True),
    "weight norm": lambda: nn.Sequential(torch.nn.utils.weight_norm(nn.Linear(8, 8)), nn.ReLU(), nn.Linear(8, 8)),
    "spectral norm": lambda: nn.Sequential(torch.nn.utils.spectral_norm(nn.Linear(8, 8)), nn.Linear(8, 8)),
}


class Biased(nn.Module):
    """As some net of timm: a table is made once, and dropped as the flags of training are set."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.table = nn.Parameter(torch.ones(8)), dict[str, Any]()

    def train(self, mode: bool = True) -> Biased:
        self.table = {}
        return super().train(mode)

    def forward(self, x: Any) -> Any:
        if "bias" not in self.table:
            self.table["bias"] = self.weight * 2
        return x + self.table["bias"]
