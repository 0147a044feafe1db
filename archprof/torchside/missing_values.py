"""Which exceptions came up because a tensor on meta has no values, so that the same may succeed on real tensors.

Told by what raised them: an op that torch marks as depending on values, one that has no kernel on meta, an operator
from outside torch, or a function that hands values to Python. Not by what they say, which is torch's to reword.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

from archprof.torchside.private import OVERLOAD
from archprof.torchside.tensors import op_name

MARK = "_archprof_wants_values"

VALUE_TAGS = frozenset((torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape))
"""How torch marks ops whose result depends on values, or whose result's shape does."""

UNMARKED_OPS = frozenset(("aten._pack_padded_sequence", "aten._pin_memory", "aten.repeat_interleave", "aten.set_"))
"""Ops that need values, or memory, and do not say so by a tag."""

TORCH_NAMESPACES = frozenset(("aten", "prims", "prim"))
"""Whose ops raise on meta what they raise on real tensors, unless they need values."""

VALUE_FUNCTIONS = frozenset((torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__, torch.Tensor.__dlpack__))
"""Functions that hand values over to Python, before any op."""


class NeedsValues(RuntimeError):
    """The pass wants the value of a tensor that has none on meta."""


def mark_op_error(error: Exception, op: Any) -> None:
    """Note of an exception that `op` raised it over tensors on meta, where that may be for want of their values."""
    if _may_want_values(op):
        setattr(error, MARK, True)


def mark_function_error(error: Exception) -> None:
    """Note of an exception that a function raised it above all ops, over tensors on meta: it may not on real ones."""
    setattr(error, MARK, True)


def _may_want_values(op: Any) -> bool:
    if not isinstance(op, OVERLOAD) or op.namespace not in TORCH_NAMESPACES:
        return True  # nobody promised that it runs on meta
    return op_name(op) in UNMARKED_OPS or not VALUE_TAGS.isdisjoint(op.tags)


def was_raised_in(error: BaseException, function: Any) -> bool:
    """Whether `function` was the last one written in Python that an exception came up in."""
    trace, place = error.__traceback__, None
    while trace is not None:
        place, trace = trace.tb_frame.f_code, trace.tb_next
    return place is inspect.unwrap(function).__code__


def wants_values(error: BaseException | None) -> bool:
    """Whether an exception, or one that it came of, was for want of values."""
    while error is not None:
        if isinstance(error, NeedsValues | NotImplementedError) or hasattr(error, MARK):
            return True
        error = error.__cause__ or error.__context__
    return False
