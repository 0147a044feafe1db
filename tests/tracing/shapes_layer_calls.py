"""Random calls of convolution, normalisation, pooling and resampling, valid and invalid."""

from __future__ import annotations

from typing import Any

import torch
from shapes_calls import Call, calls
from shapes_draw import Draw


@calls("convolution")
def convolution(d: Draw) -> Call:
    dims = d.pick(2, 1, 3)
    groups, dtype, transposed = d.pick(1, 1, 2, 3), d.dtype(floating=True), d.pick(False, False, True)
    weight_shape = [groups * d.pick(1, 2, 3), d.pick(1, 2, 3), *(d.pick(1, 2, 3) for _ in range(dims))]
    channels = weight_shape[0] if transposed else weight_shape[1] * groups
    out = weight_shape[1] * groups if transposed else weight_shape[0]
    if d.rarely():
        channels += 1
    x_shape = [d.pick(2, 1), channels, *(d.pick(5, 1, 2, 4, 7) for _ in range(dims))]
    if d.rarely():
        x_shape = x_shape[1:]
    weight = d.tensor(weight_shape, torch.float32 if d.rarely() else dtype, d.pick("plain", "plain", None))
    return [
        d.tensor(x_shape, dtype),
        weight,
        d.maybe([out], dtype),
        window(d, dims, (1, 2, 3, 1, 0)),
        window(d, dims, (0, 1, 2, 0, -1)),
        window(d, dims, (1, 1, 2, 1, 0)),
        transposed,
        window(d, dims, (0, 0, 1, 0, 2)),
        groups + 1 if d.rarely() else groups,
    ], {}


def window(d: Draw, dims: int, values: tuple[int, ...]) -> list[int]:
    """One number a dimension, or one for all; the last of `values`, which is wrong, rarely."""
    usual = values[:-1]
    numbers = [d.pick(*usual) for _ in range(dims if d.pick(True, False) else 1)]
    if d.rarely() and d.rarely():
        numbers[0] = values[-1]
    return numbers


