"""The ops of a pass: what ran, in order, and what equal ones share."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, NamedTuple

from archprof.facts.tensors import TensorSpec

Phase = Literal["forward", "backward", "optimizer"]
Status = Literal["counted", "zero", "unknown"]

TENSOR_ARGUMENT = "<tensor>"
"""Stands in the place of each tensor among the arguments of a signature."""


class Window(NamedTuple):
    """The sliding window of a convolution or pooling op, one number per spatial dimension."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    transposed: bool = False


class Kept(NamedTuple):
    """What autograd keeps of an op until its backward: positions among its tensors in and its tensors out."""

    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()


class Signature(NamedTuple):
    """What ops have in common that do the same to tensors of the same layouts.

    Attributes:
        name: as torch writes it, with the overload: "aten.add.Tensor".
        args: the positional arguments, numbers, strings and tuples of them; `TENSOR_ARGUMENT` for each tensor.
        kwargs: name and value of each argument given by name, likewise.
        inputs, outputs: the layouts of the tensors that went in and came out.
        macs, flops: what it costs; `None` when unknown.
        bytes_read, bytes_written: of distinct tensors, unfused; 0 for a view.
        status: "counted", "zero" (moves or names data, no arithmetic) or "unknown".
        window: its geometry, where it has one.
        keeps: what autograd kept of it for the backward pass; `None` where nobody watched, as in a pass without one.
        workspace: bytes that its kernel borrows while it runs; `None` where that is not known.
    """

    name: str
    args: tuple[Any, ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    macs: int | None = 0
    flops: int | None = 0
    bytes_read: int = 0
    bytes_written: int = 0
    status: Status = "counted"
    window: Window | None = None
    keeps: Kept | None = None
    workspace: int | None = None


@cache
def drop_overload(name: str) -> str:
    """ "aten.add.Tensor" -> "aten.add"."""
    return ".".join(name.split(".")[:2])


class Op(NamedTuple):
    """One dispatched op.

    Attributes:
        signature: what it shares with every op that does the same.
        call: index into `Profile.calls` of the call it is charged to.
        phase: "forward"; "backward" (charged to the call whose forward made it); "optimizer".
        inputs, outputs: indices into `Profile.tensors`.
    """

    signature: Signature
    call: int
    phase: Phase
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def name(self) -> str:
        """Without the overload: "aten.convolution"."""
        return drop_overload(self.signature.name)

    @property
    def args(self) -> tuple[Any, ...]:
        return self.signature.args

    @property
    def macs(self) -> int | None:
        return self.signature.macs

    @property
    def flops(self) -> int | None:
        return self.signature.flops

    @property
    def bytes_moved(self) -> int:
        """Read and written together."""
        return self.signature.bytes_read + self.signature.bytes_written

    @property
    def status(self) -> Status:
        return self.signature.status

    @property
    def window(self) -> Window | None:
        return self.signature.window
