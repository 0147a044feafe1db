"""Convolutions and matrix products."""

from __future__ import annotations

from typing import Any

import torch

from archprof.tracing.ops.shapes.registry import FLOATS, make_contiguous, make_strided, shape_rule
from archprof.tracing.ops.shapes.strides import contiguous_strides, has_plain_strides, lies_channels_last, per_dimension

GROUPED_DTYPES = frozenset((torch.bfloat16, torch.float16, torch.float32))
"""The dtypes of grouped products."""


@shape_rule("convolution.default")
def _convolution(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool,
                 output_padding: Any, groups: int) -> Any:  # fmt: skip
    given, kernels, dtype = x.shape, weight.shape, x.dtype
    dims = len(kernels) - 2
    if dims < 1 or len(given) != dims + 2 or dtype is not weight.dtype or dtype not in FLOATS or groups < 1:
        return None
    if 0 in given or 0 in kernels or kernels[0] % groups:
        return None
    channels, out = (kernels[0], kernels[1] * groups) if transposed else (kernels[1] * groups, kernels[0])
    if given[1] != channels or (bias is not None and (bias.shape != (out,) or bias.dtype is not dtype)):
        return None
    stride = per_dimension(stride, dims)
    padding = per_dimension(padding, dims)
    dilation = per_dimension(dilation, dims)
    if min(stride) < 1 or min(padding) < 0 or min(dilation) < 1:
        return None
    sizes = []
    if transposed:
        extra = per_dimension(output_padding, dims)
        for size, kernel, s, p, d, e in zip(given[2:], kernels[2:], stride, padding, dilation, extra, strict=True):
            if e < 0 or (e >= s and e >= d):
                return None
            sizes.append((size - 1) * s - 2 * p + d * (kernel - 1) + e + 1)
    else:
        for size, kernel, s, p, d in zip(given[2:], kernels[2:], stride, padding, dilation, strict=True):
            sizes.append((size + 2 * p - d * (kernel - 1) - 1) // s + 1)
    return _make_image((given[0], out, *sizes), x, weight) if min(sizes) > 0 else None


def _make_image(shape: Any, x: Any, weight: Any) -> Any:
    """The result of a convolution: with its channels last where its input or its weight has them so.

    So do the kernels of devices (`determine_backend_memory_format` in aten/native/Convolution.cpp); releases of torch
    differ in what their kernel of meta does, which knows no device.
    """
    if not any(lies_channels_last(tensor.shape, tensor.stride()) for tensor in (x, weight)):
        return make_contiguous(shape, x.dtype)
    order = (0, *range(2, len(shape)), 1)
    return make_strided(shape, contiguous_strides(shape, order), x.dtype)


@shape_rule("convolution_backward.default")
def _convolution_backward(grad: Any, x: Any, weight: Any, bias_sizes: Any, stride: Any, padding: Any, dilation: Any,
                          transposed: bool, output_padding: Any, groups: int, mask: Any) -> Any:  # fmt: skip
    if not grad.dtype is x.dtype is weight.dtype or grad.dim() != x.dim():
        return None
    if not (has_plain_strides(x.shape, x.stride()) and has_plain_strides(weight.shape, weight.stride())) or (
        mask[2] and not bias_sizes
    ):
        return None
    return (
        make_contiguous(x.shape, x.dtype) if mask[0] else None,
        make_contiguous(weight.shape, weight.dtype) if mask[1] else None,
        make_contiguous(bias_sizes, grad.dtype) if mask[2] else None,
    )


@shape_rule("addmm.default")
def _addmm(bias: Any, x: Any, y: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    fits = x.dim() == y.dim() == 2 and x.shape[1] == y.shape[0] and x.dtype is y.dtype is bias.dtype
    if not fits or x.dtype not in FLOATS or bias.dim() != 1 or bias.shape[0] not in (1, y.shape[1]):
        return None
    return make_contiguous((x.shape[0], y.shape[1]), x.dtype)


@shape_rule("mm.default")
def _mm(x: Any, y: Any) -> Any:
    fits = x.dim() == y.dim() == 2 and x.shape[1] == y.shape[0] and x.dtype is y.dtype
    return make_contiguous((x.shape[0], y.shape[1]), x.dtype) if fits else None


@shape_rule("bmm.default")
def _bmm(x: Any, y: Any) -> Any:
    fits = x.dim() == y.dim() == 3 and x.shape[0] == y.shape[0] and x.shape[2] == y.shape[1] and x.dtype is y.dtype
    return make_contiguous((x.shape[0], x.shape[1], y.shape[2]), x.dtype) if fits else None


@shape_rule("baddbmm.default")
def _baddbmm(bias: Any, x: Any, y: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    result = _bmm(x, y) if x.dtype is bias.dtype and x.dtype in FLOATS else None
    return result if result is not None and bias.shape == result.shape else None


@shape_rule("_grouped_mm.default")
def _grouped_mm(x: Any, y: Any, offsets: Any = None, *others: Any) -> Any:
    """Rows of (m, k), each group with its own matrix of (groups, k, n), or the gradient of those matrices.

    No row needs padding to 16 bytes. Before torch 2.15 its own kernel on meta refuses float32, which the kernels on
    devices take.
    """
    if others or offsets is None or x.dim() != 2 or x.dtype is not y.dtype or x.dtype not in GROUPED_DTYPES:
        return None
    if 0 in (*x.shape, *y.shape) or offsets.dtype is not torch.int32 or offsets.dim() != 1:
        return None
    (rows, width), groups = x.shape, offsets.shape[0]
    if y.dim() == 3:
        fits, shape = y.shape[:2] == (groups, width), [rows, y.shape[2]]
    else:  # the groups share out the summed dimension
        fits, shape = y.dim() == 2 and y.shape[0] == width, [groups, rows, y.shape[-1]]
    aligned = _has_whole_rows(x) and _has_whole_rows(y) and shape[-1] * x.dtype.itemsize % 16 == 0
    return make_contiguous(tuple(shape), x.dtype) if fits and aligned else None


def _has_whole_rows(matrix: Any) -> bool:
    """Whether its rows, or its columns, lie one behind the other, each of a multiple of 16 bytes."""
    *batch, rows, columns = matrix.shape
    plain = has_plain_strides(matrix.shape, matrix.stride())
    if not plain and matrix.stride() != (*[rows * columns] * len(batch), 1, rows):
        return False
    return bool((columns if plain else rows) * matrix.dtype.itemsize % 16 == 0)


@shape_rule("mv.default")
def _mv(x: Any, y: Any) -> Any:
    fits = x.dim() == 2 and y.dim() == 1 and x.shape[1] == y.shape[0] and x.dtype is y.dtype
    return make_contiguous(x.shape[:1], x.dtype) if fits and x.dtype in FLOATS and 0 not in x.shape else None


@shape_rule("dot.default")
def _dot(x: Any, y: Any) -> Any:
    fits = x.dim() == y.dim() == 1 and x.shape == y.shape and x.dtype is y.dtype
    return make_contiguous((), x.dtype) if fits and x.dtype in FLOATS else None


@shape_rule("embedding.default")
def _embedding(weight: Any, indices: Any, *args: Any) -> Any:
    usual = weight.dim() == 2 and indices.dtype in (torch.int64, torch.int32)
    return make_contiguous((*indices.shape, weight.shape[1]), weight.dtype) if usual else None
