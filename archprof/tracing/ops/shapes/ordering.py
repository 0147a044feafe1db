"""Ops that sort, pick the largest or run along one dimension of a contiguous operand."""

from __future__ import annotations

from typing import Any

import torch

from archprof.tracing.ops.shapes.registry import FLOATS, INTEGERS, REALS, make_contiguous, shape_rule
from archprof.tracing.ops.shapes.strides import has_plain_strides


def _runs_along(x: Any, dim: int) -> bool:
    """Whether `dim` is a dimension of a contiguous tensor with elements."""
    return -x.dim() <= dim < x.dim() and has_plain_strides(x.shape, x.stride())


@shape_rule("cumsum.default")
def _running_sum(x: Any, dim: int, *, dtype: Any = None) -> Any:
    kind = dtype or (x.dtype if x.dtype in FLOATS else torch.int64)
    return make_contiguous(x.shape, kind) if _runs_along(x, dim) and x.dtype in REALS and kind in REALS else None


@shape_rule("sort.default")
def _sorted(x: Any, dim: int = -1, descending: bool = False) -> Any:
    if not _runs_along(x, dim) or x.dtype not in REALS:
        return None
    return make_contiguous(x.shape, x.dtype), make_contiguous(x.shape, torch.int64)


@shape_rule("topk.default")
def _largest(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    if not _runs_along(x, dim) or x.dtype not in FLOATS | INTEGERS or not 0 < k <= x.shape[dim]:
        return None
    shape = list(x.shape)
    shape[dim] = k
    return make_contiguous(shape, x.dtype), make_contiguous(shape, torch.int64)
