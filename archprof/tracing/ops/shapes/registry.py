"""Rules by overload, and the few ways in which a rule makes its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from archprof.torchside.tensors import META
from archprof.tracing.ops.shapes.strides import copied, joint, settled

FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
HALVES = frozenset({torch.float16, torch.bfloat16})
"""The dtypes that torch computes in float32."""
INTEGERS = frozenset({torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})
REALS = FLOATS | INTEGERS | {torch.bool}
"""The dtypes that rules answer for; torch answers for the others."""

Rule = Callable[..., Any]

_rules: dict[str, Rule] = {}


def find(func: Any) -> Rule | None:
    """The rule for an overload of an aten op, as the dispatcher passes it; `None` when torch must answer."""
    if func is None or func.namespace != "aten":
        return None
    return _rules.get(func.__name__)


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register the decorated function for overloads such as "relu.default".

    Raises:
        ValueError: an overload has a rule already.
    """

    def register(function: Rule) -> Rule:
        for name in names:
            if name in _rules:
                raise ValueError(f"{name} has a rule already")
            _rules[name] = function
        return function

    return register


def named(names: str, overload: str) -> list[str]:
    """Overloads of several ops: "relu gelu", "default" -> ["relu.default", "gelu.default"]."""
    return [f"{name}.{overload}" for name in names.split()]


def covered() -> tuple[str, ...]:
    """The overloads that have a rule."""
    return tuple(_rules)


def empty(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """A contiguous meta tensor."""
    return torch.empty(shape, dtype=dtype, device=META)


def strided(shape: Sequence[int], strides: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """A meta tensor with these strides."""
    return torch.empty_strided(shape, strides, dtype=dtype, device=META)


def like(tensor: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor | None:
    """The result of an elementwise op of one operand, computed in its own dtype."""
    layout = joint((tensor.shape, tensor.stride()))
    return None if layout is None else strided(*layout, dtype or tensor.dtype)


def elementwise(dtype: torch.dtype, computed: torch.dtype, *operands: torch.Tensor) -> torch.Tensor | None:
    """The result, in `dtype`, of an elementwise op that first casts its operands to `computed`."""
    wide = torch.float32 if computed in HALVES else computed
    layout = joint(
        *[
            (x.shape, x.stride() if x.dtype is wide else copied(x.shape, x.stride()))
            for x in operands
        ]
    )  # fmt: skip
    return None if layout is None else strided(*layout, dtype)


def steps(dtype: torch.dtype, *operands: torch.Tensor) -> torch.Tensor | None:
    """The result, in `dtype`, of an elementwise op that torch computes in several steps.

    Each step may lay out its result anew, so only layouts are answered that every step keeps: all operands are
    contiguous to the last stride, or all are the same permutation without a dimension of size 1.
    """
    layouts = [(x.shape, x.stride()) for x in operands]
    layout = settled(*layouts)
    return None if layout is None else strided(*layout, dtype)


def made_contiguous(x: torch.Tensor) -> torch.Tensor | None:
    """The result of an op that first makes its operand contiguous, and may then compute in several steps."""
    if 0 in x.shape:
        return None
    return steps(x.dtype, x) if x.is_contiguous() else empty(x.shape, x.dtype)
