"""Rules by overload, and the few ways in which a rule makes its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from archprof.torchside.tensors import META_DEVICE
from archprof.tracing.ops.shapes.strides import find_elementwise_layout, find_stable_layout, strides_of_copy

FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
HALVES = frozenset({torch.float16, torch.bfloat16})
"""The dtypes that torch computes in float32."""
INTEGERS = frozenset({torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})
REALS = FLOATS | INTEGERS | {torch.bool}
"""The dtypes that rules answer for; torch answers for the others."""

ShapeRule = Callable[..., Any]

_rules: dict[str, ShapeRule] = {}


def find_shape_rule(func: Any) -> ShapeRule | None:
    """The rule for an overload of an aten op, as the dispatcher passes it; `None` when torch must answer."""
    if func is None or func.namespace != "aten":
        return None
    return _rules.get(func.__name__)


def shape_rule(*names: str) -> Callable[[ShapeRule], ShapeRule]:
    """Register the decorated function for overloads such as "relu.default".

    Raises:
        ValueError: an overload has a rule already.
    """

    def register(function: ShapeRule) -> ShapeRule:
        for name in names:
            if name in _rules:
                raise ValueError(f"{name} has a rule already")
            _rules[name] = function
        return function

    return register


def overload_names(names: str, overload: str) -> list[str]:
    """Overloads of several ops: "relu gelu", "default" -> ["relu.default", "gelu.default"]."""
    return [f"{name}.{overload}" for name in names.split()]


def list_covered_overloads() -> tuple[str, ...]:
    """The overloads that have a rule."""
    return tuple(_rules)


def make_contiguous(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """A contiguous meta tensor."""
    return torch.empty(shape, dtype=dtype, device=META_DEVICE)


def make_cut_from(x: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """A contiguous meta tensor in a storage that was made for a contiguous `x`, or for itself where it is larger."""
    return make_contiguous(x.shape, x.dtype).resize_(shape)


def make_strided(shape: Sequence[int], strides: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """A meta tensor with these strides."""
    return torch.empty_strided(shape, strides, dtype=dtype, device=META_DEVICE)


def make_elementwise_like(tensor: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor | None:
    """The result of an elementwise op of one operand, computed in its own dtype."""
    layout = find_elementwise_layout((tensor.shape, tensor.stride()))
    return None if layout is None else make_strided(*layout, dtype or tensor.dtype)


def make_elementwise(dtype: torch.dtype, computed: torch.dtype, *operands: torch.Tensor) -> torch.Tensor | None:
    """The result, in `dtype`, of an elementwise op that first casts its operands to `computed`."""
    wide = torch.float32 if computed in HALVES else computed
    layout = find_elementwise_layout(
        *[
            (x.shape, x.stride() if x.dtype is wide else strides_of_copy(x.shape, x.stride()))
            for x in operands
        ]
    )  # fmt: skip
    return None if layout is None else make_strided(*layout, dtype)


def make_stepwise(dtype: torch.dtype, *operands: torch.Tensor) -> torch.Tensor | None:
    """The result, in `dtype`, of an elementwise op that torch computes in several steps.

    Each step may lay out its result anew, so only layouts are answered that every step keeps: all operands are
    contiguous to the last stride, or all are the same permutation without a dimension of size 1.
    """
    layouts = [(x.shape, x.stride()) for x in operands]
    layout = find_stable_layout(*layouts)
    return None if layout is None else make_strided(*layout, dtype)


def make_after_contiguous(x: torch.Tensor) -> torch.Tensor | None:
    """The result of an op that first makes its operand contiguous, and may then compute in several steps."""
    if 0 in x.shape:
        return None
    return make_stepwise(x.dtype, x) if x.is_contiguous() else make_contiguous(x.shape, x.dtype)
