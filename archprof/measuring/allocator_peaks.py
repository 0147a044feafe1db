"""Memory on a GPU: the peaks that torch's allocator kept between two borders.

The allocator counts on the host, when memory is handed out, so no waiting is needed. Its peaks are set back at every
border, those of the user's process among them: they are counters, and nothing depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from archprof.facts.measured import MeasuredMemory
from archprof.facts.overlays import Outside
from archprof.facts.records import Layer
from archprof.measuring.allocations import compute_inclusive_peaks
from archprof.measuring.boundaries import Mark
from archprof.measuring.protocols import PassMemory, RowKey
from archprof.units import show_quantity

GPU_MEMORY_NOTE = (
    "Measured memory is above what was there before the pass. At its peak torch had given out {peak}: {before} before "
    "the pass (weights, inputs, workspaces) and {by_pass} in it, of which {requested} had been asked for."
)


class AllocatorPeaks(NamedTuple):
    """Bytes at most since the peaks were set back; `requested` is what was asked for before rounding to blocks."""

    allocated: int
    reserved: int
    requested: int


class PeakCounters(NamedTuple):
    """What is used of torch's caching allocator."""

    read_peaks: Callable[[], AllocatorPeaks]
    reset_peaks: Callable[[], None]


class PeakMarker:
    """Marks are numbers; `stretches[n]` holds the peaks between the marks n and n + 1."""

    def __init__(self, allocator: PeakCounters) -> None:
        self._allocator = allocator
        self.stretches: list[AllocatorPeaks] = []
        self._count = 0

    def mark(self) -> int:
        if self._count:
            self.stretches.append(self._allocator.read_peaks())
        self._allocator.reset_peaks()
        self._count += 1
        return self._count - 1


def find_own_peaks(marks: Sequence[Mark], stretches: Sequence[AllocatorPeaks]) -> dict[RowKey | None, AllocatorPeaks]:
    """The highest peaks in the stretches of each row."""
    own: dict[RowKey | None, AllocatorPeaks] = {}
    for mark, peaks in zip(marks, stretches, strict=False):  # after the last mark there is no stretch
        own[mark.row] = AllocatorPeaks(*map(max, own.get(mark.row, peaks), peaks))
    return own


def build_memory(
    layers: Sequence[Layer], own: Mapping[RowKey | None, AllocatorPeaks], whole: AllocatorPeaks, before: AllocatorPeaks
) -> PassMemory:
    """The records, in bytes above what was there before the pass: a call's are its own and those of calls inside it."""
    allocated = compute_inclusive_peaks(layers, {row: peaks.allocated - before.allocated for row, peaks in own.items()})
    reserved = compute_inclusive_peaks(layers, {row: peaks.reserved - before.reserved for row, peaks in own.items()})
    note = GPU_MEMORY_NOTE.format(
        peak=show_quantity(whole.allocated, "bytes"),
        before=show_quantity(before.allocated, "bytes"),
        by_pass=show_quantity(whole.allocated - before.allocated, "bytes"),
        requested=show_quantity(whole.requested - before.requested, "bytes"),
    )
    return PassMemory(
        tuple(row._replace(reserved_peak=held.allocated_peak) for row, held in zip(allocated, reserved, strict=True)),
        MeasuredMemory(Outside.WHOLE, whole.allocated - before.allocated, whole.reserved - before.reserved),
        (note,),
    )
