"""Pooling and resampling of images."""

from __future__ import annotations

from typing import Any

import torch

from archprof.tracing.ops.shapes.registry import FLOATS, make_contiguous, make_cut_from, shape_rule
from archprof.tracing.ops.shapes.strides import has_plain_strides, per_dimension


def _is_plain_image(x: Any) -> bool:
    """Whether it is a contiguous N x C x H x W of floating point, whose strides cannot mean channels last."""
    return x.dim() == 4 and x.dtype in FLOATS and has_plain_strides(x.shape, x.stride())


def _is_plain_volume(x: Any) -> bool:
    """The same for N x C x D x H x W."""
    return x.dim() == 5 and x.dtype in FLOATS and has_plain_strides(x.shape, x.stride())


@shape_rule("max_pool2d_with_indices.default")
def _max_pool(x: Any, kernel: Any, stride: Any = (), padding: Any = (0,), dilation: Any = (1,),
              ceil_mode: bool = False) -> Any:  # fmt: skip
    return (
        _with_indices(x, _pooled_sizes(x, kernel, stride, padding, dilation, ceil_mode)) if _is_plain_image(x) else None
    )


@shape_rule("max_pool3d_with_indices.default")
def _max_pool_3d(x: Any, kernel: Any, stride: Any = (), padding: Any = (0,), dilation: Any = (1,),
                 ceil_mode: bool = False) -> Any:  # fmt: skip
    return (
        _with_indices(x, _pooled_sizes(x, kernel, stride, padding, dilation, ceil_mode))
        if _is_plain_volume(x)
        else None
    )


def _with_indices(x: Any, sizes: Any) -> Any:
    if sizes is None:
        return None
    return make_contiguous((*x.shape[:2], *sizes), x.dtype), make_contiguous((*x.shape[:2], *sizes), torch.int64)


@shape_rule("avg_pool2d.default")
def _avg_pool(x: Any, kernel: Any, stride: Any = (), padding: Any = (0,), ceil_mode: bool = False,
              count_include_pad: bool = True, divisor_override: Any = None) -> Any:  # fmt: skip
    sizes = _pooled_sizes(x, kernel, stride, padding, (1,), ceil_mode) if _is_plain_image(x) else None
    return None if sizes is None or divisor_override == 0 else make_contiguous((*x.shape[:2], *sizes), x.dtype)


@shape_rule("avg_pool3d.default")
def _avg_pool_3d(x: Any, kernel: Any, stride: Any = (), padding: Any = (0,), ceil_mode: bool = False,
                 count_include_pad: bool = True, divisor_override: Any = None) -> Any:  # fmt: skip
    if not _is_plain_volume(x) or any(size < k for size, k in zip(x.shape[2:], per_dimension(kernel, 3), strict=True)):
        return None
    sizes = _pooled_sizes(x, kernel, stride, padding, (1,), ceil_mode)
    return None if sizes is None or divisor_override == 0 else make_contiguous((*x.shape[:2], *sizes), x.dtype)


def _pooled_sizes(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> list[int] | None:
    """Output sizes of an N x C x … operand, or `None` for a call that torch must answer or refuse."""
    dims = x.dim() - 2
    kernel = per_dimension(kernel, dims)
    padding = per_dimension(padding, dims)
    dilation = per_dimension(dilation, dims)
    stride = per_dimension(stride, dims) if stride else kernel
    if min(*kernel, *stride, *dilation) < 1 or min(padding) < 0:
        return None
    sizes = []
    for size, k, s, p, d in zip(x.shape[2:], kernel, stride, padding, dilation, strict=True):
        if p > k // 2:
            return None
        sizes.append(_count_windows(size + 2 * p - d * (k - 1) - 1, s, ceil_mode, size + p))
    return sizes if min(sizes) > 0 else None


def _count_windows(span: int, stride: int, ceil_mode: bool, limit: int) -> int:
    """Windows that fit into `span + 1` starting places; with `ceil_mode` the last may hang over, but starts inside."""
    size = (span + (stride - 1 if ceil_mode else 0)) // stride + 1
    return size - 1 if ceil_mode and (size - 1) * stride >= limit else size


@shape_rule("max_pool2d_with_indices_backward.default")
def _max_pool_backward(grad: Any, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
                       indices: Any) -> Any:  # fmt: skip
    sizes = _pooled_sizes(x, kernel, stride, padding, dilation, ceil_mode) if _is_plain_image(x) else None
    return _make_gradient(grad, x, sizes) if indices.shape == grad.shape else None


@shape_rule("avg_pool2d_backward.default")
def _avg_pool_backward(grad: Any, x: Any, kernel: Any, stride: Any, padding: Any, ceil_mode: bool,
                       count_include_pad: bool, divisor_override: Any) -> Any:  # fmt: skip
    sizes = _pooled_sizes(x, kernel, stride, padding, (1,), ceil_mode) if _is_plain_image(x) else None
    return _make_gradient(grad, x, sizes) if divisor_override != 0 else None


def _make_gradient(grad: Any, x: Any, sizes: Any) -> Any:
    usual = sizes is not None and tuple(grad.shape) == (*x.shape[:2], *sizes) and grad.dtype is x.dtype
    return make_contiguous(x.shape, x.dtype) if usual else None


@shape_rule("_adaptive_avg_pool2d.default")
def _adaptive_avg_pool(x: Any, size: Any) -> Any:
    return (
        make_contiguous((*x.shape[:2], *size), x.dtype)
        if _is_plain_image(x) and len(size) == 2 and min(size) > 0
        else None
    )


@shape_rule("_adaptive_avg_pool2d_backward.default")
def _adaptive_avg_pool_backward(grad: Any, x: Any) -> Any:
    usual = _is_plain_image(x) and grad.dim() == 4 and grad.dtype is x.dtype and grad.shape[:2] == x.shape[:2]
    return make_contiguous(x.shape, x.dtype) if usual and 0 not in grad.shape else None


@shape_rule("upsample_bilinear2d.default", "upsample_bicubic2d.default")
def _interpolated(x: Any, size: Any, align_corners: bool, *scales: Any) -> Any:
    return (
        make_contiguous((*x.shape[:2], *size), x.dtype)
        if _is_plain_image(x) and len(size) == 2 and min(size) > 0
        else None
    )


@shape_rule("grid_sampler_2d.default")
def _sampled(x: Any, grid: Any, interpolation: int, padding: int, align_corners: bool) -> Any:
    usual = _is_plain_image(x) and grid.dim() == 4 and grid.dtype is x.dtype and 0 not in grid.shape
    if not usual or grid.shape[0] != x.shape[0] or grid.shape[3] != 2 or interpolation not in (0, 1):
        return None
    shape = (*x.shape[:2], *grid.shape[1:3])
    if x.shape[1] == 1 and (1 in shape[2:] or not has_plain_strides(grid.shape, grid.stride())):
        return None
    return make_contiguous(shape, x.dtype) if padding in (0, 1, 2) else None


@shape_rule("im2col.default")
def _im2col(x: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    if (
        not _is_plain_image(x)
        or x.shape[1] == 1
        or not len(kernel) == len(dilation) == len(padding) == len(stride) == 2
    ):
        return None
    if min(*kernel, *dilation, *stride) < 1 or min(padding) < 0:
        return None
    height, width = (
        _count_windows(x.shape[2 + i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1, stride[i], False, 0)
        for i in range(2)
    )
    if min(height, width) < 1:
        return None
    return make_cut_from(x, (x.shape[0], x.shape[1] * kernel[0] * kernel[1], height * width))
