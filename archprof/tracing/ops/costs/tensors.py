"""What a rule asks of a tensor: how many elements, and whether arithmetic on them is floating-point."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def numel(tensor: Tensor) -> int:
    """Elements, from the shape alone."""
    return prod(tensor.shape)


def has_floating_dtype(tensor: Tensor) -> bool:
    """Whether its elements are real or complex floating-point numbers."""
    return tensor.dtype.is_floating_point or tensor.dtype.is_complex


def is_arithmetic(result: Tensor, operands: Sequence[Any]) -> bool:
    """Whether an op's result, or an operand of it, is floating-point; integer and bool arithmetic is no FLOP."""
    return has_floating_dtype(result) or any(
        has_floating_dtype(operand) for operand in operands if hasattr(operand, "dtype")
    )


def first_tensor(result: Any) -> Tensor:
    """The main result of an op that may return several tensors."""
    tensor: Tensor = result[0] if isinstance(result, (tuple, list)) else result
    return tensor


def spread_over_dims(values: int | Sequence[int], dims: int) -> tuple[int, ...]:
    """One number per spatial dimension, where torch lets one number stand for all."""
    numbers = (values,) if isinstance(values, int) else tuple(values)
    return numbers * dims if len(numbers) == 1 else numbers


def take_argument(args: Sequence[Any], place: int | None, otherwise: Any) -> Any:
    """The argument at a place; `otherwise` where the op has none there, or it was left out."""
    return args[place] if place is not None and place < len(args) else otherwise
