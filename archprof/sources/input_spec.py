"""One input tensor, before it is made."""

from __future__ import annotations

from dataclasses import dataclass

from archprof.facts.records import ITEM_BYTES

INPUT_DTYPES = tuple(name for name in ITEM_BYTES if not name.startswith(("q", "float8", "complex32")))
"""Dtypes that an input may have, by torch's name."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input tensor; `str()` prints it in the grammar of `--input`.

    Attributes:
        shape: its sizes, without the batch dimension if `batched`.
        dtype: torch's name of it; `None` = the floating dtype of the pass.
        high: integer values are drawn from low <= value < high; `None`: floats are normal, all else is zero.
        batched: the batch dimension is put in front of `shape`.
        low: the smallest integer drawn.
    """

    shape: tuple[int, ...]
    dtype: str | None = None
    high: int | None = None
    batched: bool = False
    low: int = 0

    def __str__(self) -> str:
        span = f">={self.low}" if self.low else ""
        span += "" if self.high is None else f"<{self.high}"
        if self.batched:
            dtype = f"{self.dtype}:" if self.dtype else ""
            return f"{dtype}{'x'.join(map(str, self.shape))}{span}"
        return f"{self.dtype or ''}[{','.join(map(str, self.shape))}]{span}"

    def full_shape(self, batch: int) -> tuple[int, ...]:
        """The shape of the tensor that goes in."""
        return (batch, *self.shape) if self.batched else self.shape


def is_floating_dtype(dtype: str) -> bool:
    """Whether a dtype, by torch's name of it, is for reals or complex numbers."""
    return dtype.startswith(("float", "bfloat", "complex"))
