"""`stack3x3`: stacks of 3x3 convolutions in the place of large kernels (Simonyan and Zisserman, 2014, section 2.3)."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from archprof.rewriting.draft import Draft, find_activation, find_norm_after, sole_user
from archprof.rewriting.layers import find_obstacle, remake_layer

STACK3X3 = "stack3x3"
NO_CONVOLUTION_TO_STACK = "no convolution has a kernel larger than 3x3"


def stack_convolutions(net: Draft, middle: int | None = None) -> None:
    """Put (k - 1) / 2 convolutions of 3x3 in the place of every k x k one, k = 5, 7, 9, 11 …

    n of them see 1 + 2 n = k pixels when only the last has the stride. The output is floor((H + 2p - k) / s) + 1 high
    whichever of them has the padding, as long as it sums to p; it is spread evenly and the first get the rest, so that
    no map between is smaller than the last. The activation that follows the original stands between, as does its bias.

    Args:
        middle: channels between; left out, those of the output, so that kernels are compared at one width.
    """
    for path, nodes, layer in list(net.iterate_convolutions()):
        if max(layer.kernel_size) <= 3:
            continue
        why = _find_stack_obstacle(layer, middle) or net.explain_reuse(path) or find_obstacle(layer)
        if why:
            net.note_refusal(STACK3X3, path, why)
            continue
        between = find_activation(net, sole_user(find_norm_after(net, nodes[0]) or nodes[0])) or nn.ReLU(inplace=True)
        widths = _list_stack_widths(layer, middle)
        layers = _make_stack(layer, widths, between)
        size = layer.kernel_size[0]
        net.replace_layer(path, layers)
        net.note_change(
            STACK3X3, path, f"{size}x{size} {widths[0]}->{widths[-1]}: now 3x3 {'->'.join(map(str, widths))}"
        )


def _find_stack_obstacle(layer: Any, middle: int | None) -> str:
    """Why a convolution cannot become a stack, or ""."""
    if not isinstance(layer, nn.Conv2d):
        return "it is not a 2-d convolution"
    height, width = layer.kernel_size
    if height != width:
        return f"its kernel is {height}x{width}, not square"
    if height % 2 == 0:
        return f"its kernel is {height}x{width}: stacked 3x3 see an odd number of pixels"
    if layer.dilation != (1, 1):
        return f"its dilation is {layer.dilation[0]}: a stack would see every pixel"
    if middle is not None and middle % layer.groups:
        return f"{middle} channels between cannot be divided into its {layer.groups} groups"
    return ""


def _list_stack_widths(layer: nn.Conv2d, middle: int | None) -> list[int]:
    """Channels before, between and after the convolutions of the stack."""
    count = (layer.kernel_size[0] - 1) // 2
    return [layer.in_channels, *[middle or layer.out_channels] * (count - 1), layer.out_channels]


def _make_stack(layer: nn.Conv2d, widths: list[int], between: nn.Module) -> list[nn.Module]:
    count = len(widths) - 1
    paddings = list(zip(*(_spread_evenly(total, count) for total in _padding_in_pixels(layer)), strict=True))
    layers: list[nn.Module] = []
    for i in range(count):
        last = i == count - 1
        new = remake_layer(
            layer,
            in_channels=widths[i],
            out_channels=widths[i + 1],
            kernel_size=3,
            stride=layer.stride if last else 1,
            padding=paddings[i],
        )
        layers += [new] if last else [new, copy.deepcopy(between)]
    return layers


def _padding_in_pixels(layer: nn.Conv2d) -> tuple[int, int]:
    """The padding of both dimensions in pixels."""
    if isinstance(layer.padding, str):
        size = (layer.kernel_size[0] - 1) // 2 if layer.padding == "same" else 0
        return size, size
    return layer.padding[0], layer.padding[1]


def _spread_evenly(total: int, count: int) -> list[int]:
    """`total` in `count` even parts, the larger ones first: 2 over 5 is 1 1 0 0 0."""
    return [total // count + (i < total % count) for i in range(count)]
