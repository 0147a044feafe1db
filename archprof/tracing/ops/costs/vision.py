"""torchvision's own ops.

Region-of-interest alignment with s × s samples a bin: each sample is one bilinear interpolation (7 FLOPs), and
averaging them takes s × s more an output element; its backward costs the same. Without a given number of samples
(`sampling_ratio` -1 or 0) it depends on the size of each region, and pooling over regions always does: unknown.

Deformable convolution: MACs as the convolution of the same shape. FLOPs: 2 × MACs, the bias, one bilinear
interpolation (7) for each input value under a kernel tap (one multiply more with a mask), one add for each offset.
Backward: twice that.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from archprof.facts.records import Window
from archprof.tracing.ops.costs.registry import Count, rule
from archprof.tracing.ops.costs.resampling import linear
from archprof.tracing.ops.costs.tensors import first, numel

if TYPE_CHECKING:
    from torch import Tensor


@rule("torchvision.roi_align", "torchvision.ps_roi_align")
def align(
    result: Any,
    /,
    x: Tensor,
    rois: Tensor,
    scale: float,
    height: int,
    width: int,
    sampling_ratio: int,
    *_: Any,
    **__: Any,
) -> Count | None:
    return _aligned(first(result), sampling_ratio)


@rule("torchvision._roi_align_backward")
def align_backward(
    result: Tensor,
    /,
    gradient: Tensor,
    rois: Tensor,
    scale: float,
    height: int,
    width: int,
    batch: int,
    channels: int,
    rows: int,
    columns: int,
    sampling_ratio: int,
    *_: Any,
    **__: Any,
) -> Count | None:
    return _aligned(gradient, sampling_ratio)


def _aligned(pooled: Tensor, sampling_ratio: int) -> Count | None:
    if sampling_ratio <= 0:
        return None
    return Count(0, numel(pooled) * sampling_ratio**2 * (linear(2) + 1))


@rule("torchvision.deform_conv2d")
def deformable(
    result: Any,
    /,
    x: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor,
    bias: Tensor,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    groups: int,
    offset_groups: int,
    use_mask: bool,
    **_: Any,
) -> Count:
    batch, _out_channels, *places = result.shape
    kernel = tuple(weight.shape[2:])
    macs = numel(result) * prod(weight.shape[1:])
    taps = batch * x.shape[1] * prod(kernel) * prod(places)
    flops = 2 * macs + numel(result) + taps * (linear(2) + bool(use_mask)) + numel(offset)
    window = Window(kernel, (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w), groups)
    return Count(macs, flops, window)


@rule("torchvision._deform_conv2d_backward")
def deformable_backward(result: Any, /, gradient: Tensor, *args: Any, **_: Any) -> Count:
    forward = deformable(gradient, *args)
    return Count(2 * forward.macs, 2 * forward.flops, forward.window)
