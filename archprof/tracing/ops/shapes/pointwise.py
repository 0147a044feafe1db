"""Elementwise ops of one tensor, forward and backward.

torch casts half precision to float32 first, some ops excepted, and computes some ops in several steps. Both show
in the strides of odd layouts, so each op stands in its group.
"""

from __future__ import annotations

from typing import Any

import torch

from archprof.tracing.ops.shapes.registry import (
    FLOATS,
    REALS,
    make_after_contiguous,
    make_elementwise,
    make_elementwise_like,
    make_stepwise,
    overload_names,
    shape_rule,
)
from archprof.tracing.ops.shapes.strides import overlaps_itself


@shape_rule(*overload_names("silu sigmoid round", "default"))
def _uncast(x: Any, **kwargs: Any) -> Any:
    return make_elementwise_like(x) if x.dtype in FLOATS and not kwargs else None


@shape_rule(
    *overload_names(
        "tanh leaky_relu mish exp exp2 log log2 log10 sqrt rsqrt neg sin cos tan atan erf erfc "
        "reciprocal log1p expm1 floor ceil trunc sign",
        "default",
    )
)
def _cast(x: Any, *numbers: Any, **kwargs: Any) -> Any:
    return make_elementwise(x.dtype, x.dtype, x) if x.dtype in FLOATS and not kwargs else None


@shape_rule(
    *overload_names(
        "abs relu gelu hardswish hardsigmoid elu softplus clamp_min clamp_max",
        "default",
    )
)
def _in_steps(x: Any, *numbers: Any, **kwargs: Any) -> Any:
    return make_stepwise(x.dtype, x) if x.dtype in FLOATS and _is_known_approximation(kwargs) else None


@shape_rule(
    *overload_names(
        "relu_ silu_ gelu_ sigmoid_ tanh_ hardswish_ hardsigmoid_ leaky_relu_ elu_ mish_ exp_ "
        "log_ sqrt_ rsqrt_ abs_ neg_ sin_ cos_ reciprocal_ floor_ ceil_ round_ clamp_min_ "
        "clamp_max_",
        "default",
    )
)
def _in_place(x: Any, *numbers: Any, **kwargs: Any) -> Any:
    usual = x.dtype in FLOATS and _is_known_approximation(kwargs) and not overlaps_itself(x.shape, x.stride())
    return x if usual else None


def _is_known_approximation(kwargs: Any) -> bool:
    """Whether the only keyword there is names an approximation that exists."""
    return not kwargs or kwargs.get("approximate") in ("none", "tanh")


@shape_rule("clamp.default")
def _clamp(x: Any, low: Any = None, high: Any = None) -> Any:
    usual = x.dtype in FLOATS and (low is not None or high is not None)
    return make_stepwise(x.dtype, x) if usual else None


@shape_rule("clamp_.default")
def _clamp_in_place(x: Any, low: Any = None, high: Any = None) -> Any:
    return None if low is None and high is None else _in_place(x)


@shape_rule("hardtanh.default")
def _hardtanh(x: Any, low: Any = -1, high: Any = 1) -> Any:
    return make_stepwise(x.dtype, x) if x.dtype in FLOATS and low <= high else None


@shape_rule("hardtanh_.default")
def _hardtanh_in_place(x: Any, low: Any = -1, high: Any = 1) -> Any:
    return _in_place(x) if low <= high else None


@shape_rule("isnan.default", "logical_not.default")
def _judged(x: Any) -> Any:
    return make_elementwise(torch.bool, x.dtype, x) if x.dtype in FLOATS else None


@shape_rule("bitwise_not.default")
def _bitwise_not(x: Any) -> Any:
    return make_elementwise_like(x) if x.dtype in REALS and x.dtype not in FLOATS else None


@shape_rule("add.Scalar", "sub.Scalar")
def _plus_number(x: Any, number: Any, *alpha: Any) -> Any:
    return make_elementwise_like(x) if x.dtype in FLOATS and type(number) in (int, float) and not alpha else None


@shape_rule("mul.Scalar", "div.Scalar", "rsub.Scalar")
def _times_number(x: Any, number: Any, *alpha: Any) -> Any:
    usual = x.dtype in FLOATS and type(number) in (int, float) and not alpha
    return make_elementwise(x.dtype, x.dtype, x) if usual else None


@shape_rule("pow.Tensor_Scalar")
def _power(x: Any, exponent: Any) -> Any:
    if x.dtype not in FLOATS or type(exponent) not in (int, float):
        return None
    return make_stepwise(x.dtype, x) if exponent == 1 else make_elementwise(x.dtype, x.dtype, x)


@shape_rule("pow.Scalar")
def _power_of_number(number: Any, exponent: Any) -> Any:
    usual = exponent.dtype in FLOATS and type(number) in (int, float)
    return make_stepwise(exponent.dtype, exponent) if usual else None


@shape_rule("pow_.Scalar")
def _with_number_in_place(x: Any, number: Any, *alpha: Any) -> Any:
    usual = x.dtype in FLOATS and type(number) in (int, float) and not overlaps_itself(x.shape, x.stride())
    return x if usual else None


@shape_rule(*overload_names("eq ne lt le gt ge", "Scalar"))
def _compared_with_number(x: Any, number: Any) -> Any:
    if x.dtype in FLOATS and type(number) in (int, float):
        return make_elementwise(torch.bool, x.dtype, x)
    return make_stepwise(torch.bool, x) if x.dtype in REALS and type(number) is int else None


@shape_rule(
    *overload_names(
        "threshold_backward gelu_backward hardswish_backward hardsigmoid_backward "
        "sigmoid_backward tanh_backward hardtanh_backward leaky_relu_backward softplus_backward",
        "default",
    )
)
def _backward(grad: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    return make_stepwise(x.dtype, grad, x) if grad.dtype == x.dtype and x.dtype in FLOATS else None


@shape_rule("elu_backward.default")
def _elu_backward(grad: Any, alpha: Any, scale: Any, input_scale: Any, is_result: bool, x: Any) -> Any:
    return _backward(grad, x)


@shape_rule("native_dropout.default")
def _dropout(x: Any, p: Any, train: Any) -> Any:
    if x.dtype not in FLOATS or not train or not 0 < p < 1:
        return None
    result = make_stepwise(x.dtype, x)
    return None if result is None else (result, make_stepwise(torch.bool, x))


@shape_rule("native_dropout_backward.default")
def _dropout_backward(grad: Any, mask: Any, scale: Any) -> Any:
    usual = grad.dtype in FLOATS and mask.dtype is torch.bool and grad.is_contiguous()
    return make_stepwise(grad.dtype, grad, mask) if usual else None


@shape_rule("_softmax.default", "_log_softmax.default")
def _softmax(x: Any, dim: int, half_to_float: bool) -> Any:
    usual = x.dtype in FLOATS and not half_to_float and -x.dim() <= dim < x.dim()
    return make_after_contiguous(x) if usual else None


@shape_rule("_safe_softmax.default")
def _safe_softmax(x: Any, dim: int, dtype: Any = None) -> Any:
    return _softmax(x, dim, False) if dtype in (None, x.dtype) else None


@shape_rule("_softmax_backward_data.default", "_log_softmax_backward_data.default")
def _softmax_backward(grad: Any, output: Any, dim: int, dtype: Any) -> Any:
    usual = dtype == grad.dtype and -grad.dim() <= dim < grad.dim() and grad.is_contiguous()
    return _backward(grad, output) if usual else None
