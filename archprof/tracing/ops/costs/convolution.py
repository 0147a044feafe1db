"""Convolutions, forward and backward.

MACs of a convolution: output elements × weight elements of one output channel. Of a transposed one: input elements ×
weight elements of one input channel. Groups and dilation need no term of their own: the weight's shape holds the
first, and the second only spaces the taps. Padding is counted as data, as in every published count. A complex
multiply-accumulate is four real ones.
FLOPs: 2 × MACs, and one add per output element when there is a bias.

Backward: the gradients of input and weight cost the forward's MACs each, where they are asked for; the gradient of
the bias one add per element of the incoming gradient, less one per channel.

Torch's own counter agrees on all but the weight's gradient in a grouped convolution, which it counts as if there
were one group (its formula reads no `groups`): `groups` times too many.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from archprof.facts.records import Window
from archprof.tracing.ops.costs.registry import CostRule, OpCost, aten_names, cost_rule
from archprof.tracing.ops.costs.tensors import numel, spread_over_dims, take_argument

if TYPE_CHECKING:
    from torch import Tensor

Ints = int | Sequence[int]


@cost_rule(*aten_names("convolution _convolution convolution_overrideable"))
def count_convolution(
    result: Tensor,
    /,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
    *_: Any,
    **__: Any,
) -> OpCost:
    return _count_from_geometry(result, x, weight, bias, stride, padding, dilation, groups, transposed)


class ConvolutionArgPlaces(NamedTuple):
    """Where a backend's convolution takes its arguments (`None`: it has none), and what it does besides."""

    bias: int | None
    stride: int
    padding: int
    dilation: int | None
    transposed: bool = False
    extra_flops: int = 0  # FLOPs per output element, of an activation or an add in the same op


BACKEND_CONVOLUTIONS = {
    "cudnn_convolution": ConvolutionArgPlaces(None, 3, 2, 4),
    "cudnn_convolution_transpose": ConvolutionArgPlaces(None, 4, 2, 5, transposed=True),
    "cudnn_convolution_relu miopen_convolution_relu": ConvolutionArgPlaces(2, 3, 4, 5, extra_flops=1),
    "cudnn_convolution_add_relu miopen_convolution_add_relu": ConvolutionArgPlaces(4, 5, 6, 7, extra_flops=2),
    "mkldnn_convolution miopen_convolution miopen_depthwise_convolution": ConvolutionArgPlaces(2, 4, 3, 5),
    "miopen_convolution_transpose": ConvolutionArgPlaces(2, 5, 3, 6, transposed=True),
    "_slow_conv2d_forward thnn_conv2d slow_conv3d slow_conv3d_forward": ConvolutionArgPlaces(3, 4, 5, None),
    "slow_conv_dilated2d slow_conv_dilated3d _conv_depthwise2d conv_depthwise3d": ConvolutionArgPlaces(3, 4, 5, 6),
    "slow_conv_transpose2d slow_conv_transpose3d": ConvolutionArgPlaces(3, 4, 5, 7, transposed=True),
    "_nnpack_spatial_convolution": ConvolutionArgPlaces(2, 4, 3, None),
}


def _rule_of_backend(places: ConvolutionArgPlaces) -> CostRule:
    """The rule of a convolution that takes its arguments at these places."""

    def count(result: Tensor, /, *args: Any, **_: Any) -> OpCost:
        x, weight = args[:2]
        bias = take_argument(args, places.bias, None)
        stride, padding = take_argument(args, places.stride, 1), take_argument(args, places.padding, 0)
        dilation = take_argument(args, places.dilation, 1)
        groups = (result if places.transposed else x).shape[1] // weight.shape[1]
        cost = _count_from_geometry(result, x, weight, bias, stride, padding, dilation, groups, places.transposed)
        return cost._replace(flops=cost.flops + places.extra_flops * numel(result))

    return count


for _names, _places in BACKEND_CONVOLUTIONS.items():
    cost_rule(*aten_names(_names))(_rule_of_backend(_places))


@cost_rule(*aten_names("conv_tbc"))
def count_time_batch_channel(
    result: Tensor, /, x: Tensor, weight: Tensor, bias: Tensor, pad: int = 0, **_: Any
) -> OpCost:
    """Layout: x (time, batch, in), weight (kernel, in, out)."""
    kernel, channels, _out = weight.shape
    macs = numel(result) * kernel * channels
    return OpCost(macs, 2 * macs + numel(result), Window((kernel,), (1,), (pad,), (1,)))


def _count_from_geometry(
    result: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    transposed: bool = False,
) -> OpCost:
    outputs = prod(result.shape)
    _, _, *kernel = weight.shape
    macs = (prod(x.shape) if transposed else outputs) * prod(weight.shape[1:])
    dims = len(kernel)
    window = Window(
        tuple(kernel),
        spread_over_dims(stride, dims),
        spread_over_dims(padding, dims),
        spread_over_dims(dilation, dims),
        groups,
        bool(transposed),
    )
    if x.dtype.is_complex:
        macs *= 4
    return OpCost(macs, 2 * macs + (outputs if bias is not None else 0), window)


@cost_rule(*aten_names("convolution_backward"))
def count_convolution_backward(
    result: Any,
    /,
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
    output_mask: Sequence[bool],
    **_: Any,
) -> OpCost:
    forward = _count_from_geometry(gradient, x, weight, None, stride, padding, dilation, groups, transposed)
    wanted = bool(output_mask[0]) + bool(output_mask[1])
    bias = numel(gradient) - gradient.shape[1] if output_mask[2] else 0
    return OpCost(wanted * forward.macs, wanted * forward.flops + bias, forward.window)


@cost_rule(*aten_names("convolution_backward_overrideable"))
def count_overrideable_backward(
    result: Any, /, gradient: Tensor, x: Tensor, weight: Tensor, *geometry: Any, **_: Any
) -> OpCost:
    return count_convolution_backward(result, gradient, x, weight, None, *geometry)
