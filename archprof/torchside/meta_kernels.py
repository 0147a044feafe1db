"""Ops that torch takes apart on meta, and has a kernel for on the CPU and on CUDA: here they stay whole, too.

Of aten that is `mish_backward`, whose ten parts hold several times what the kernel does. `torch.library` refuses to
register a kernel on meta for such an op, so that what is behind it is asked. The kernel is there while a pass runs in
which there may be gradients: to register it takes as long as a layer does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from archprof.torchside.private import open_op_library

_open: list[Any] = []
"""The library that holds the kernels, while they are there."""


@contextmanager
def forget_kernels() -> Iterator[None]:
    """At the end the kernels that were registered inside are gone; passes take turns, or lie within one another."""
    before = len(_open)
    try:
        yield
    finally:
        while len(_open) > before:
            _open.pop().reset()


def keep_ops_whole() -> None:
    """From here on those ops are whole, to the end of the outermost `forget_kernels` that finds them apart."""
    if not _open and open_op_library is not None:
        _open.append(open_op_library("IMPL", "aten", "Meta", __file__, 1))
        _open[0].impl("mish_backward", "Meta", _answer_mish_backward)


def _answer_mish_backward(gradient: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Laid out as the result of any elementwise op of the two."""
    return gradient * x
