"""The largest batch of which one pass fits, and where larger ones would be of no use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

MAX_BATCH = 2**20
"""No search goes beyond this batch: a model for which a million fit has no work worth a batch."""

LEAST_PASSES = 6
"""That a measurement takes: the first, each of two samplers once to warm up and once in a round, one for memory."""

TRIES = 4
"""Passes that must all be slow before a batch is."""


def search_largest_batch(fits: Callable[[int], bool]) -> int | None:
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


@dataclass
class CountedSearch:
    """What is known of the batches that were tried on a device where counted bytes say what fits.

    Attributes:
        seconds: that measuring should take.
        peaks: live bytes by the batches that were traced. What they say does not fit is not traced: where the trace
            needs values, it takes as much memory as a pass.
        slow_after: the batch after which a measurement would take longer than that; `None` while there is none.
    """

    seconds: float
    peaks: dict[int, int] = field(default_factory=dict)
    slow_after: int | None = None

    def extrapolate(self, batch: int) -> int:
        """The least bytes that a larger batch takes by the two largest that were counted; 0 while there are fewer.

        A peak is the largest of sums that grow evenly with the batch, so that it never grows slower than before.
        """
        if len(self.peaks) < 2:
            return 0
        small, large = sorted(self.peaks)[-2:]
        return self.peaks[large] + (self.peaks[large] - self.peaks[small]) * (batch - large) // (large - small)

    def note_pass(self, batch: int, run: Callable[[], float]) -> None:
        """Look how long a pass takes. `run` gives its seconds; the least of a few counts, for a first pass also
        prepares, and other programs run."""
        limit = self.seconds / LEAST_PASSES
        if all(2 * run() > limit for _ in range(TRIES)):
            self.slow_after = batch

    def is_slow(self, batch: int) -> bool:
        """Whether measuring it is known to take longer."""
        return self.slow_after is not None and batch > self.slow_after

    def list_notes(self) -> tuple[str, ...]:
        """What the reader must know of the batch that was found."""
        if self.slow_after is None:
            return ()
        return (
            f"Batches above {self.slow_after} may fit as well. They were not tried: measuring one would take longer "
            f"than {self.seconds:g} s.",
        )
