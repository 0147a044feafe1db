"""The least memory in which steps go through, by hand: what is cached is given back first."""

from __future__ import annotations

import archprof
from archprof.predicting.memory_events import Change
from archprof.predicting.memory_room import PRECISION, find_least_room, goes_through

MIB = 1 << 20


def list_two(first: int, second: int) -> list[Change]:
    """One block after another, never both at once."""
    return [Change(1, first, 0, 0), Change(1, None, 0, 0), Change(2, second, 1, 0)]


def test_a_segment_that_is_kept_unused_is_given_back() -> None:
    """12 MiB are cached as 14 are asked for: 26 are reserved where there is plenty, and 14 are enough."""
    changes = list_two(12 * MIB, 14 * MIB)
    assert goes_through(changes, 14 * MIB)
    assert not goes_through(changes, 14 * MIB - 1)
    found = find_least_room(changes, 14 * MIB, 26 * MIB)
    assert 14 * MIB <= found <= 14 * MIB * (1 + 2 * PRECISION)


def test_a_segment_in_use_is_not() -> None:
    """A block of 11 MiB takes the front of a free segment of 30, whose other 19 are too few for 20."""
    changes = [*list_two(30 * MIB, 11 * MIB), Change(3, 20 * MIB, 2, 0)]
    assert not goes_through(changes, 49 * MIB)
    assert goes_through(changes, 50 * MIB)


def test_what_a_run_needs_lies_between_what_is_allocated_and_what_is_reserved() -> None:
    found = archprof.predict_memory("resnet18", batch=64, train=True, optimizer="sgd").prediction
    context = found.device_used_bytes.value - found.reserved_peak_bytes.value
    room = found.needed_bytes.value - context
    assert found.allocated_peak_bytes.value <= room < found.reserved_peak_bytes.value
    assert found.needed_bytes.low < found.needed_bytes.value < (found.needed_bytes.high or 0)
