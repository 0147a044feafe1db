"""Steps of the kinds that people bring besides layers in a row: transforms, moves, objects, late and packed weights.

Each draws a step like those of `fuzz.generator`, and counts it by a closed formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from fuzz.elsewhere import MaybeLeftOut
from fuzz.layers import Uses, linear
from fuzz.maker import Draw, Maker, Value, size
from torch import nn
from torch.nn import functional


@dataclass
class Box:
    """An object that a module returns: nobody registered its class anywhere."""

    value: Any


class Boxed:
    """The same without fields that a dataclass would tell of."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Boxes(nn.Module):
    def __init__(self, kind: type) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Any) -> Any:
        return self.kind(x)


class Unboxes(nn.Module):
    def forward(self, box: Any) -> Any:
        return box.value


class Late(nn.Module):
    """A layer that is made in the first forward."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.layer = width, None

    def forward(self, x: Any) -> Any:
        if self.layer is None:
            self.layer = nn.Linear(x.shape[-1], self.width, device=x.device)
        return self.layer(x)


class Listed(nn.Module):
    """A layer in a plain list, which `parameters()` does not find."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layers = [layer]

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self.layers[0]._apply(fn)
        return super()._apply(fn, recurse)

    def forward(self, x: Any) -> Any:
        return self.layers[0](x)


class ReadsWeights(nn.Module):
    """The weights of a layer, used without a call of it."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return functional.linear(x, self.layer.weight, self.layer.bias)


class Int8Linear(nn.Module):
    """Weights in eight bits and their scales, as buffers."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randint(-128, 127, (out, width), dtype=torch.int8))
        self.register_buffer("scale", torch.rand(out, 1))

    def forward(self, x: Any) -> Any:
        return functional.linear(x, self.weight.to(x.dtype) * self.scale)


def move(maker: Maker, x: Value) -> Any:
    """To where the tensor is: no copy."""
    ways = [lambda t: t.to(t.device), lambda t: t.to(t), lambda t: t.to(t.dtype), lambda t: t.type_as(t).float()]
    return maker.rng.choice(ways), x


def boxed(maker: Maker, x: Value) -> Any:
    """A module that returns an object, and one that takes it."""
    return nn.Sequential(Boxes(maker.rng.choice([Box, Boxed])), Unboxes()), x


def vmapped(maker: Maker, x: Value) -> Any:
    """A product of each sample with itself, by torch.func."""
    n, rows, width = x.shape
    macs = n * rows * rows * width
    maker.count.macs += macs
    maker.count.backward += 2 * macs if x.grad and maker.train else 0
    return lambda t: torch.func.vmap(lambda one: one @ one.mT)(t), Value((n, rows, rows), x.grad)


def vmapped_weight(maker: Maker, x: Value) -> Any:
    """One weight over all samples, by torch.func."""
    width = x.shape[-1]
    weight = nn.Parameter(torch.randn(3, width))
    maker.count.own(weight)
    maker.product(size(x.shape) * 3, x)
    call = Uses(weight, lambda t, w: torch.func.vmap(functional.linear, (0, None))(t, w))
    return call, Value((*x.shape[:-1], 3), True)


def late(maker: Maker, x: Value) -> Any:
    width, out = x.shape[-1], maker.rng.randint(1, 5)
    maker.count.late += width * out + out
    maker.product(size(x.shape) * out, x)
    return Late(out), Value((*x.shape[:-1], out), True)


def listed(maker: Maker, x: Value) -> Any:
    width, out = x.shape[-1], maker.rng.randint(1, 5)
    layer = nn.Linear(width, out, bias=False)
    maker.count.own(layer.weight)
    maker.count.unlisted += width * out
    maker.product(size(x.shape) * out, x)
    return Listed(layer), Value((*x.shape[:-1], out), True)


def weights_alone(maker: Maker, x: Value) -> Any:
    width, out = x.shape[-1], maker.rng.randint(1, 5)
    layer = nn.Linear(width, out)
    maker.count.own(*layer.parameters())
    maker.product(size(x.shape) * out, x)
    return ReadsWeights(layer), Value((*x.shape[:-1], out), True)


def eight_bits(maker: Maker, x: Value) -> Any:
    width, out = x.shape[-1], maker.rng.randint(1, 5)
    maker.product(size(x.shape) * out, x, weights=False)
    return Int8Linear(width, out), Value((*x.shape[:-1], out), x.grad)


def functional_norm(maker: Maker, x: Value) -> Any:
    width = x.shape[-1]
    weight = nn.Parameter(torch.ones(width))
    maker.count.own(weight)
    return Uses(weight, lambda t, w: functional.layer_norm(t, (width,), w)), Value(x.shape, True)


def left_out(maker: Maker, x: Value) -> Any:
    """Counted as kept."""
    width = x.shape[-1]
    layer = nn.Linear(width, width)
    maker.count.own(*layer.parameters())
    maker.product(size(x.shape) * width, x)
    return MaybeLeftOut(layer, maker.rng.random() < 0.5), Value(x.shape, True)


def nested(maker: Maker, x: Value) -> Any:
    """A layer deep in containers."""
    call, value = linear(maker, x)
    for _ in range(maker.rng.choice([10, 40, 100])):
        call = nn.Sequential(call)
    return call, value


ON_ROWS: list[Draw] = [vmapped, vmapped_weight]
ON_ANY: list[Draw] = [move, boxed, late, listed, weights_alone, eight_bits, functional_norm, left_out, nested]
