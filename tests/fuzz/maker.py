"""Random modules, each with the parameters and multiply-accumulates that closed formulas give it.

Nothing of archprof is imported here: the formulas are written anew, from the definitions of the layers.
A module is a list of steps on values; a step is a layer, a function, or a block with steps of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from fuzz.elsewhere import Elsewhere
from torch import nn

LARGEST = 4096
"""Elements of a value at most: passes stay short."""


@dataclass
class Count:
    """What the formulas add up to.

    Attributes:
        backward: MACs of the gradients.
        late: elements of parameters that the first forward makes.
        unlisted: elements of parameters that `Module.parameters` does not find.
        params: elements by parameter.
    """

    macs: int = 0
    backward: int = 0
    late: int = 0
    unlisted: int = 0
    params: dict[int, int] = field(default_factory=dict)

    def own(self, *parameters: torch.Tensor | None) -> None:
        """Parameters, each once however often it is used."""
        self.params.update({id(p): size(tuple(p.shape)) for p in parameters if p is not None})


@dataclass(frozen=True)
class Value:
    """What the generator knows of a tensor: its shape, and whether a gradient flows to it."""

    shape: tuple[int, ...]
    grad: bool = False


Step = tuple[Callable[..., Any], tuple[int, ...]]
"""What to call and the values, by number, it is called with."""


class Net(nn.Module):
    """Runs steps: each gives one more value; what no step reads is returned."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.returns: tuple[int, ...] = ()

    def forward(self, *values: Any) -> Any:
        known = list(values)
        for call, sources in self.steps:
            known.append(call(*(known[at] for at in sources)))
        found = tuple(known[at] for at in self.returns)
        return found[0] if len(found) == 1 else found


def size(shape: tuple[int, ...]) -> int:
    count = 1
    for each in shape:
        count *= each
    return count


class Maker:
    """Draws the steps of one module and counts them; `draws` are the kinds of steps, by dimensions, 0 for any."""

    def __init__(self, rng: random.Random, count: Count, train: bool, draws: Mapping[int, list[Draw]]) -> None:
        self.rng, self.count, self.train, self.draws = rng, count, train, draws
        self.linears: list[nn.Linear] = []  # whose weights may be tied to
        self.values: list[Value] = []  # what the last net returns

    def net(self, values: list[Value], steps: int, depth: int) -> Net:
        net, known = Net(), list(values)
        for _ in range(steps):
            self.step(net, known, depth)
        read = {at for _, sources in net.steps for at in sources}
        last = len(known) - 1
        net.returns = tuple(at for at in range(len(values), len(known)) if at not in read) or (last,)
        self.values = [known[at] for at in net.returns]
        if self.rng.random() < 0.2:
            unused = nn.Linear(self.rng.randint(1, 4), 2)
            net.add_module("unused", unused)
            self.count.own(*unused.parameters())
        return net

    def step(self, net: Net, known: list[Value], depth: int) -> None:
        at = len(known) - 1 if self.rng.random() < 0.8 else self.rng.randrange(len(known))
        x = known[at]
        if depth < 2 and self.rng.random() < 0.15:
            made = self.kept(lambda: self.block(x, depth + 1))
            if made is not None:
                self.add(net, made[0], (at,), known, made[1])
                return
        same = [other for other in range(len(known)) if known[other].shape == x.shape]
        if self.rng.random() < 0.2:
            other = self.rng.choice(same)
            call = self.rng.choice([torch.add, torch.mul, torch.sub, torch.maximum])
            self.add(net, call, (at, other), known, Value(x.shape, x.grad or known[other].grad))
            return
        draws = self.draws.get(len(x.shape), self.draws[0])
        made = None
        while made is None:
            made = self.kept(lambda: self.rng.choice(draws)(self, x))
        self.add(net, made[0], (at,), known, made[1])

    def block(self, x: Value, depth: int) -> tuple[Net, Value] | None:
        """Steps of its own, if they come to one result."""
        block = self.net([x], self.rng.randint(1, 3), depth)
        return (block, self.values[0]) if len(self.values) == 1 else None

    def kept(self, draw: Callable[[], tuple[Any, Value] | None]) -> tuple[Any, Value] | None:
        """What is drawn; nothing is counted of what cannot be or is too large."""
        before, linears = replace(self.count, params=dict(self.count.params)), len(self.linears)
        made = draw()
        if made is not None and size(made[1].shape) <= LARGEST:
            return made
        vars(self.count).update(vars(before))
        del self.linears[linears:]
        return None

    def add(self, net: Net, call: Any, sources: tuple[int, ...], known: list[Value], value: Value) -> None:
        """One step; a layer is registered, under its own name or in a list of its own."""
        if isinstance(call, nn.Module):
            name = f"part{len(net._modules)}"
            how = self.rng.random()
            if how < 0.15:
                call = nn.Sequential(call)
            elif how < 0.25:
                net.add_module(name, nn.ModuleList([call]))
                name = ""
            if name:
                net.add_module(name, call)
            if how > 0.93:
                call = call.forward  # called without its hooks
        if self.rng.random() < 0.06:
            call = Elsewhere(call, self.rng.random() < 0.5)
        net.steps.append((call, sources))
        known.append(value)

    def product(self, macs: int, x: Value, weights: bool = True) -> None:
        """A product of a value with weights: a gradient for each of the two that wants one."""
        self.count.macs += macs
        self.count.backward += macs * (int(x.grad) + int(weights)) if self.train else 0


Draw = Callable[[Maker, Value], tuple[Any, Value] | None]
