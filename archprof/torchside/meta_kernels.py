"""Ops that torch takes apart on meta, and has a kernel for on the CPU and on CUDA: here they stay whole, too.

Of aten that is `mish_backward`, whose ten parts hold several times what the kernel does. `torch.library` refuses to
register a kernel on meta for such an op, so that what is behind it is asked. The kernel is there while a pass runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from archprof.torchside.private import open_op_library

_open: list[object] = []
"""The library of the outermost pass."""


@contextmanager
def whole_on_meta() -> Iterator[None]:
    """Where those ops are whole; passes take turns, or lie within one another."""
    if _open or open_op_library is None:
        yield
        return
    library = open_op_library("IMPL", "aten", "Meta", __file__, 1)
    _open.append(library)
    try:
        library.impl("mish_backward", "Meta", _answer_mish_backward)
        yield
    finally:
        _open.clear()
        library.reset()


def _answer_mish_backward(gradient: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Laid out as the result of any elementwise op of the two."""
    return gradient * x
