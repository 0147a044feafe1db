"""The largest batch that fits."""

from __future__ import annotations

from collections.abc import Callable

MAX_BATCH = 2**20
"""No search goes beyond this batch: a model for which a million fit has no work worth a batch."""


def find_largest_batch(fits: Callable[[int], bool]) -> int | None:
    """Double the batch until it does not fit, then halve the gap; `None` when not even one sample fits."""
    if not fits(1):
        return None
    low, high = 1, 2
    while high <= MAX_BATCH and fits(high):
        low, high = high, 2 * high
    if low == MAX_BATCH:
        return MAX_BATCH
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
