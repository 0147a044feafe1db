"""The module that a block spec stands for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from torch import Tensor, nn

from archprof.models.block_grammar import Item, Layer, Net, Residual, broken, parse, written_out
from archprof.models.blocks import cross_channel_norm, stages

Shape = tuple[int, ...]
"""(channels, *sizes) of a map with one to three sizes, or (features,); without the batch dimension."""


class ResidualBlock(nn.Module):
    """`body` of the input plus the input, which `shortcut` brings to the new shape where there is one."""

    def __init__(self, body: nn.Sequential, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out + (x if self.shortcut is None else self.shortcut(x))


def build(text: str, shape: Shape) -> nn.Sequential:
    """The net of a block spec for inputs of `shape`; children are numbered by kind: conv1, relu1, conv2 …

    Raises:
        UsageError: the text breaks the grammar, or a layer does not fit what it is given; points at the character.
    """
    return build_net(parse(text), text, shape)


def build_net(net: Net, text: str, shape: Shape) -> nn.Sequential:
    """The same for a net that is parsed already; `text` is what errors point into."""
    if not 1 <= len(shape) <= 4:
        raise broken(text, 0, f"a net takes features or maps of up to 3 dimensions, not {_shown(shape)}")
    return _Chain(text, shape).extended(net.items).module()


class _Chain:
    """Layers one after another, and what is known behind the last of them.

    Attributes:
        shape: what comes out.
        stride: of one output position in positions of the chain's input.
        fresh: the last layer made a tensor that nobody else reads, so that a relu may overwrite it.
    """

    def __init__(self, text: str, shape: Shape) -> None:
        self.text, self.shape, self.stride, self.fresh = text, shape, 1, False
        self.modules: dict[str, nn.Module] = {}
        self.counts: Counter[str] = Counter()

    def extended(self, items: tuple[Item, ...]) -> _Chain:
        for item in written_out(items):
            module = self.residual(item) if isinstance(item, Residual) else self.layer(item)
            kind = "residual" if isinstance(item, Residual) else item.kind
            self.counts[kind] += 1
            self.modules[f"{kind}{self.counts[kind]}"] = module
            if kind not in ("dropout", "flatten"):
                self.fresh = kind != "relu"
        return self

    def module(self) -> nn.Sequential:
        return stages(**self.modules)

    def layer(self, layer: Layer) -> nn.Module:
        """The module of one layer, after which the shape is that behind it."""
        channels, *sizes = self.shape
        self._check(layer)
        if layer.kernel is not None:
            return self.window(layer)
        if layer.kind == "linear":
            self.shape = (layer.width or channels,)
            return nn.Linear(channels, self.shape[0], bias=layer.bias)
        if layer.kind == "bn":
            return _of_rank("BatchNorm", max(1, len(sizes)))(channels)
        if layer.kind == "gap":
            self.shape = (channels, *(1 for _ in sizes))
            return _of_rank("AdaptiveAvgPool", len(sizes))(1)
        if layer.kind == "flatten":
            self.shape = (math.prod(self.shape),)
        return self.shapeless(layer.kind)

    def shapeless(self, kind: str) -> nn.Module:
        if kind == "relu":
            return nn.ReLU(inplace=self.fresh)
        if kind == "lrn":
            return cross_channel_norm()
        return nn.Dropout() if kind == "dropout" else nn.Flatten()

    def _check(self, layer: Layer) -> None:
        """Maps go into what slides or averages over a map, features into linear layers."""
        flat = len(self.shape) == 1
        if layer.kind == "linear" and not flat:
            raise self.error(layer, f"{layer} is given maps of {_shown(self.shape)}; put flatten before it")
        if flat and (layer.kernel is not None or layer.kind in ("gap", "lrn")):
            raise self.error(layer, f"{layer} needs maps and is given {self.shape[0]} features")
        if self.shape[0] % layer.groups:
            raise self.error(layer, f"{self.shape[0]} channels go in, which cannot be put into {layer.groups} groups")

    def window(self, layer: Layer) -> nn.Module:
        """A layer with a kernel."""
        channels, *sizes = self.shape
        after = tuple(_size(layer, n) for n in sizes)
        # torch lets no 3-d average reach over a map, though its padding would hold the window
        too_wide = layer.kind == "avgpool" and len(sizes) == 3 and min(sizes) < (layer.kernel or 0)
        if min(after) < 1 or too_wide:
            raise self.error(layer, f"{layer} is given maps of {_shown(self.shape)} and leaves nothing of them")
        self.shape = (layer.width or channels, *after)
        self.stride *= layer.stride
        rank, place = len(sizes), (layer.kernel, layer.stride, layer.padding)
        if layer.kind in ("pool", "avgpool"):
            return _of_rank("MaxPool" if layer.kind == "pool" else "AvgPool", rank)(*place)
        name = "ConvTranspose" if layer.kind == "tconv" else "Conv"
        groups = channels if layer.kind == "dw" else layer.groups
        options = {"dilation": layer.dilation, "groups": groups, "bias": layer.bias}
        return _of_rank(name, rank)(channels, self.shape[0], *place, **options)

    def residual(self, item: Residual) -> nn.Module:
        body = _Chain(self.text, self.shape).extended(item.items)
        block = ResidualBlock(body.module(), self.shortcut(item, body))
        self.shape, self.stride = body.shape, self.stride * body.stride
        return block

    def shortcut(self, item: Residual, body: _Chain) -> nn.Module | None:
        """What brings the input to the shape of the body's result; `None` where it has that shape."""
        (channels, *sizes), (width, *after) = self.shape, body.shape
        if self.shape == body.shape:
            return None
        if after != [(n - 1) // body.stride + 1 for n in sizes]:
            change = f"the body makes {_shown(body.shape)} of {_shown(self.shape)}"
            raise self.error(item, f"{change}, which a 1x1 projection with stride {body.stride} does not")
        if not sizes:
            return nn.Linear(channels, width, bias=False)
        return _of_rank("Conv", len(sizes))(channels, width, 1, body.stride, bias=False)

    def error(self, item: Item, what: str) -> Exception:
        return broken(self.text, item.at, what)


def _size(layer: Layer, size: int) -> int:
    """Positions of the kernel along a dimension; those of the result for a transposed convolution."""
    assert layer.kernel is not None
    if layer.kind == "tconv":
        return (size - 1) * layer.stride - 2 * layer.padding + layer.kernel
    return (size + 2 * layer.padding - layer.dilation * (layer.kernel - 1) - 1) // layer.stride + 1


def _of_rank(name: str, rank: int) -> Callable[..., nn.Module]:
    """nn.Conv2d for "Conv" and 2."""
    found: Callable[..., nn.Module] = getattr(nn, f"{name}{rank}d")
    return found


def _shown(shape: Shape) -> str:
    return "x".join(map(str, shape))
