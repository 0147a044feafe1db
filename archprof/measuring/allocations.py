"""What torch's CPU allocator gave out while each row ran, as its profiler saw it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from archprof.facts.measured import MeasuredMemory
from archprof.facts.overlays import Outside
from archprof.facts.records import Layer, Profile
from archprof.measuring.boundaries import MARK_PREFIX, Mark, MarkTrail, ModuleMarking, RangeMarker
from archprof.measuring.live_model import LiveModel
from archprof.measuring.protocols import PassMemory, RowKey
from archprof.torchside.private import MissingName, is_profiling, start_allocation_profiler

ALLOCATOR_NOTE = (
    "Measured memory is what torch's allocator gave out; what oneDNN and MKL take for themselves is not in it."
)

MEMORY_BUSY_NOTE = "Memory was not measured: another profiler was running."

ByteChanges = Mapping[int, Sequence[int]]
"""Bytes allocated (freed, if negative), in order, by the handle of the mark after which it happened."""


def measure_allocations(subject: LiveModel, profile: Profile) -> PassMemory:
    """The peaks of one pass; what was allocated before it is not counted."""
    if is_profiling():
        return PassMemory((), None, (MEMORY_BUSY_NOTE,))
    try:
        marks, changes = _run_watched(subject, ModuleMarking(profile))
    except MissingName as error:
        return PassMemory((), None, (f"Memory was not measured: {error.given}",))
    own = find_highest_allocated(marks, changes)
    whole = MeasuredMemory(Outside.WHOLE, max(own.values()))
    return PassMemory(tuple(compute_inclusive_peaks(profile.layers, own)), whole, (ALLOCATOR_NOTE,))


def _run_watched(subject: LiveModel, rows: ModuleMarking) -> tuple[list[Mark], ByteChanges]:
    subject.drop_gradients()
    stop = start_allocation_profiler()
    trail = MarkTrail(subject.model, rows.called_rows, RangeMarker())
    try:
        subject.run_pass(trail.begin_stage)
    finally:
        threads = stop()
        trail.remove_hooks()
    return trail.marks, _collect_changes(max(threads, key=len))  # the pass runs on one thread, which has most events


def _collect_changes(events: Sequence[Any]) -> ByteChanges:
    handle, changes = -1, defaultdict(list)  # before the first mark
    for event in events:
        if event.kind() == "memory_alloc":
            changes[handle].append(event.cpu_memory_usage())
        elif event.kind() == "push" and event.name().startswith(MARK_PREFIX):
            handle = int(event.name().removeprefix(MARK_PREFIX))
    return changes


def find_highest_allocated(marks: Iterable[Mark], changes: ByteChanges) -> dict[RowKey | None, int]:
    """The most bytes allocated while each row's own work ran; a row that allocates nothing stands at what is there."""
    most: dict[RowKey | None, int] = defaultdict(int)
    allocated = 0
    for mark in marks:
        most[mark.row] = max(most[mark.row], allocated)
        for nbytes in changes.get(mark.handle, ()):
            allocated += nbytes
            most[mark.row] = max(most[mark.row], allocated)
    return dict(most)


def compute_inclusive_peaks(layers: Sequence[Layer], own: Mapping[RowKey | None, int]) -> list[MeasuredMemory]:
    """The peak of each call that ran: that of its own work or of a call inside it."""
    rows, inside = [], dict[int | None, int]()  # by row: the highest peak of the calls in it
    for row, layer in reversed([*enumerate(layers)]):
        known = [peak for peak in (own.get((layer.path, layer.call or 0)), inside.get(row)) if peak is not None]
        if known and layer.call_index is not None:
            rows.append(MeasuredMemory(layer.call_index, max(known)))
            inside[layer.parent] = max(inside.get(layer.parent, 0), *known)
    return rows[::-1]
