"""One input tensor, before it is made."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from archprof.facts.records import ITEM_BYTES

INPUT_DTYPES = tuple(name for name in ITEM_BYTES if not name.startswith(("q", "float8", "complex32")))
"""Dtypes that an input may have, by torch's name."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input tensor; `str()` prints it in the grammar of `--input`.

    Attributes:
        shape: its sizes, without the batch dimension if `batched`.
        dtype: torch's name of it; `None` = the floating dtype of the pass.
        high: values are drawn from low <= value < high; `None`: floats are normal, all else is zero.
        batched: the batch dimension is put in front of `shape`.
        low: the smallest value drawn.
        values: a tensor of this shape whose values are used instead, in the dtype of this; `None`: they are drawn.
        source: the file that they are from.
    """

    shape: tuple[int, ...]
    dtype: str | None = None
    high: float | None = None
    batched: bool = False
    low: float = 0
    values: Any = field(default=None, compare=False, repr=False)
    source: str | None = None

    def __str__(self) -> str:
        real = self.high is not None and (self.dtype is None or is_floating_dtype(self.dtype))
        span = f">={_show_bound(self.low)}" if self.low or real else ""
        span += "" if self.high is None else f"<{_show_bound(self.high)}"
        span += f"@{self.source}" if self.source else ""
        if self.batched:
            dtype = f"{self.dtype}:" if self.dtype else ""
            return f"{dtype}{'x'.join(map(str, self.shape))}{span}"
        return f"{self.dtype or ''}[{','.join(map(str, self.shape))}]{span}"

    def full_shape(self, batch: int) -> tuple[int, ...]:
        """The shape of the tensor that goes in."""
        return (batch, *self.shape) if self.batched else self.shape

    def resize(self, shape: tuple[int, ...]) -> InputSpec:
        """The same input of another shape, for which no values were given."""
        return replace(self, shape=shape, values=None, source=None)


def _show_bound(bound: float) -> str:
    return repr(bound).removesuffix(".0")


def is_floating_dtype(dtype: str) -> bool:
    """Whether a dtype, by torch's name of it, is for reals or complex numbers."""
    return dtype.startswith(("float", "bfloat", "complex"))
