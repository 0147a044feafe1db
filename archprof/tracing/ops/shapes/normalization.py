"""Batch, layer and group normalisation, forward and backward."""

from __future__ import annotations

from math import prod
from typing import Any

import torch

from archprof.tracing.ops.shapes.registry import (
    FLOATS,
    HALVES,
    make_after_contiguous,
    make_contiguous,
    make_stepwise,
    shape_rule,
)
from archprof.tracing.ops.shapes.strides import has_plain_strides


def _computed_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in HALVES else dtype


def _are_channel_vectors(size: int, *tensors: Any) -> bool:
    """Whether each tensor that is given has one element per channel."""
    return all(tensor is None or tensor.shape == (size,) for tensor in tensors)


@shape_rule("native_batch_norm.default")
def _batch_norm(x: Any, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *args: Any) -> Any:
    if x.dim() < 2 or x.dtype not in FLOATS or not _are_channel_vectors(x.shape[1], weight, bias, mean, var):
        return None
    usual = all(t is None or t.dtype is x.dtype for t in (weight, bias, mean, var))
    single = training and x.numel() == x.shape[1]  # torch's kernel divides by the number of values less one
    if not usual or single or (not training and (mean is None or var is None)):
        return None
    result = make_stepwise(x.dtype, x)
    if result is None:
        return None
    kept = _computed_dtype(x.dtype)
    return result, make_contiguous(x.shape[1:2], kept), make_contiguous(x.shape[1:2], kept)


@shape_rule("native_batch_norm_backward.default")
def _batch_norm_backward(grad: Any, x: Any, weight: Any, mean: Any, var: Any, saved_mean: Any, saved_invstd: Any,
                         train: bool, eps: float, mask: Any) -> Any:  # fmt: skip
    if x.dim() < 2 or x.dtype not in FLOATS or grad.dtype is not x.dtype:
        return None
    if not _are_channel_vectors(x.shape[1], weight, mean, var, saved_mean, saved_invstd):
        return None
    needed = (saved_mean, saved_invstd) if train else (mean, var)
    usual = grad.shape == x.shape and all(t is not None for t in needed)
    kind = x.dtype if weight is None else weight.dtype
    if not usual or kind not in (x.dtype, torch.float32):  # as under autocast
        return None
    result = make_stepwise(x.dtype, grad, x)
    if result is None:
        return None
    channels = x.shape[1:2]
    return (
        result if mask[0] else None,  # as its kernels do; that of meta makes it for nobody
        make_contiguous(channels, kind) if mask[1] else None,
        make_contiguous(channels, kind) if mask[2] else None,
    )


@shape_rule("native_layer_norm.default")
def _layer_norm(x: Any, shape: Any, weight: Any, bias: Any, eps: float) -> Any:
    outer = x.dim() - len(shape)
    if outer < 0 or not shape or x.dtype not in FLOATS or x.shape[outer:] != tuple(shape) or 0 in x.shape:
        return None
    if any(t is not None and (t.shape != tuple(shape) or t.dtype is not x.dtype) for t in (weight, bias)):
        return None
    saved = (*x.shape[:outer], *[1] * len(shape))
    kept = _computed_dtype(x.dtype)
    result = make_after_contiguous(x)
    return None if result is None else (result, make_contiguous(saved, kept), make_contiguous(saved, kept))


@shape_rule("native_layer_norm_backward.default")
def _layer_norm_backward(grad: Any, x: Any, shape: Any, mean: Any, rstd: Any, weight: Any, bias: Any, mask: Any) -> Any:
    if x.dtype not in FLOATS or grad.dtype is not x.dtype or grad.shape != x.shape or 0 in x.shape or not shape:
        return None
    outer = x.dim() - len(shape)
    saved = (*x.shape[:outer], *[1] * len(shape))
    if outer < 1 or x.shape[outer:] != tuple(shape) or mean.shape != saved or rstd.shape != saved:
        return None
    if any(t is not None and (t.shape != tuple(shape) or t.dtype is not x.dtype) for t in (weight, bias)):
        return None
    copied = x.dtype in HALVES  # and made contiguous
    if not copied and not (has_plain_strides(grad.shape, grad.stride()) and has_plain_strides(x.shape, x.stride())):
        return None
    return (
        make_contiguous(x.shape, x.dtype) if mask[0] else None,
        make_contiguous(shape, x.dtype) if mask[1] and weight is not None else None,
        make_contiguous(shape, x.dtype) if mask[2] and bias is not None else None,
    )


@shape_rule("native_group_norm.default")
def _group_norm(x: Any, weight: Any, bias: Any, batch: int, channels: int, inner: int, groups: int, eps: float) -> Any:
    usual = x.dim() >= 2 and x.dtype in FLOATS and _are_channel_vectors(channels, weight, bias)
    if not usual or min(batch, channels, inner, groups) < 1 or channels % groups:
        return None
    if tuple(x.shape[:2]) != (batch, channels) or prod(x.shape[2:]) != inner:
        return None
    kinds = {t.dtype for t in (weight, bias) if t is not None} or {x.dtype}
    kept = torch.float32 if x.dtype in HALVES and kinds == {torch.float32} else x.dtype  # torch's kernel of meta errs
    if kinds != {kept} or _may_lie_channels_last(x):
        return None
    if not has_plain_strides(x.shape, x.stride()):  # releases of torch differ in what they make of other layouts
        return None
    return (
        make_contiguous(x.shape, x.dtype),
        make_contiguous((batch, groups), kept),
        make_contiguous((batch, groups), kept),
    )


def _may_lie_channels_last(x: Any) -> bool:
    lies: bool = x.dim() >= 4 and x.stride(1) == 1
    return lies


KEPT_BY_GROUP_NORM = {(torch.float64, torch.float64), *((dtype, torch.float32) for dtype in (torch.float32, *HALVES))}
"""Dtypes of an input and of its statistics, with weights of the latter, whose backward pass is known."""


@shape_rule("native_group_norm_backward.default")
def _group_norm_backward(grad: Any, x: Any, mean: Any, rstd: Any, weight: Any, batch: int, channels: int, inner: int,
                         groups: int, mask: Any) -> Any:  # fmt: skip
    kept = mean.dtype
    usual = (
        {t.dtype for t in (mean, rstd, weight) if t is not None} == {kept}
        and (x.dtype, kept) in KEPT_BY_GROUP_NORM
        and grad.dtype is x.dtype
        and has_plain_strides(grad.shape, grad.stride())
        and _are_channel_vectors(channels, weight)
    )
    if not usual or min(batch, channels, inner, groups) < 1 or channels % groups:
        return None
    fits = grad.shape == x.shape and tuple(x.shape[:2]) == (batch, channels) and prod(x.shape[2:]) == inner
    if not fits or not mean.shape == rstd.shape == (batch, groups) or (weight is None and x.dtype is torch.float64):
        return None
    result = make_stepwise(x.dtype, x, grad)
    if result is None:
        return None
    return (
        result if mask[0] else None,
        make_contiguous((channels,), kept) if mask[1] else None,
        make_contiguous((channels,), kept) if mask[2] else None,
    )
