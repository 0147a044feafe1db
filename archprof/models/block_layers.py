"""The module that a block spec stands for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from torch import Tensor, nn

from archprof.models.block_grammar import (
    BlockItem,
    BlockSpec,
    LayerSpec,
    ResidualSpec,
    expand_repeats,
    make_block_error,
)
from archprof.models.blocks import chain_modules, cross_channel_norm
from archprof.wording import show_shape

MapShape = tuple[int, ...]
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


def build_net(net: BlockSpec, text: str, shape: MapShape) -> nn.Sequential:
    """The net of a block spec for inputs of `shape`; children are numbered by kind: conv1, relu1, conv2 …

    Raises:
        UsageError: a layer does not fit what it is given; points at the character of `text`.
    """
    if not 1 <= len(shape) <= 4:
        raise make_block_error(text, 0, f"a net takes features or maps of up to 3 dimensions, not {show_shape(shape)}")
    return _LayerChain(text, shape).append_items(net.items).to_module()


class _LayerChain:
    """Layers one after another, and what is known behind the last of them.

    Attributes:
        shape: what comes out.
        stride: of one output position in positions of the chain's input.
        owns_output: the last layer made a tensor that nobody else reads, so that a relu may overwrite it.
    """

    def __init__(self, text: str, shape: MapShape) -> None:
        self.text, self.shape, self.stride, self.owns_output = text, shape, 1, False
        self.modules: dict[str, nn.Module] = {}
        self.counts: Counter[str] = Counter()

    def append_items(self, items: tuple[BlockItem, ...]) -> _LayerChain:
        for item in expand_repeats(items):
            module = self.make_residual(item) if isinstance(item, ResidualSpec) else self.make_layer(item)
            kind = "residual" if isinstance(item, ResidualSpec) else item.kind
            self.counts[kind] += 1
            self.modules[f"{kind}{self.counts[kind]}"] = module
            if kind not in ("dropout", "flatten"):
                self.owns_output = kind != "relu"
        return self

    def to_module(self) -> nn.Sequential:
        return chain_modules(**self.modules)

    def make_layer(self, layer: LayerSpec) -> nn.Module:
        """The module of one layer, after which the shape is that behind it."""
        channels, *sizes = self.shape
        self._check(layer)
        if layer.kernel is not None:
            return self.make_windowed(layer)
        if layer.kind == "linear":
            self.shape = (layer.width or channels,)
            return nn.Linear(channels, self.shape[0], bias=layer.bias)
        if layer.kind == "bn":
            return _find_class("BatchNorm", max(1, len(sizes)))(channels)
        if layer.kind == "gap":
            self.shape = (channels, *(1 for _ in sizes))
            return _find_class("AdaptiveAvgPool", len(sizes))(1)
        if layer.kind == "flatten":
            self.shape = (math.prod(self.shape),)
        return self.make_shapeless(layer.kind)

    def make_shapeless(self, kind: str) -> nn.Module:
        if kind == "relu":
            return nn.ReLU(inplace=self.owns_output)
        if kind == "lrn":
            return cross_channel_norm()
        return nn.Dropout() if kind == "dropout" else nn.Flatten()

    def _check(self, layer: LayerSpec) -> None:
        """Maps go into what slides or averages over a map, features into linear layers."""
        flat = len(self.shape) == 1
        if layer.kind == "linear" and not flat:
            raise self.make_error(layer, f"{layer} is given maps of {show_shape(self.shape)}; put flatten before it")
        if flat and (layer.kernel is not None or layer.kind in ("gap", "lrn")):
            raise self.make_error(layer, f"{layer} needs maps and is given {self.shape[0]} features")
        if self.shape[0] % layer.groups:
            raise self.make_error(
                layer, f"{self.shape[0]} channels go in, which cannot be put into {layer.groups} groups"
            )

    def make_windowed(self, layer: LayerSpec) -> nn.Module:
        """A layer with a kernel."""
        channels, *sizes = self.shape
        after = tuple(_output_size(layer, n) for n in sizes)
        # torch lets no 3-d average reach over a map, though its padding would hold the window
        too_wide = layer.kind == "avgpool" and len(sizes) == 3 and min(sizes) < (layer.kernel or 0)
        if min(after) < 1 or too_wide:
            raise self.make_error(
                layer, f"{layer} is given maps of {show_shape(self.shape)} and leaves nothing of them"
            )
        self.shape = (layer.width or channels, *after)
        self.stride *= layer.stride
        rank, place = len(sizes), (layer.kernel, layer.stride, layer.padding)
        if layer.kind in ("pool", "avgpool"):
            return _find_class("MaxPool" if layer.kind == "pool" else "AvgPool", rank)(*place)
        name = "ConvTranspose" if layer.kind == "tconv" else "Conv"
        groups = channels if layer.kind == "dw" else layer.groups
        options = {"dilation": layer.dilation, "groups": groups, "bias": layer.bias}
        return _find_class(name, rank)(channels, self.shape[0], *place, **options)

    def make_residual(self, item: ResidualSpec) -> nn.Module:
        body = _LayerChain(self.text, self.shape).append_items(item.items)
        block = ResidualBlock(body.to_module(), self.make_shortcut(item, body))
        self.shape, self.stride = body.shape, self.stride * body.stride
        return block

    def make_shortcut(self, item: ResidualSpec, body: _LayerChain) -> nn.Module | None:
        """What brings the input to the shape of the body's result; `None` where it has that shape."""
        (channels, *sizes), (width, *after) = self.shape, body.shape
        if self.shape == body.shape:
            return None
        if after != [(n - 1) // body.stride + 1 for n in sizes]:
            change = f"the body makes {show_shape(body.shape)} of {show_shape(self.shape)}"
            raise self.make_error(item, f"{change}, which a 1x1 projection with stride {body.stride} does not")
        if not sizes:
            return nn.Linear(channels, width, bias=False)
        return _find_class("Conv", len(sizes))(channels, width, 1, body.stride, bias=False)

    def make_error(self, item: BlockItem, what: str) -> Exception:
        return make_block_error(self.text, item.position, what)


def _output_size(layer: LayerSpec, size: int) -> int:
    """Positions of the kernel along a dimension; those of the result for a transposed convolution."""
    assert layer.kernel is not None
    if layer.kind == "tconv":
        return (size - 1) * layer.stride - 2 * layer.padding + layer.kernel
    return (size + 2 * layer.padding - layer.dilation * (layer.kernel - 1) - 1) // layer.stride + 1


def _find_class(name: str, rank: int) -> Callable[..., nn.Module]:
    """nn.Conv2d for "Conv" and 2."""
    found: Callable[..., nn.Module] = getattr(nn, f"{name}{rank}d")
    return found
