"""`separable`: depthwise and pointwise convolutions (Howard et al., 2017, "MobileNets", section 3.1)."""

from __future__ import annotations

from archprof.rewriting.draft import Draft
from archprof.rewriting.layers import find_obstacle, remake_layer
from archprof.wording import show_shape

SEPARABLE = "separable"
NO_CONVOLUTION_TO_SPLIT = "no convolution has a kernel larger than 1x1"


def split_convolutions(net: Draft) -> None:
    """Split every k x k convolution into a depthwise k x k and a 1x1: from k²·C·M weights a map to k²·C + C·M.

    The depthwise part has the stride, padding and dilation and no bias; the 1x1 has the bias, if there was one.
    Nothing stands between, so that with a norm or activation after the convolution these now follow the 1x1.
    """
    for path, _, layer in list(net.iterate_convolutions()):
        if max(layer.kernel_size) == 1:
            continue  # it is pointwise already
        why = (
            f"it has {layer.groups} groups already"
            if layer.groups > 1
            else net.explain_reuse(path) or find_obstacle(layer)
        )
        if why:
            net.note_refusal(SEPARABLE, path, why)
            continue
        inputs = layer.in_channels
        depthwise = remake_layer(layer, out_channels=inputs, groups=inputs, bias=False)
        pointwise = remake_layer(layer, kernel_size=1, stride=1, padding=0, dilation=1)
        net.replace_layer(path, [depthwise, pointwise])
        size = show_shape(layer.kernel_size)
        net.note_change(SEPARABLE, path, f"{size} {inputs}->{layer.out_channels}: now depthwise {size} and 1x1")
