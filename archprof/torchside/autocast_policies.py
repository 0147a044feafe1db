"""What autocast does to a call of an op, for each policy of `autocast_lists`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

from archprof.torchside.private import argument_names
from archprof.torchside.tensors import tensors_in

Tensor = torch.Tensor
aten: Any = torch.ops.aten


class Casts(Protocol):
    """Autocast while it acts."""

    @property
    def dtype(self) -> torch.dtype:
        """That it casts to."""

    def is_eligible(self, tensor: Tensor) -> bool: ...

    def cast(self, tensor: Tensor, dtype: torch.dtype) -> Tensor: ...


Run = Callable[[Any, Casts, tuple[Any, ...], dict[str, Any]], Any]
"""Calls an op, given autocast and the call's arguments."""


def cast_arguments(casts: Casts, dtype: torch.dtype, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments with their floating tensors in a dtype, cast from the last to the first, as torch's build does."""
    named = {name: _cast_tree(casts, dtype, value) for name, value in reversed(kwargs.items())}
    made = [_cast_tree(casts, dtype, value) for value in reversed(args)]
    return tuple(reversed(made)), dict(reversed(named.items()))


def _cast_tree(casts: Casts, dtype: torch.dtype, value: Any) -> Any:
    if isinstance(value, Tensor):
        return casts.cast(value, dtype)
    if isinstance(value, list | tuple) and any(isinstance(item, Tensor) for item in value):
        return [_cast_tree(casts, dtype, item) for item in value]
    return value


def _run_lower(op: Any, casts: Casts, args: Any, kwargs: dict[str, Any]) -> Any:
    args, kwargs = cast_arguments(casts, casts.dtype, args, kwargs)
    return op(*args, **kwargs)


def _run_in_float32(op: Any, casts: Casts, args: Any, kwargs: dict[str, Any]) -> Any:
    args, kwargs = cast_arguments(casts, torch.float32, args, kwargs)
    return op(*args, **kwargs)


def _run_widest(op: Any, casts: Casts, args: Any, kwargs: dict[str, Any]) -> Any:
    found = {tensor.dtype for tensor in tensors_in([args, kwargs]) if casts.is_eligible(tensor)}
    if not found <= {casts.dtype, torch.float32}:
        raise RuntimeError("Unexpected floating ScalarType in at::autocast::prioritize")  # torch's own words
    widest = torch.float32 if torch.float32 in found else casts.dtype
    args, kwargs = cast_arguments(casts, widest, args, kwargs)
    return op(*args, **kwargs)


def _run_for_float32_result(op: Any, casts: Casts, args: Any, kwargs: dict[str, Any]) -> Any:
    if not casts.is_eligible(args[0]):
        return op(*args, **kwargs)
    place = argument_names(op).index("dtype")
    named = args[place] if place < len(args) else kwargs.get("dtype")
    half = HALF_TO_FLOAT.get(str(op))
    if half is not None and args[0].dtype == torch.float16 and named in (None, torch.float32):
        # One kernel of CUDA reads float16 and writes float32.
        return getattr(aten, half).default(args[0], args[1], True)
    if place < len(args):
        return op(*args[:place], named or torch.float32, *args[place + 1 :], **kwargs)
    return op(*args, **{**kwargs, "dtype": named or torch.float32})


HALF_TO_FLOAT = {"aten.softmax.int": "_softmax", "aten.log_softmax.int": "_log_softmax"}


def _run_norm(op: Any, casts: Casts, args: Any, kwargs: dict[str, Any]) -> Any:
    dtype = torch.float32 if casts.is_eligible(args[0]) else args[0].dtype
    if len(argument_names(op)) == 2:  # norm.Scalar: a tensor and p
        return aten.norm.ScalarOpt_dtype(args[0], *(args[1:] or (2,)), dtype=dtype)
    keepdim = args[3] if len(args) > 3 else kwargs.get("keepdim", False)
    return aten.norm.ScalarOpt_dim_dtype(args[0], args[1], args[2], keepdim, dtype=dtype)


def _refuse(op: Any, casts: Casts, args: Any, kwargs: dict[str, Any]) -> Any:
    raise RuntimeError(
        "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast: "
        "binary_cross_entropy_with_logits is not."
    )


POLICIES: dict[str, Run] = {
    "lower": _run_lower,
    "float32": _run_in_float32,
    "float32_result": _run_for_float32_result,
    "norm_in_float32": _run_norm,
    "widest": _run_widest,
    "banned": _refuse,
}
