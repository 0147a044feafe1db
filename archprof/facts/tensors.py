"""Tensors and storages: what the ops of a pass read and wrote, and where that lived.

The records made once per tensor are named tuples: a frozen dataclass costs five times as much to make.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

Role = Literal[
    "input",  # what the caller gave to the model
    "parameter",
    "buffer",
    "constant",  # a plain tensor that a module or its forward holds outside parameters and buffers
    "carried",  # what the pass before left in the model: the first of a run does not find it
    "activation",  # a result of an op in the forward pass: the only role that activation memory sums
    "auxiliary",  # beside the result and seen by nobody: indices of a max pool, statistics of a norm
    "gradient",  # of a parameter, after the backward pass
    "optimizer state",  # kept by the optimizer from step to step
    "temporary",  # made in the backward pass, gone before its end
    "workspace",  # lent to a kernel while it runs
    "gathered",  # a parameter that lies sharded, whole while it is used
    "communication",  # what is sent to or got from other devices
]

ITEM_BYTES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
    "complex128": 16, "complex64": 8, "complex32": 4,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1, "bool": 1,
    "qint32": 4, "qint8": 1, "quint8": 1,
}  # fmt: skip
"""Bytes of one element, by torch's name of the dtype. The spec of a tensor of any other dtype says it itself."""

DTYPES_SHOWN = ("float32", "float16", "bfloat16")
"""The dtypes for which activation memory is always given, side by side."""


class TensorSpec(NamedTuple):
    """The layout of a tensor: all that counting needs to know of it.

    Attributes:
        shape: length of each dimension.
        dtype: as torch names it, without "torch.".
        strides: elements from one index to the next, per dimension; `None` where they are the plain ones, of a tensor
            that lies row by row.
        item_bytes: bytes of one element; `None` where `ITEM_BYTES` knows the dtype.
    """

    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...] | None = None
    item_bytes: int | None = None

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.numel * (self.item_bytes or ITEM_BYTES[self.dtype])


class Tensor(NamedTuple):
    """One tensor that an op read or wrote; views of one another share a storage.

    Attributes:
        spec: its layout.
        storage: index into `Profile.storages`.
    """

    spec: TensorSpec
    storage: int


class Storage(NamedTuple):
    """One allocation and its life.

    Attributes:
        nbytes: its size.
        dtype: of the tensor that made it.
        role: what it is for.
        born: index of the op that made it; `None` when it was there before the pass.
        died: index of the op after which it was gone; `None` when it outlived the pass.
        saved: autograd kept it for the backward pass (only known in train mode).
        lasts: made in the pass, and held by a module behind it, so that the next pass finds it.
    """

    nbytes: int
    dtype: str
    role: Role
    born: int | None
    died: int | None
    saved: bool = False
    lasts: bool = False
