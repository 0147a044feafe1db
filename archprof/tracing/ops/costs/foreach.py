"""Ops of optimizers that do to each tensor of a list what others do to one: 1 FLOP per element of the first list."""

from __future__ import annotations

from typing import Any

from archprof.tracing.ops.costs.registry import OpCost, aten_names, cost_rule, costs_nothing

LIST_OPS = """
    add sub mul div pow reciprocal neg abs sign addcmul addcdiv lerp maximum minimum clamp_min clamp_max ceil floor
    round trunc frac sqrt rsqrt exp expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh erf erfc
    lgamma sigmoid
    """


@cost_rule(*(f"aten._foreach_{name}" for name in LIST_OPS.split()))
def count_list(result: Any, *args: Any, **_: Any) -> OpCost:
    tensors = next(each for each in args if isinstance(each, list | tuple))  # a number may stand before it
    return OpCost(0, sum([tensor.numel() for tensor in tensors]))


cost_rule(*aten_names("_foreach_copy _foreach_zero"))(costs_nothing)