@calls("convolution_backward")
def convolution_backward(d: Draw) -> Call:
    dims, dtype, groups = d.pick(2, 1, 3), d.dtype(floating=True), d.pick(1, 2)
    x = d.tensor([d.pick(2, 1), groups * d.pick(1, 2), *[5] * dims], dtype)
    weight = d.tensor([groups * 3, x.shape[1] // groups, *[3] * dims], dtype)
    grad = d.tensor([x.shape[0], weight.shape[0], *[3] * dims], dtype)
    bias = d.pick([weight.shape[0]], [weight.shape[0]], None)
    plain = [[1] * dims, [0] * dims, [1] * dims, False, [0] * dims, groups]
    return [grad, x, weight, bias, *plain, mask(d)], {}


def mask(d: Draw) -> list[bool]:
    return [d.pick(True, True, False) for _ in range(3)]


@calls("native_batch_norm")
def batch_norm(d: Draw) -> Call:
    shape, dtype = d.shape(1 if d.rarely() else 2), d.dtype(floating=True)
    channels = shape[1:2] or [2]
    vectors = [d.maybe(channels, torch.float32 if d.rarely() else dtype) for _ in range(4)]
    return [d.tensor(shape, dtype), *vectors, d.pick(True, False), 0.1, 1e-5], {}


@calls("native_batch_norm_backward")
def batch_norm_backward(d: Draw) -> Call:
    shape, dtype, train = d.shape(1 if d.rarely() else 2), d.dtype(floating=True), d.pick(True, False)
    channels = shape[1:2] or [2]
    kept = torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
    x = d.tensor(shape, dtype)
    grad = (
        torch.empty_strided(shape, x.stride(), dtype=dtype, device="meta")
        if d.pick(True, False)
        else d.tensor(shape, dtype)
    )
    held = kept if d.rarely() else dtype
    given = [d.maybe(channels, held) for _ in range(3)] + [d.maybe(channels, kept) for _ in range(2)]
    return [grad, x, *given, train, 1e-5, mask(d)], {}


@calls("native_layer_norm")
def layer_norm(d: Draw) -> Call:
    shape, dtype = d.shape(1), d.dtype(floating=True)
    normalized = shape[-d.integer(1, len(shape)) :]
    if d.rarely():
        normalized = [*normalized[1:], 3]
    kind = torch.float32 if d.rarely() else dtype
    return [d.tensor(shape, dtype), normalized, d.maybe(normalized, kind), d.maybe(normalized, kind), 1e-5], {}


@calls("native_layer_norm_backward")
def layer_norm_backward(d: Draw) -> Call:
    shape, dtype = d.shape(1), d.dtype(floating=True)
    count = d.integer(1, len(shape))
    normalized = shape[-count:]
    saved = [*shape[:-count], *[1] * count]
    kept = torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
    tensors = [d.tensor(saved, kept, "plain"), d.tensor(saved, kept, "plain")]
    vectors = [d.maybe(normalized, torch.float32 if d.rarely() else dtype) for _ in range(2)]
    return [d.tensor(shape, dtype), d.tensor(shape, dtype), normalized, *tensors, *vectors, mask(d)], {}


@calls("native_group_norm")
def group_norm(d: Draw) -> Call:
    x, sizes, dtype = grouped(d)
    channels = [sizes[1]]
    return [x, d.maybe(channels, dtype), d.maybe(channels, dtype), *sizes, 1e-5], {}


@calls("native_group_norm_backward")
def group_norm_backward(d: Draw) -> Call:
    x, (batch, channels, inner, groups), dtype = grouped(d)
    grad = d.tensor(x.shape, dtype)
    kept = [d.tensor([batch, groups], d.pick(dtype, dtype, torch.float32), "plain") for _ in range(2)]
    return [grad, x, *kept, d.maybe([channels], dtype), batch, channels, inner, groups, mask(d)], {}


def grouped(d: Draw) -> tuple[torch.Tensor, list[int], torch.dtype]:
    dtype, groups = d.dtype(floating=True), d.pick(1, 2, 3)
    channels = groups * d.pick(1, 2, 3)
    shape = [d.pick(2, 1), channels, *d.shape(0, 3)]
    inner = int(torch.Size(shape[2:]).numel())
    sizes = [shape[0], channels, inner + d.rarely(), groups + d.rarely()]
    return d.tensor(shape, dtype), sizes, dtype


def image(d: Draw, dtype: torch.dtype) -> torch.Tensor:
    shape = [d.pick(2, 1), d.pick(3, 1, 4), d.pick(6, 3, 7, 1), d.pick(5, 8, 2)]
    if d.rarely():
        shape = shape[1:]
    return d.tensor(shape, dtype, d.pick("plain", "plain", None))


def pooling(d: Draw, dims: int = 2) -> list[Any]:
    kernel = window(d, dims, (2, 3, 1, 4, 0))
    stride = d.pick([], window(d, dims, (1, 2, 3, 0)))
    return [kernel, stride, window(d, dims, (0, 1, 0, 2, -1))]


@calls("max_pool2d_with_indices")
def max_pool(d: Draw) -> Call:
    dilation = window(d, 2, (1, 1, 2, 0))
    return [image(d, d.dtype(floating=True)), *pooling(d), dilation, d.pick(False, True)], {}


def volume(d: Draw) -> torch.Tensor:
    shape = [d.pick(2, 1), d.pick(3, 1), d.pick(4, 1), d.pick(6, 3), 5]
    return d.tensor(shape[1:] if d.rarely() else shape, d.dtype(floating=True), d.pick("plain", None))


@calls("avg_pool3d")
def avg_pool_3d(d: Draw) -> Call:
    return [volume(d), *pooling(d, 3), d.pick(False, True), d.pick(True, False), d.pick(None, None, 3, 0)], {}


@calls("max_pool3d_with_indices")
def max_pool_3d(d: Draw) -> Call:
    return [volume(d), *pooling(d, 3), window(d, 3, (1, 1, 2, 0)), d.pick(False, True)], {}


@calls("avg_pool2d")
def avg_pool(d: Draw) -> Call:
    divisor = d.pick(None, None, 3, 0)
    return [image(d, d.dtype(floating=True)), *pooling(d), d.pick(False, True), d.pick(True, False), divisor], {}


@calls("max_pool2d_with_indices_backward")
def max_pool_backward(d: Draw) -> Call:
    (x, *options), _ = max_pool(d)
    forward = torch.ops.aten.max_pool2d_with_indices
    grad, indices = result_of(d, x, forward, options)
    return [grad, x, *options, torch.empty(indices.shape, dtype=torch.int64, device="meta")], {}


@calls("avg_pool2d_backward")
def avg_pool_backward(d: Draw) -> Call:
    (x, *options), _ = avg_pool(d)
    grad, _ = result_of(d, x, torch.ops.aten.avg_pool2d, options)
    return [grad, x, *options], {}


def result_of(d: Draw, x: torch.Tensor, forward: Any, options: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """A gradient with the shape of the forward's result, or of anything where that is refused."""
    try:
        result = forward(x, *options)
    except (RuntimeError, ZeroDivisionError):
        result = x
    result = result[0] if isinstance(result, tuple) else result
    return d.tensor(d.shape() if d.rarely() else result.shape, x.dtype), result


@calls("_adaptive_avg_pool2d")
def adaptive(d: Draw) -> Call:
    return [image(d, d.dtype(floating=True)), [d.pick(1, 2, 7, 0), d.pick(1, 3)]], {}


@calls("_adaptive_avg_pool2d_backward")
def adaptive_backward(d: Draw) -> Call:
    x = image(d, d.dtype(floating=True))
    return [d.tensor([*x.shape[:-2], 2, d.pick(2, 1)], x.dtype), x], {}


@calls("upsample_bilinear2d upsample_bicubic2d")
def interpolated(d: Draw) -> Call:
    return [image(d, d.dtype(floating=True)), [d.pick(4, 12), d.pick(3, 1, 0)], d.pick(True, False)], {}


@calls("grid_sampler_2d")
def sampled(d: Draw) -> Call:
    x = image(d, d.dtype(floating=True))
    batch = x.shape[0] + 1 if d.rarely() else x.shape[0]
    grid = d.tensor([batch, d.pick(3, 1), 2, 3 if d.rarely() else 2], torch.float32 if d.rarely() else x.dtype)
    return [x, grid, d.pick(0, 1, 2), d.pick(0, 1, 2), d.pick(True, False)], {}


@calls("im2col")
def im2col(d: Draw) -> Call:
    numbers = [(2, 3, 1, 0), (1, 2, 0), (0, 1, -1), (1, 2, 0)]
    return [image(d, d.dtype(floating=True)), *([*window(d, 2, n), 1][:2] for n in numbers)], {}


@calls("col2im")
def col2im(d: Draw) -> Call:
    """Columns of two channels, as often right as wrong."""
    kernel, dilation, padding, stride = ([*window(d, 2, n), 1][:2] for n in [(2, 3, 1), (1, 2), (0, 1), (1, 2)])
    size = [d.pick(5, 6, 8), d.pick(5, 7)]
    blocks = [(size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in range(2)]
    shape = [2, 2 * kernel[0] * kernel[1], max(blocks[0] * blocks[1] + (1 if d.rarely() else 0), 1)]
    return [d.tensor(shape, d.dtype(floating=True)), size, kernel, dilation, padding, stride], {}


@calls("mse_loss smooth_l1_loss binary_cross_entropy soft_margin_loss")
def loss(d: Draw) -> Call:
    shape, dtype = d.shape(), d.dtype(floating=True)
    other = d.dtype(floating=True) if d.rarely() else dtype
    return [d.tensor(shape, dtype), d.tensor(d.part(shape) if d.rarely() else shape, other)], {}
