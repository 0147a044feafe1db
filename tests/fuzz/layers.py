"""Steps that are layers and functions of torch, each counted by the definition of the layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from fuzz.maker import Maker, Value, size
from torch import nn
from torch.nn import functional


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
    if 1 in (*x.shape, out, oh, ow):
        layer = nn.Sequential(Contiguous(), layer)
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
    """In front of what lays out its result otherwise on meta than on the CPU: norms, and convolutions of one row."""

    def forward(self, x: Any) -> Any:
        return x.clone(memory_format=torch.contiguous_format)


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
    layer: nn.Module = Uses(weight, functional.conv2d)
    return nn.Sequential(Contiguous(), layer) if 1 in x.shape else layer, Value((n, 2, h, w), True)


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


def slope(maker: Maker, x: Value) -> Any:
    """A step down the slope of a layer, as force fields have it: two products, and one by the weights backwards."""
    width, hidden = x.shape[-1], maker.rng.randint(1, 6)
    layer = nn.Linear(width, hidden, bias=maker.rng.random() < 0.5)
    maker.count.own(*layer.parameters())
    macs = size(x.shape) * hidden
    maker.count.macs += 2 * macs
    maker.count.backward += macs if maker.train else 0
    return Slope(layer), Value(x.shape, maker.train)


class Slope(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        with torch.enable_grad():
            at = x if x.requires_grad else x.detach().requires_grad_()
            return x - torch.autograd.grad(self.layer(at).sum(), at, create_graph=self.training)[0]


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
