"""Ops that join, pad, repeat, shift or pick."""

from __future__ import annotations

from typing import Any

import torch

from archprof.tracing.ops.shapes.registry import REALS, make_contiguous, shape_rule
from archprof.tracing.ops.shapes.strides import has_plain_strides

EMPTY_SHAPE = (0,)
"""A tensor of this shape may be joined to any, as the first keys of a cache are."""


@shape_rule("cat.default")
def _cat(tensors: Any, dim: int = 0) -> Any:
    shapes = [tensor.shape for tensor in tensors if tensor.shape != EMPTY_SHAPE] or [tensors[0].shape]
    dtype, *others = {tensor.dtype for tensor in tensors}
    first, rank = shapes[0], len(shapes[0])
    dim = dim + rank if dim < 0 else dim
    if others or not 0 <= dim < rank or (rank >= 4 and _channels_innermost(tensors)):
        return None  # torch may then lay out the result so, too
    for shape in set(shapes):
        if len(shape) != rank or shape[:dim] != first[:dim] or shape[dim + 1 :] != first[dim + 1 :] or 0 in shape:
            return None
    return make_contiguous((*first[:dim], sum([shape[dim] for shape in shapes]), *first[dim + 1 :]), dtype)


def _channels_innermost(tensors: Any) -> bool:
    return all(tensor.stride(1) == 1 for tensor in tensors if tensor.shape != EMPTY_SHAPE)


@shape_rule("stack.default")
def _stack(tensors: Any, dim: int = 0) -> Any:
    first = tensors[0]
    rank = first.dim() + 1
    dim = dim + rank if dim < 0 else dim
    same = all(tensor.shape == first.shape and tensor.dtype is first.dtype for tensor in tensors)
    if not same or not 0 <= dim < rank or 0 in first.shape:
        return None
    if rank >= 4 and not all(has_plain_strides(tensor.shape, tensor.stride()) for tensor in tensors):
        return None
    return make_contiguous((*first.shape[:dim], len(tensors), *first.shape[dim:]), first.dtype)


@shape_rule("_unsafe_view.default")
def _unsafe_view(x: Any, size: Any) -> Any:
    return x.view(size) if x.is_contiguous() else None


@shape_rule("roll.default")
def _roll(x: Any, shifts: Any, dims: Any = ()) -> Any:
    usual = dims and len(shifts) == len(dims) and 0 not in x.shape and all(-x.dim() <= d < x.dim() for d in dims)
    return make_contiguous(x.shape, x.dtype) if usual and x.is_contiguous() else None


@shape_rule("index.Tensor")
def _index(x: Any, indices: Any) -> Any:
    """One index tensor over one dimension of a contiguous operand."""
    given = [dim for dim, index in enumerate(indices) if index is not None]
    if len(given) != 1 or len(indices) > x.dim() or not x.is_contiguous() or 0 in x.shape:
        return None
    index = indices[given[0]]
    if index.dtype not in (torch.int64, torch.int32) or 0 in index.shape or 1 in x.shape:
        return None
    return make_contiguous((*x.shape[: given[0]], *index.shape, *x.shape[given[0] + 1 :]), x.dtype)


@shape_rule("select_backward.default")
def _select_backward(grad: Any, sizes: Any, dim: int, index: int) -> Any:
    rank = len(sizes)
    usual = -rank <= dim < rank and grad.dtype in REALS and min(sizes) > 0 and -sizes[dim] <= index < sizes[dim]
    if not usual:
        return None
    rest = [size for d, size in enumerate(sizes) if d != dim % rank]
    return make_contiguous(sizes, grad.dtype) if list(grad.shape) == rest else None


@shape_rule("slice_backward.default")
def _slice_backward(grad: Any, sizes: Any, dim: int, start: int, end: int, step: int) -> Any:
    rank = len(sizes)
    if not -rank <= dim < rank or min(sizes) < 1 or step < 1:
        return None
    taken = [len(range(size)[start:end:step]) if d == dim % rank else size for d, size in enumerate(sizes)]
    return make_contiguous(sizes, grad.dtype) if list(grad.shape) == taken else None


@shape_rule("repeat.default")
def _repeat(x: Any, repeats: Any) -> Any:
    if len(repeats) < x.dim() or min(repeats, default=0) < 1 or 0 in x.shape:
        return None
    own = (*[1] * (len(repeats) - x.dim()), *x.shape)
    return make_contiguous([size * times for size, times in zip(own, repeats, strict=True)], x.dtype)


@shape_rule("pixel_shuffle.default")
def _pixel_shuffle(x: Any, factor: int) -> Any:
    usual = x.dim() == 4 and factor > 0 and x.is_contiguous() and 0 not in x.shape and x.shape[1] % (factor**2) == 0
    if not usual or x.shape[1] == 1 or x.shape[1] == factor**2:
        return None
    batch, channels, height, width = x.shape
    return make_contiguous((batch, channels // factor**2, height * factor, width * factor), x.dtype)


@shape_rule("pixel_unshuffle.default")
def _pixel_unshuffle(x: Any, factor: int) -> Any:
    usual = x.dim() == 4 and factor > 0 and x.is_contiguous() and 0 not in x.shape and x.shape[1] > 1
    if not usual or x.shape[2] % factor or x.shape[3] % factor:
        return None
    batch, channels, height, width = x.shape
    return make_contiguous((batch, channels * factor**2, height // factor, width // factor), x.dtype)
