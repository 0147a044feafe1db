"""Memory on a GPU: the peaks that torch's allocator kept between two borders.

The allocator counts on the host, when memory is handed out, so no waiting is needed. Its peaks are set back at every
border, those of the user's process among them: they are counters, and nothing depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from archprof.facts.measured import MeasuredMemory
from archprof.facts.records import Layer
from archprof.measuring.allocations import inclusive
from archprof.measuring.boundaries import Mark
from archprof.measuring.protocols import WHOLE, Memory, Row
from archprof.units import show_quantity

NOTE = (
    "Measured memory is above what was there before the pass. At its peak torch had given out {peak}: {before} before "
    "the pass (weights, inputs, workspaces) and {by_pass} in it, of which {requested} had been asked for."
)


class Peaks(NamedTuple):
    """Bytes at most since the peaks were set back; `requested` is what was asked for before rounding to blocks."""

    allocated: int
    reserved: int
    requested: int


class Allocator(NamedTuple):
    """What is used of torch's caching allocator."""

    peaks: Callable[[], Peaks]
    reset: Callable[[], None]


class PeakClock:
    """Marks are numbers; `stretches[n]` holds the peaks between the marks n and n + 1."""

    def __init__(self, allocator: Allocator) -> None:
        self._allocator = allocator
        self.stretches: list[Peaks] = []
        self._count = 0

    def mark(self) -> int:
        if self._count:
            self.stretches.append(self._allocator.peaks())
        self._allocator.reset()
        self._count += 1
        return self._count - 1


def own_peaks(marks: Sequence[Mark], stretches: Sequence[Peaks]) -> dict[Row | None, Peaks]:
    """The highest peaks in the stretches of each row."""
    own: dict[Row | None, Peaks] = {}
    for mark, peaks in zip(marks, stretches, strict=False):  # after the last mark there is no stretch
        own[mark.row] = Peaks(*map(max, own.get(mark.row, peaks), peaks))
    return own


def measured(layers: Sequence[Layer], own: Mapping[Row | None, Peaks], whole: Peaks, before: Peaks) -> Memory:
    """The records, in bytes above what was there before the pass: a call's are its own and those of calls inside it."""
    allocated = inclusive(layers, {row: peaks.allocated - before.allocated for row, peaks in own.items()})
    reserved = inclusive(layers, {row: peaks.reserved - before.reserved for row, peaks in own.items()})
    note = NOTE.format(
        peak=show_quantity(whole.allocated, "bytes"),
        before=show_quantity(before.allocated, "bytes"),
        by_pass=show_quantity(whole.allocated - before.allocated, "bytes"),
        requested=show_quantity(whole.requested - before.requested, "bytes"),
    )
    return Memory(
        tuple(row._replace(reserved_peak=held.allocated_peak) for row, held in zip(allocated, reserved, strict=True)),
        MeasuredMemory(*WHOLE, whole.allocated - before.allocated, whole.reserved - before.reserved),
        (note,),
    )
