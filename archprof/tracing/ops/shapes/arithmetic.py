"""Elementwise ops of several tensors: broadcasting, promotion of dtypes, choice by a mask."""

from __future__ import annotations

from typing import Any

import torch

from archprof.tracing.ops.shapes.registry import (
    FLOATS,
    INTEGERS,
    REALS,
    make_elementwise,
    make_elementwise_like,
    make_stepwise,
    make_strided,
    overload_names,
    shape_rule,
)
from archprof.tracing.ops.shapes.strides import (
    broadcast_shapes,
    find_elementwise_layout,
    has_plain_strides,
    overlaps_itself,
)


def _promote_dtypes(x: Any, y: Any) -> torch.dtype | None:
    """The dtype in which two operands meet, tensors or numbers; `None` for a dtype that has no rule."""
    kind: torch.dtype = x.dtype
    if isinstance(y, torch.Tensor):
        kind = kind if kind is y.dtype else torch.result_type(x, y)
    elif type(y) not in (int, float):
        return None
    elif kind not in FLOATS:
        kind = torch.result_type(x, y)
    return kind if kind in REALS else None


def _make_met(result: torch.dtype, computed: torch.dtype, x: Any, y: Any) -> Any:
    if isinstance(y, torch.Tensor):
        return make_elementwise(result, computed, x, y)
    return make_elementwise(result, computed, x)


@shape_rule("add.Tensor", "sub.Tensor", "mul.Tensor", "maximum.default", "minimum.default")
def _arithmetic(x: Any, y: Any, *, alpha: Any = None) -> Any:
    dtype = _promote_dtypes(x, y)
    if dtype is None or dtype is torch.bool:
        return None
    if alpha is None:
        return _make_met(dtype, dtype, x, y)
    usual = dtype in FLOATS and x.dtype is dtype and isinstance(y, torch.Tensor) and y.dtype is dtype
    return make_stepwise(dtype, x, y) if usual and type(alpha) in (int, float) else None


@shape_rule("div.Tensor")
def _divided(x: Any, y: Any) -> Any:
    dtype = _promote_dtypes(x, y)
    if dtype is None:
        return None
    if dtype not in FLOATS:
        dtype = torch.get_default_dtype()
    return _make_met(dtype, dtype, x, y)


@shape_rule("floor_divide.default")
def _floor_divided(x: Any, number: Any) -> Any:
    usual = type(number) is int and number != 0 and (x.dtype in FLOATS or x.dtype in INTEGERS)
    return make_elementwise_like(x) if usual and has_plain_strides(x.shape, x.stride()) else None


@shape_rule("pow.Tensor_Tensor")
def _power(x: Any, y: Any) -> Any:
    return make_elementwise(x.dtype, x.dtype, x, y) if x.dtype is y.dtype and x.dtype in FLOATS else None


@shape_rule("add_.Tensor", "sub_.Tensor", "mul_.Tensor")
def _in_place(x: Any, y: Any, *, alpha: Any = 1) -> Any:
    if not isinstance(y, torch.Tensor):
        usual = (x.dtype in FLOATS and type(y) in (int, float)) or (x.dtype in INTEGERS and type(y) is int)
    else:
        usual = x.dtype in FLOATS and y.dtype in REALS and broadcast_shapes(x.shape, y.shape) == tuple(x.shape)
    usual = usual and type(alpha) in (int, float)
    return x if usual and not overlaps_itself(x.shape, x.stride()) else None


@shape_rule("div_.Tensor")
def _divided_in_place(x: Any, y: Any) -> Any:
    return _in_place(x, y) if x.dtype in FLOATS else None


@shape_rule(*overload_names("eq ne lt le gt ge", "Tensor"))
def _compared(x: Any, y: Any) -> Any:
    dtype = _promote_dtypes(x, y)
    return _make_met(torch.bool, dtype, x, y) if dtype is not None else None


@shape_rule("bitwise_and.Tensor", "bitwise_or.Tensor", "bitwise_xor.Tensor")
def _bitwise(x: Any, y: Any) -> Any:
    usual = x.dtype is y.dtype and x.dtype in REALS and x.dtype not in FLOATS
    return make_elementwise(x.dtype, x.dtype, x, y) if usual else None


@shape_rule("logical_and.default", "logical_or.default")
def _logical(x: Any, y: Any) -> Any:
    return make_stepwise(torch.bool, x, y) if x.dtype is y.dtype is torch.bool else None


@shape_rule("where.self")
def _where(mask: Any, x: Any, y: Any) -> Any:
    if mask.dtype is not torch.bool or x.dtype is not y.dtype or x.dtype not in REALS:
        return None
    layout = find_elementwise_layout((mask.shape, mask.stride()), (x.shape, x.stride()), (y.shape, y.stride()))
    return None if layout is None else make_strided(*layout, x.dtype)


@shape_rule("masked_fill.Scalar")
def _masked_fill(x: Any, mask: Any, value: Any) -> Any:
    usual = mask.dtype is torch.bool and x.dtype in FLOATS and type(value) in (int, float)
    return make_stepwise(x.dtype, x, mask) if usual else None


@shape_rule("masked_fill_.Scalar")
def _masked_fill_in_place(x: Any, mask: Any, value: Any) -> Any:
    usual = mask.dtype is torch.bool and x.dtype in FLOATS and type(value) in (int, float)
    fits = usual and broadcast_shapes(x.shape, mask.shape) == tuple(x.shape)
    return x if fits and not overlaps_itself(x.shape, x.stride()) else None


@shape_rule("addcmul.default", "addcdiv.default")
def _with_product(x: Any, y: Any, z: Any, *, value: Any = 1) -> Any:
    usual = x.dtype is y.dtype is z.dtype and x.dtype in FLOATS and type(value) in (int, float)
    return make_stepwise(x.dtype, x, y, z) if usual else None


@shape_rule("lerp.Scalar")
def _lerp(x: Any, y: Any, weight: Any) -> Any:
    usual = x.dtype is y.dtype and x.dtype in FLOATS and type(weight) in (int, float)
    return make_stepwise(x.dtype, x, y) if usual else None


@shape_rule("_prelu_kernel.default")
def _prelu(x: Any, weight: Any) -> Any:
    return make_stepwise(x.dtype, x, weight) if x.dtype is weight.dtype and x.dtype in FLOATS else None


@shape_rule("glu.default")
def _glu(x: Any, dim: int = -1) -> Any:
    usual = x.dtype in FLOATS and -x.dim() <= dim < x.dim() and x.shape[dim] % 2 == 0 and x.shape[dim]
    if not usual or 1 in x.shape or x.shape[dim] == 2 or not x.is_contiguous():
        return None
    half = x.narrow(dim, 0, x.shape[dim] // 2)
    return make_elementwise_like(half)
