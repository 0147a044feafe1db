"""One input tensor, and the grammar of `--input`.

    input = [name "="] [dtype [":"]] shape ["<" high]
    shape = size {"x" size}            without its batch dimension, which is put in front
          | "[" [size {"," size}] "]"  exact

`3x224x224` is one image, `[2,128]` exactly two rows of 128, `int64[1,128]<30522` token ids below
30522, `mask=bool:128` a keyword argument with the batch in front. No dtype: the floating dtype of the pass.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch

from archprof.errors import UsageError
from archprof.records import ITEM_BYTES

DTYPES = tuple(name for name in ITEM_BYTES if not name.startswith(("q", "float8", "complex32")))
"""Dtypes that an input may have, by torch's name."""

LARGEST = 2**48
"""Elements that an input may have at most; above it is a slip of the hand."""

EXAMPLES = "Examples: 3x224x224 (the batch goes in front), [2,128] (exact), int64[1,128]<30522, mask=bool[1,128]."


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input tensor; `str()` prints it in the grammar of `--input`.

    Attributes:
        shape: its sizes, without the batch dimension if `batched`.
        dtype: torch's name of it; `None` = the floating dtype of the pass.
        high: integer values are drawn from 0 <= value < high; `None`: floats are normal, all else is zero.
        name: the keyword argument that it is; `None` = positional.
        batched: the batch dimension is put in front of `shape`.
    """

    shape: tuple[int, ...]
    dtype: str | None = None
    high: int | None = None
    name: str | None = None
    batched: bool = False

    def __str__(self) -> str:
        name = f"{self.name}=" if self.name else ""
        below = "" if self.high is None else f"<{self.high}"
        if self.batched:
            dtype = f"{self.dtype}:" if self.dtype else ""
            return f"{name}{dtype}{'x'.join(map(str, self.shape))}{below}"
        return f"{name}{self.dtype or ''}[{','.join(map(str, self.shape))}]{below}"

    def full_shape(self, batch: int) -> tuple[int, ...]:
        """The shape of the tensor that goes in."""
        return (batch, *self.shape) if self.batched else self.shape


def parse_input(text: str) -> InputSpec:
    """Read one `--input`; `UsageError` points at the character where it breaks."""
    return _Reader(text).input()


class _Reader:
    """Reads one input from left to right."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def input(self) -> InputSpec:
        name = self.take(r"[A-Za-z_]\w*(?=\s*=)")
        if name:
            self.take("=")
        dtype = self.dtype()
        batched = not self.take(r"\[")
        shape = self.sizes("x") if batched else self.exact()
        if math.prod(shape) > LARGEST:
            raise self.error(f"{math.prod(shape):,} elements are more than any tensor holds")
        high = self.high(dtype) if self.take("<") else None
        self.take(r"\s*")
        if self.at < len(self.text):
            raise self.error("the input should end here")
        return InputSpec(shape, dtype, high, name, batched)

    def dtype(self) -> str | None:
        start = self.at
        dtype = self.take(r"[A-Za-z_]\w*")
        if dtype and dtype not in DTYPES:
            self.at = start
            raise self.error("a size or a dtype was expected here", f"Dtypes: {', '.join(DTYPES)}.")
        if dtype:
            self.take(":")
        return dtype

    def exact(self) -> tuple[int, ...]:
        if self.take(r"\]"):
            return ()
        shape = self.sizes(",")
        if not self.take(r"\]"):
            raise self.error("',' or ']' was expected here")
        return shape

    def sizes(self, separator: str) -> tuple[int, ...]:
        shape = [self.size()]
        while self.take(separator):
            shape.append(self.size())
        return tuple(shape)

    def size(self) -> int:
        size = self.take(r"0*[1-9][0-9]{0,14}(?![0-9])")
        if size is None:
            raise self.error("a whole number of 1 or more was expected here")
        return int(size)

    def high(self, dtype: str | None) -> int:
        start = self.at
        high = self.size()
        if dtype is None or is_floating(dtype):
            self.at = start
            raise self.error("only integers have a range", "Put an integer dtype in front: int64[1,128]<30522.")
        most = 2 if dtype == "bool" else torch.iinfo(getattr(torch, dtype)).max + 1
        if high > most:
            self.at = start
            raise self.error(f"{dtype} holds values below {most}")
        return high

    def take(self, pattern: str) -> str | None:
        """What `pattern` matches here, spaces around it skipped; `None` if it does not."""
        match = re.compile(rf"\s*({pattern})\s*", re.ASCII).match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        return match[1]

    def error(self, what: str, allowed: str = "") -> UsageError:
        pointer = " " * (2 + self.at) + "^"
        given = f"This input cannot be read:\n  {self.text}\n{pointer} {what}"
        return UsageError(given, allowed, EXAMPLES)


def is_floating(dtype: str) -> bool:
    """Whether a dtype, by torch's name of it, is for reals or complex numbers."""
    return dtype.startswith(("float", "bfloat", "complex"))
