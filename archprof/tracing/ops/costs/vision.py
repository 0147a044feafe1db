"""torchvision's own ops.

Region-of-interest alignment with s × s samples a bin: each sample is one bilinear interpolation (7 FLOPs), and
averaging them takes s × s more per output element; its backward costs the same. Without a given number of samples
(`sampling_ratio` -1 or 0) it depends on the size of each region, and pooling over regions always does: unknown.

Deformable convolution: MACs as the convolution of the same shape. FLOPs: 2 × MACs, the bias, one bilinear
interpolation (7) for each input value under a kernel tap (one multiply more with a mask), one add for each offset.
Backward: twice that.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from archprof.facts.records import Window
from archprof.tracing.ops.costs.registry import OpCost, cost_rule
from archprof.tracing.ops.costs.resampling import interpolation_flops
from archprof.tracing.ops.costs.tensors import first_tensor, numel

if TYPE_CHECKING:
    from torch import Tensor


@cost_rule("torchvision.roi_align", "torchvision.ps_roi_align")
def roi_align(
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
) -> OpCost | None:
    return _count_roi_align(first_tensor(result), sampling_ratio)


@cost_rule("torchvision._roi_align_backward")
def roi_align_backward(
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
) -> OpCost | None:
    return _count_roi_align(gradient, sampling_ratio)


def _count_roi_align(pooled: Tensor, sampling_ratio: int) -> OpCost | None:
    if sampling_ratio <= 0:
        return None
    return OpCost(0, numel(pooled) * sampling_ratio**2 * (interpolation_flops(2) + 1))


@cost_rule("torchvision.deform_conv2d")
def deformable_convolution(
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
) -> OpCost:
    batch, _out_channels, *places = result.shape
    kernel = tuple(weight.shape[2:])
    macs = numel(result) * prod(weight.shape[1:])
    taps = batch * x.shape[1] * prod(kernel) * prod(places)
    flops = 2 * macs + numel(result) + taps * (interpolation_flops(2) + bool(use_mask)) + numel(offset)
    window = Window(kernel, (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w), groups)
    return OpCost(macs, flops, window)


@cost_rule("torchvision._deform_conv2d_backward")
def deformable_convolution_backward(result: Any, /, gradient: Tensor, *args: Any, **_: Any) -> OpCost:
    forward = deformable_convolution(gradient, *args)
    return OpCost(2 * forward.macs, 2 * forward.flops, forward.window)
