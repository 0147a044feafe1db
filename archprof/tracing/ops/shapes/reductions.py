"""Ops that reduce dimensions: their results are contiguous, whatever the operand's layout."""

from __future__ import annotations

from typing import Any

import torch

from archprof.tracing.ops.shapes.registry import FLOATS, INTEGERS, REALS, make_contiguous, shape_rule
from archprof.tracing.ops.shapes.strides import has_plain_strides


def _make_reduced(x: Any, dim: Any, keepdim: bool, dtype: torch.dtype) -> Any:
    """`x` without the dimensions `dim`; none given means all of them."""
    rank = x.dim()
    if 0 in x.shape:
        return None
    gone = list(range(rank)) if not dim else [d + rank if d < 0 else d for d in dim]
    if any(not 0 <= d < rank for d in gone) or len(set(gone)) != len(gone):
        return None
    if keepdim:
        return make_contiguous([1 if d in gone else size for d, size in enumerate(x.shape)], dtype)
    return make_contiguous([size for d, size in enumerate(x.shape) if d not in gone], dtype)


@shape_rule("mean.dim")
def _mean(x: Any, dim: Any, keepdim: bool = False, *, dtype: Any = None) -> Any:
    kind = dtype or x.dtype
    return _make_reduced(x, dim, keepdim, kind) if x.dtype in REALS and kind in FLOATS else None


@shape_rule("mean.default")
def _mean_of_all(x: Any, *, dtype: Any = None) -> Any:
    return _mean(x, None, False, dtype=dtype)


@shape_rule("sum.dim_IntList")
def _sum(x: Any, dim: Any, keepdim: bool = False, *, dtype: Any = None) -> Any:
    kind = dtype or (x.dtype if x.dtype in FLOATS else torch.int64)
    return _make_reduced(x, dim, keepdim, kind) if x.dtype in REALS and kind in REALS else None


@shape_rule("amax.default", "amin.default")
def _extreme(x: Any, dim: Any = (), keepdim: bool = False) -> Any:
    return _make_reduced(x, dim, keepdim, x.dtype) if x.dtype in FLOATS or x.dtype in INTEGERS else None


@shape_rule("linalg_vector_norm.default")
def _vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    usual = x.dtype in FLOATS and dtype is None and type(ord) in (int, float)
    if 1 in x.shape and not has_plain_strides(x.shape, x.stride()):
        return None  # torch may return a view of a dimension of size 1
    return _make_reduced(x, dim, keepdim, x.dtype) if usual else None


@shape_rule("var.correction", "std.correction")
def _variance(x: Any, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    return _make_reduced(x, dim, keepdim, x.dtype) if x.dtype in FLOATS else None


@shape_rule("logsumexp.default")
def _logsumexp(x: Any, dim: Any, keepdim: bool = False) -> Any:
    return _make_reduced(x, dim, keepdim, x.dtype) if x.dtype in FLOATS and dim else None
