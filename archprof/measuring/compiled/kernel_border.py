"""Where compiled code says that a kernel begins: torch's compiler writes calls of `kernel_begins` for us."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

KernelListener = Callable[[int], None]
"""Given the number of the kernel that begins, or `GRAPH_END`."""

GRAPH_END = -1
"""What begins where a compiled graph ends."""


def _ignore(number: int) -> None:
    """Nobody listens."""


_listener: KernelListener = _ignore


def kernel_begins(number: int) -> None:
    """Called by compiled code."""
    _listener(number)


@contextmanager
def listening(listener: KernelListener) -> Iterator[None]:
    """Tell `listener` of every border that is passed inside, on whichever thread."""
    global _listener
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before
