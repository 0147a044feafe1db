"""What a pass without values does where a model mixes tensors that have values with tensors that have none."""

from __future__ import annotations

from typing import Any

import torch

from archprof.sources.input_values import MAX_REAL_INPUT_ELEMENTS
from archprof.torchside.missing_values import NeedsValues
from archprof.torchside.tensors import META_DEVICE, op_name, tensors_in

Tensor = torch.Tensor

VALUE_MAKING_OPS = frozenset(
    f"aten.{name}"
    for name in "_to_copy arange zeros ones full scalar_tensor new_zeros new_ones new_full".split()
    + "rand randint randperm".split()
)
"""Ops whose result has values that do not depend on any that meta lacks."""


def make_with_values(func: Any, result: torch.Tensor, args: Any, kwargs: Any) -> torch.Tensor:
    """What `func` makes, with values where it made few elements on meta out of none that are there.

    Floating zeros stay without: they are what code fills with results, such as the states of a cache.
    """
    if result.is_floating_point() and op_name(func) in ("aten.zeros", "aten.new_zeros"):
        return result
    source = args[0] if args and isinstance(args[0], Tensor) and op_name(func) == "aten._to_copy" else None
    if not result.is_meta or result.numel() > MAX_REAL_INPUT_ELEMENTS or (source is not None and source.is_meta):
        return result
    made: torch.Tensor = func(*args, **{**kwargs, "device": torch.device("cpu")})
    return made


def keep_on_meta(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The keywords of a copy of a meta tensor, which has no values that could go to another device."""
    return {**kwargs, "device": META_DEVICE} if kwargs.get("device") is not None else kwargs


def promote_to_meta(name: str, args: Any, kwargs: Any, *, in_place: bool) -> tuple[Any, Any]:
    """The arguments with every real tensor replaced by a meta one of the same shape.

    Raises:
        NeedsValues: an op that writes to an argument, the first or `out`, would write to the one in its place; or the
            gradient of a real tensor, such as a weight that the forward makes, would have none.
    """
    if torch.is_grad_enabled() and any(one.requires_grad and not one.is_meta for one in tensors_in([args, kwargs])):
        raise NeedsValues(f"{name} reads a tensor without values (meta) and one that has values and wants a gradient")
    if in_place and not all(tensor.is_meta for tensor in tensors_in([args[0], kwargs.get("out")])):
        raise NeedsValues(f"{name} writes a tensor without values (meta) into one that has values")
    args = [to_meta(value) for value in args]
    return args, {key: to_meta(value) for key, value in kwargs.items()}


def to_meta(value: Any) -> Any:
    """An argument with a tensor on meta in the place of each that has values."""
    if isinstance(value, torch.Tensor):
        if value.is_meta:
            return value
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=META_DEVICE)
    if type(value) is list or type(value) is tuple:
        return [to_meta(item) for item in value]
    return value
