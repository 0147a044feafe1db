"""Random modules, each with the parameters and multiply-accumulates that closed formulas give it.

Nothing of archprof is imported here: the formulas are written anew, from the definitions of the layers.
A module is a list of steps on values; a step is a layer, a function, or a block with steps of its own.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional

LARGEST = 4096
"""Elements of a value at most: passes stay short."""


@dataclass
class Count:
    """What the formulas add up to; `backward` are the MACs of the gradients, `params` elements by parameter."""

    macs: int = 0
    backward: int = 0
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


def size(shape: tuple[int, ...]) -> int:
    count = 1
    for each in shape:
        count *= each
    return count


def generate(seed: int) -> tuple[Net, list[torch.Tensor], Count, bool]:
    """A module, its inputs, what formulas count, and whether it is to be trained."""
    rng = random.Random(seed)
    train = rng.random() < 0.3
    torch.manual_seed(seed)
    count = Count()
    start = rng.choice([
        (rng.randint(1, 3), rng.choice([1, 2, 3, 4, 6]), rng.randint(4, 9), rng.randint(4, 9)),
        (rng.randint(1, 3), rng.randint(2, 6), rng.choice([2, 4, 6, 8])),
        (rng.randint(2, 5), rng.randint(1, 12)),
    ])  # fmt: skip
    net = Maker(rng, count, train).net([Value(start)], rng.randint(1, 7), depth=0)
    return net.train(train), [torch.randn(start)], count, train


class Maker:
    """Draws the steps of one module and counts them."""

    def __init__(self, rng: random.Random, count: Count, train: bool) -> None:
        self.rng, self.count, self.train = rng, count, train
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
        draws = {4: IMAGE, 3: ROWS, 2: FLAT}.get(len(x.shape), ANY)
        made = None
        while made is None:
            made = self.kept(lambda: self.rng.choice(draws + ANY)(self, x))
        self.add(net, made[0], (at,), known, made[1])

    def block(self, x: Value, depth: int) -> tuple[Net, Value] | None:
        """Steps of its own, if they come to one result."""
        block = self.net([x], self.rng.randint(1, 3), depth)
        return (block, self.values[0]) if len(self.values) == 1 else None

    def kept(self, draw: Callable[[], tuple[Any, Value] | None]) -> tuple[Any, Value] | None:
        """What is drawn; nothing is counted of what cannot be or is too large."""
        macs, backward, params, linears = (
            self.count.macs,
            self.count.backward,
            dict(self.count.params),
            len(self.linears),
        )
        made = draw()
        if made is not None and size(made[1].shape) <= LARGEST:
            return made
        self.count.macs, self.count.backward, self.count.params = macs, backward, params
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


def conv(maker: Maker, x: Value) -> Any:
    rng, (n, c, h, w) = maker.rng, x.shape
    divisors = [g for g in range(1, c + 1) if c % g == 0]
    groups = 1 if maker.train else rng.choice(divisors)  # torch's counter is wrong about gradients of groups
    out, kernel, stride, dilation = groups * rng.randint(1, 4), rng.randint(1, 3), rng.randint(1, 2), rng.randint(1, 2)
    pad = rng.randint(0, kernel - 1)
    bias, mode = rng.random() < 0.5, "zeros"
    reach = dilation * (kernel - 1) + 1
    oh, ow = ((each + 2 * pad - reach) // stride + 1 for each in (h, w))
    if min(oh, ow) < 1:
        return None
    layer: nn.Module = nn.Conv2d(c, out, kernel, stride, pad, dilation, groups, bias, mode)
    maker.count.own(*layer.parameters())
    assert sum(p.numel() for p in layer.parameters()) == out * c // groups * kernel**2 + (out if bias else 0)
    maker.product(n * out * oh * ow * c // groups * kernel**2, x)
    if rng.random() < 0.4:
        layer = nn.Sequential(layer, nn.ReLU(inplace=True))
    return layer, Value((n, out, oh, ow), True)


def transposed(maker: Maker, x: Value) -> Any:
    rng, (n, c, h, w) = maker.rng, x.shape
    out, kernel, stride = rng.randint(1, 4), rng.randint(1, 3), rng.randint(1, 2)
    layer = nn.ConvTranspose2d(c, out, kernel, stride)
    maker.count.own(*layer.parameters())
    maker.product(n * c * h * w * out * kernel**2, x)  # every input meets every weight
    return layer, Value((n, out, (h - 1) * stride + kernel, (w - 1) * stride + kernel), True)


def image_norm(maker: Maker, x: Value) -> Any:
    c = x.shape[1]
    if size(x.shape) // c < 2:
        return None
    layer = maker.rng.choice([lambda: nn.BatchNorm2d(c), lambda: nn.GroupNorm(1, c), lambda: nn.InstanceNorm2d(c)])()
    if isinstance(layer, nn.InstanceNorm2d) and size(x.shape[2:]) < 2:
        return None
    parameters = list(layer.parameters())
    maker.count.own(*parameters)
    return nn.Sequential(Contiguous(), layer), Value(x.shape, x.grad or bool(parameters))


class Contiguous(nn.Module):
    """In front of norms, which lay out their results in other ways on other devices."""

    def forward(self, x: Any) -> Any:
        return x.contiguous()


def pool(maker: Maker, x: Value) -> Any:
    n, c, h, w = x.shape
    kernel, stride = maker.rng.randint(1, 3), maker.rng.randint(1, 2)
    if min(h, w) < kernel:
        return None
    kind = maker.rng.choice([nn.MaxPool2d, nn.AvgPool2d])
    return kind(kernel, stride), Value((n, c, (h - kernel) // stride + 1, (w - kernel) // stride + 1), x.grad)


def adaptive(maker: Maker, x: Value) -> Any:
    n, c, h, w = x.shape
    out = maker.rng.randint(1, min(h, w))
    return nn.AdaptiveAvgPool2d(out), Value((n, c, out, out), x.grad)


def resize(maker: Maker, x: Value) -> Any:
    n, c, h, w = x.shape
    return lambda t: functional.interpolate(t, scale_factor=2), Value((n, c, 2 * h, 2 * w), x.grad)


def pad(maker: Maker, x: Value) -> Any:
    n, c, h, w = x.shape
    return lambda t: functional.pad(t, (1, 0, 2, 1)), Value((n, c, h + 3, w + 1), x.grad)


def cut_and_join(maker: Maker, x: Value) -> Any:
    if x.shape[1] < 2:
        return None
    return lambda t: torch.cat([t[:, 1:], t[:, :1].relu()], 1), x


def functional_conv(maker: Maker, x: Value) -> Any:
    n, c, h, w = x.shape
    weight = nn.Parameter(torch.randn(2, c, 1, 1))
    maker.count.own(weight)
    maker.product(n * 2 * h * w * c, x)
    return Uses(weight, functional.conv2d), Value((n, 2, h, w), True)


def to_rows(maker: Maker, x: Value) -> Any:
    n, c, h, w = x.shape
    return lambda t: t.flatten(2).transpose(1, 2), Value((n, h * w, c), x.grad)


class Uses(nn.Module):
    """A parameter of its own and a function of both."""

    def __init__(self, weight: nn.Parameter, function: Callable[..., Any]) -> None:
        super().__init__()
        self.weight, self.function = weight, function

    def forward(self, x: Any) -> Any:
        return self.function(x, self.weight)


def linear(maker: Maker, x: Value) -> Any:
    rng, width = maker.rng, x.shape[-1]
    layer = nn.Linear(width, rng.randint(1, 8), bias=rng.random() < 0.6)
    alike = [other for other in maker.linears if other.in_features == width]
    if alike and rng.random() < 0.4:
        tied = rng.choice(alike)
        layer = nn.Linear(width, tied.out_features, bias=False)
        layer.weight = tied.weight
    maker.linears.append(layer)
    maker.count.own(*layer.parameters())
    maker.product(size(x.shape) * layer.out_features, x)
    call: nn.Module = nn.Sequential(layer, nn.ReLU(inplace=True)) if rng.random() < 0.3 else layer
    return call, Value((*x.shape[:-1], layer.out_features), True)


def reused(maker: Maker, x: Value) -> Any:
    """A layer that keeps the shape, called two or three times."""
    width, times = x.shape[-1], maker.rng.randint(2, 3)
    layer = nn.Linear(width, width)
    maker.count.own(*layer.parameters())
    maker.product(size(x.shape) * width, x)
    for _ in range(times - 1):
        maker.product(size(x.shape) * width, Value(x.shape, True))
    return nn.Sequential(*[layer] * times), Value(x.shape, True)


def left_out(maker: Maker, x: Value) -> Any:
    """Counted as kept."""
    width = x.shape[-1]
    layer = nn.Linear(width, width)
    maker.count.own(*layer.parameters())
    maker.product(size(x.shape) * width, x)
    return MaybeLeftOut(layer, maker.rng.random() < 0.5), Value(x.shape, True)


def nested(maker: Maker, x: Value) -> Any:
    """A layer deep in containers."""
    made = linear(maker, x)
    call, value = made
    for _ in range(maker.rng.choice([10, 40, 100])):
        call = nn.Sequential(call)
    return call, value


def layer_norm(maker: Maker, x: Value) -> Any:
    layer = nn.LayerNorm(x.shape[-1], elementwise_affine=maker.rng.random() < 0.7)
    maker.count.own(*layer.parameters())
    return layer, Value(x.shape, x.grad or layer.elementwise_affine)


def attention(maker: Maker, x: Value) -> Any:
    n, rows, width = x.shape
    if maker.train:  # its gradients are five products; counted in a test of their own
        return None
    heads = maker.rng.choice([h for h in (1, 2, 3) if width % h == 0])
    layer = nn.MultiheadAttention(width, heads, batch_first=True)
    maker.count.own(*layer.parameters())
    maker.product(4 * n * rows * width * width + 2 * n * rows * rows * width, x)
    return Attends(layer), Value(x.shape, True)


class Attends(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Any) -> Any:
        return self.attention(x, x, x, need_weights=False)[0]


def fused_attention(maker: Maker, x: Value) -> Any:
    n, rows, width = x.shape
    if maker.train or width == 1:  # torch's CPU kernel takes rows of one element apart
        return None
    maker.product(2 * n * rows * rows * width, x, weights=False)
    causal = maker.rng.random() < 0.5

    def call(t: Any) -> Any:
        t = t.contiguous()[:, None]  # else the CPU takes it apart
        return functional.scaled_dot_product_attention(t, t, t, is_causal=causal)[:, 0]

    return call, x


def scores(maker: Maker, x: Value) -> Any:
    n, rows, width = x.shape
    macs = n * rows * rows * width
    maker.count.macs += 2 * macs
    maker.count.backward += 4 * macs if x.grad and maker.train else 0
    return lambda t: (t @ t.mT).softmax(-1) @ t, x


def recurrent(maker: Maker, x: Value) -> Any:
    n, rows, width = x.shape
    if maker.train:
        return None
    gates, kind = maker.rng.choice([(4, nn.LSTM), (3, nn.GRU), (1, nn.RNN)])
    hidden, both = maker.rng.randint(1, 5), maker.rng.random() < 0.4
    layer = kind(width, hidden, batch_first=True, bidirectional=both)
    maker.count.own(*layer.parameters())
    maker.product((1 + both) * n * rows * gates * hidden * (width + hidden), x)
    return First(layer), Value((n, rows, (1 + both) * hidden), True)


class First(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return self.layer(x)[0]


def einsum(maker: Maker, x: Value) -> Any:
    n, rows, width = x.shape
    if width == 1:  # torch then multiplies, since there is nothing to sum
        return None
    weight = nn.Parameter(torch.randn(2, width, 3))
    maker.count.own(weight)
    maker.product(n * rows * width * 6, x)
    return Uses(weight, lambda t, w: torch.einsum("nrd,hde->nrhe", t, w).flatten(2)), Value((n, rows, 6), True)


def conv1d(maker: Maker, x: Value) -> Any:
    n, rows, width = x.shape
    layer = nn.Conv1d(rows, 3, 2)
    if width < 2:
        return None
    maker.count.own(*layer.parameters())
    maker.product(n * 3 * (width - 1) * rows * 2, x)
    return layer, Value((n, 3, width - 1), True)


def mean_rows(maker: Maker, x: Value) -> Any:
    return lambda t: t.mean(1), Value((x.shape[0], x.shape[2]), x.grad)


def largest(maker: Maker, x: Value) -> Any:
    """Values without their indices, or both, or the indices alone made to a mask."""
    n, rows, width = x.shape
    if maker.rng.random() < 0.5:
        return lambda t: t.max(1).values, Value((n, width), x.grad)
    return lambda t: t.topk(1, dim=1)[0].expand(-1, rows, -1), x


def every_other(maker: Maker, x: Value) -> Any:
    n, rows, width = x.shape
    return lambda t: t[:, ::2], Value((n, (rows + 1) // 2, width), x.grad)


def flat_norm(maker: Maker, x: Value) -> Any:
    if x.shape[0] < 2:
        return None
    layer = nn.BatchNorm1d(x.shape[1])
    maker.count.own(*layer.parameters())
    return layer, Value(x.shape, True)


def to_one_row(maker: Maker, x: Value) -> Any:
    return lambda t: t[:, None], Value((x.shape[0], 1, x.shape[1]), x.grad)


def gram(maker: Maker, x: Value) -> Any:
    n, width = x.shape
    macs = n * n * width
    maker.count.macs += macs
    maker.count.backward += 2 * macs if x.grad and maker.train else 0
    return lambda t: t @ t.T, Value((n, n), x.grad)


def flatten(maker: Maker, x: Value) -> Any:
    return nn.Flatten(), Value((x.shape[0], size(x.shape[1:])), x.grad)


def activation(maker: Maker, x: Value) -> Any:
    kinds = [nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Identity, nn.Dropout, nn.Softplus, nn.Hardswish]
    return maker.rng.choice(kinds)(), x


def arithmetic(maker: Maker, x: Value) -> Any:
    return maker.rng.choice(
        [lambda t: t * 2 + 1, lambda t: -t, lambda t: t.clone().mul_(3), lambda t: t.abs().sqrt()]
    ), x


def turned(maker: Maker, x: Value) -> Any:
    """A view with two dimensions exchanged, made contiguous or not."""
    first, second = (x.shape[0], *x.shape[:0:-1]), (x.shape[0], *x.shape[:0:-1])
    order = (0, *range(len(x.shape) - 1, 0, -1))
    if maker.rng.random() < 0.5:
        return lambda t: t.permute(order), Value(first, x.grad)
    return lambda t: t.permute(order).contiguous(), Value(second, x.grad)


def halved(maker: Maker, x: Value) -> Any:
    if x.shape[-1] % 2:
        return None
    shape = (*x.shape[:-1], x.shape[-1] // 2)
    call = maker.rng.choice([functional.glu, lambda t: torch.add(*t.chunk(2, -1)), lambda t: t.split(shape[-1], -1)[1]])
    return call, Value(shape, x.grad)


IMAGE: list[Draw] = [
    conv,
    conv,
    conv,
    transposed,
    image_norm,
    pool,
    adaptive,
    resize,
    pad,
    cut_and_join,
    functional_conv,
    to_rows,
]
ROWS: list[Draw] = [
    linear, linear, layer_norm, attention, fused_attention, scores, recurrent, einsum, conv1d, mean_rows, largest,
    every_other, reused, left_out, nested,
]  # fmt: skip
FLAT: list[Draw] = [linear, linear, flat_norm, to_one_row, gram, reused, layer_norm, left_out, nested]
ANY: list[Draw] = [flatten, activation, activation, arithmetic, turned, halved]
