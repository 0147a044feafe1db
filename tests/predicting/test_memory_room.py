"""The least memory in which steps go through, by hand: what is cached is given back first."""

from __future__ import annotations

from torch import nn

import archprof
from archprof.predicting.memory import LAZY_CONTEXT_BYTES
from archprof.predicting.memory_events import Change, list_changes
from archprof.predicting.memory_room import PRECISION, find_least_room, goes_through
from archprof.predicting.workspaces import CUBLAS_BYTES, choose_workspaces

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


def test_a_convolution_does_without_what_it_would_borrow() -> None:
    """30 MiB of weights, and 100 that a kernel borrows while others, which borrow nothing, would do."""
    weights, borrowed, back = (
        Change(1, 30 * MIB, 0, 0),
        Change(2, 100 * MIB, 1, 0, is_workspace=True),
        Change(2, None, 1, 0),
    )
    assert not goes_through([weights, borrowed, back], 129 * MIB)
    assert goes_through([weights, borrowed._replace(is_spared=True), back], 30 * MIB)


def test_only_convolutions_have_other_kernels() -> None:
    net = nn.Sequential(nn.Conv2d(3, 64, 3), nn.Flatten(2), nn.Linear(36, 4))
    profile = archprof.profile(net, (8, 3, 8, 8), train=True)
    lent = [one for one in list_changes(profile, choose_workspaces(None), 1) if one.is_workspace and one.nbytes]
    assert [one.is_spared for one in lent] == [one.nbytes != CUBLAS_BYTES for one in lent]
    assert {True, False} == {one.is_spared for one in lent}


def test_what_a_run_needs_lies_between_what_is_live_and_what_is_reserved() -> None:
    found = archprof.predict_memory("resnet18", batch=64, train=True, optimizer="sgd").prediction
    room = found.needed_bytes.value - LAZY_CONTEXT_BYTES
    assert found.live_peak_bytes.value <= room < found.reserved_peak_bytes.value
    assert found.needed_bytes.low < found.needed_bytes.value < (found.needed_bytes.high or 0)
