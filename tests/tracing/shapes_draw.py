"""Random tensors of every layout, drawn by hypothesis, for the tests of the shape rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from hypothesis import strategies as st

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
DTYPES = (*FLOATS, torch.int64, torch.int32, torch.uint8, torch.bool)
LAYOUTS = ("plain", "plain", "plain", "permuted", "channels last", "sliced", "permuted and sliced", "expanded", "odd")


class Draw:
    """Draws the parts of one call; every method consumes hypothesis's choices, so failures shrink."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw

    def pick(self, *options: Any) -> Any:
        return self._draw(st.sampled_from(options))

    def integer(self, low: int, high: int) -> int:
        return int(self._draw(st.integers(low, high)))

    def permutation(self, items: list[int]) -> list[int]:
        return list(self._draw(st.permutations(items)))

    def rarely(self) -> bool:
        """True about once in eight: for calls that are invalid or odd."""
        return self.integer(0, 7) == 7

    def shape(self, low: int = 0, high: int = 5) -> list[int]:
        return [self.pick(2, 3, 4, 5, 1) for _ in range(self.integer(low, high))]

    def part(self, shape: Sequence[int]) -> list[int]:
        """A shape that broadcasts to `shape`, or, rarely, one that does not."""
        kept = [1 if self.pick(False, False, True) else size for size in shape]
        if self.rarely():
            kept = [*kept[:-1], 7]
        return kept[self.integer(0, len(kept)) :] if self.pick(False, False, True) else kept

    def number(self) -> Any:
        return self.pick(2, 0.5, 1, 0, -1.5, 3.0, True)

    def dtype(self, *, floating: bool = False) -> torch.dtype:
        """Mostly float32; other dtypes too, and rarely one that most ops refuse."""
        if floating:
            return DTYPES[0] if self.pick(True, False) else self.pick(*FLOATS, *FLOATS, torch.int64)
        return self.pick(*DTYPES)

    def tensor(self, shape: Sequence[int], dtype: torch.dtype, layout: str | None = None) -> torch.Tensor:
        """A meta tensor of that shape, laid out in one of `LAYOUTS` unless one is given."""
        strides = self._strides(list(shape), layout or self.pick(*LAYOUTS))
        return torch.empty_strided(shape, strides, dtype=dtype, device="meta")

    def maybe(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor | None:
        """A contiguous tensor, or none; rarely one with an element too many."""
        kind = self.pick("tensor", "tensor", "none")
        sizes = [*shape[:-1], shape[-1] + 1] if shape and self.rarely() and self.rarely() else shape
        return None if kind == "none" else self.tensor(sizes, dtype, "plain")

    def _strides(self, shape: list[int], layout: str) -> list[int]:
        rank = len(shape)
        order = list(range(rank))
        if layout == "channels last" and rank >= 3:
            order = [0, *range(2, rank), 1]
        if layout.startswith("permuted"):
            order = self.permutation(order)
        around = list(shape)
        if layout.endswith("sliced") and rank:
            around[self.integer(0, rank - 1)] += self.integer(1, 2)
        strides = contiguous(around, order)
        if layout.endswith("sliced") and rank and self.rarely():
            strides[self.integer(0, rank - 1)] *= 2
        if layout == "expanded":
            strides = [0 if self.pick(False, True) else stride for stride in strides]
        if layout == "odd":
            strides = [self.pick(1, 3, 12) if size == 1 else s for size, s in zip(shape, strides, strict=True)]
        return strides


def contiguous(shape: Sequence[int], order: Sequence[int]) -> list[int]:
    strides, step = [1] * len(shape), 1
    for dim in reversed(order):
        strides[dim] = step
        step *= shape[dim]
    return strides
