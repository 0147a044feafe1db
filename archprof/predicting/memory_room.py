"""The least memory in which the steps of a run go through.

It is less than what they reserve where there is plenty: short of memory, the allocator first gives back the segments
that it keeps unused, and convolutions run with kernels that borrow nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from archprof.predicting.allocator import Allocator, OutOfMemory
from archprof.predicting.allocator_blocks import AllocatorSettings, Block
from archprof.predicting.memory_events import Change

PRECISION = 0.005
"""How near to the least room the answer is, as a share of it."""


def find_least_room(changes: Iterable[Change], live: int, reserved: int, asked: int | None = None) -> int:
    """The bytes, between the most that tensors hold and what is reserved where there is plenty.

    Less may do where more does not, since segments then end elsewhere. So of the room that is `asked` it is looked
    whether a run goes through in it: the answer is no more than that where it does, and more where it does not.
    """
    changes = tuple(changes)
    low, high = live - 1, reserved
    if asked is not None and low < asked < high:
        low, high = (low, asked) if goes_through(changes, asked) else (asked, high)
    while high - low > high * PRECISION:
        middle = (low + high) // 2
        low, high = (low, middle) if goes_through(changes, middle) else (middle, high)
    return high


def goes_through(changes: Sequence[Change], capacity: int) -> bool:
    """Whether the allocator serves all of it from so many bytes."""
    allocator = Allocator(AllocatorSettings(capacity=capacity))
    blocks: dict[int, Block] = {}
    for change in changes:
        if change.nbytes is not None:
            try:
                blocks[change.block] = allocator.allocate(change.nbytes)
            except OutOfMemory:
                if not change.is_spared:
                    return False
        elif change.block in blocks:
            allocator.free(blocks.pop(change.block))
    return True
