"""The allocator against events recorded on GPUs, byte for byte, and against sizes worked out by hand."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from archprof.predicting.allocator import Allocator, Event, OutOfMemory, replay
from archprof.predicting.allocator_blocks import MIB, AllocatorSettings

RECORDED = Path(__file__).parents[1] / "prediction" / "data" / "recorded"

PEAK_RESERVED = {
    "niu_forward_memory_snapshot_100": 463470592,  # NiuHuangxiaozi/assignment2-systems
    "niu_forward_and_backward_memory_snapshot_100": 786432000,
    "shr_grad": 4439670784,  # shreyansh26/MLSys-Experiments
}
"""The most that torch said to have reserved while it wrote these snapshots, each of which starts empty."""


def read_rows(name: str) -> list[dict[str, str]]:
    with gzip.open(RECORDED / f"{name}.csv.gz", "rt") as file:
        return list(csv.DictReader(file))


def read_events(name: str) -> list[Event]:
    rows = [row for row in read_rows(name) if row["action"] in "af"]
    return [Event(int(row["block"]), int(row["bytes"]) if row["action"] == "a" else None) for row in rows]


@pytest.mark.parametrize("name", PEAK_RESERVED)
def test_reserves_to_the_byte_what_torch_reserved(name: str) -> None:
    allocator = Allocator()
    replay(read_events(name), allocator)
    assert allocator.peak_reserved == PEAK_RESERVED[name]


@pytest.mark.parametrize("name", PEAK_RESERVED)
def test_asks_for_each_segment_when_torch_did(name: str) -> None:
    allocator, blocks = Allocator(), {}
    made: list[tuple[int, int]] = []
    for row in read_rows(name):
        if row["action"] == "a":
            before = allocator.reserved
            blocks[row["block"]] = allocator.allocate(int(row["bytes"]))
            if allocator.reserved > before:
                made.append((int(row["block"]), allocator.reserved - before))
        elif row["action"] == "f" and row["block"] in blocks:
            allocator.free(blocks.pop(row["block"]))
    assert [size for _, size in made] == [int(row["bytes"]) for row in read_rows(name) if row["action"] == "S"]


@pytest.mark.parametrize(
    ("nbytes", "allocated", "reserved"),
    [
        (0, 512, 2 * MIB),
        (1, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 1, 10 * MIB, 10 * MIB),  # 10 MiB once rounded: a segment of its own
        (20 * MIB - 1024, 20 * MIB, 20 * MIB),  # less than 1 MiB would be left: not split
        (21 * MIB, 22 * MIB, 22 * MIB),
    ],
)
def test_one_allocation(nbytes: int, allocated: int, reserved: int) -> None:
    allocator = Allocator()
    allocator.allocate(nbytes)
    assert (allocator.allocated, allocator.reserved) == (allocated, reserved)


def test_free_neighbours_are_one_block_again() -> None:
    allocator = Allocator()
    parts = [allocator.allocate(6 * MIB) for _ in range(3)]  # 18 of one segment of 20 MiB
    for part in (parts[0], parts[2], parts[1]):
        allocator.free(part)
    allocator.allocate(20 * MIB)
    assert (allocator.allocated, allocator.reserved) == (20 * MIB, 20 * MIB)


def test_the_smallest_block_that_is_large_enough_is_lent() -> None:
    allocator = Allocator()
    large, small = allocator.allocate(40 * MIB), allocator.allocate(30 * MIB)
    allocator.free(large)
    allocator.free(small)
    allocator.allocate(30 * MIB)
    allocator.allocate(40 * MIB)
    assert allocator.reserved == 70 * MIB


def test_streams_share_no_memory() -> None:
    allocator = Allocator()
    allocator.free(allocator.allocate(12 * MIB, stream=0))
    allocator.allocate(12 * MIB, stream=1)
    assert allocator.reserved == 24 * MIB


def test_what_is_unused_is_given_back_before_an_allocation_fails() -> None:
    allocator = Allocator(AllocatorSettings(capacity=100 * MIB))
    allocator.free(allocator.allocate(60 * MIB))
    kept = allocator.allocate(30 * MIB)  # of the 60: split, so that the segment stays
    with pytest.raises(OutOfMemory, match="do not fit"):
        allocator.allocate(70 * MIB)
    allocator.free(kept)
    allocator.allocate(70 * MIB)
    assert (allocator.reserved, allocator.peak_reserved) == (70 * MIB, 70 * MIB)


def test_garbage_is_collected_above_the_threshold() -> None:
    """An unused segment of 38 MiB is above 0.3 of 100 MiB: it is given back before another is asked for."""
    for threshold, reserved in ((0.0, 78 * MIB), (0.3, 40 * MIB)):
        allocator = Allocator(AllocatorSettings(capacity=100 * MIB, garbage_collection_threshold=threshold))
        allocator.free(allocator.allocate(38 * MIB))
        allocator.allocate(40 * MIB)
        assert allocator.reserved == reserved


def test_blocks_above_the_split_limit_are_lent_whole() -> None:
    settings = AllocatorSettings(max_split_size=30 * MIB)
    allocator = Allocator(settings)
    allocator.free(allocator.allocate(50 * MIB))
    allocator.allocate(20 * MIB)  # below the limit: the 50 MiB are kept for larger requests
    assert allocator.reserved == 70 * MIB
    allocator.allocate(40 * MIB)  # within 20 MiB of it: lent whole
    assert (allocator.reserved, allocator.allocated) == (70 * MIB, 70 * MIB)


class TestExpandableSegments:
    """One segment a pool, of pages of 2 and 20 MiB; CUDACachingAllocator.cpp, `try_allocate_expandable_block`."""

    def make(self, capacity: int | None = None) -> Allocator:
        return Allocator(AllocatorSettings(expandable_segments=True, capacity=capacity))

    def test_grows_by_pages(self) -> None:
        allocator = self.make()
        allocator.allocate(30 * MIB)
        assert allocator.reserved == 40 * MIB
        allocator.allocate(10 * MIB)  # the rest of the second page
        assert allocator.reserved == 40 * MIB
        allocator.allocate(512)
        assert allocator.reserved == 42 * MIB

    def test_every_rest_is_split_off(self) -> None:
        allocator = self.make()
        allocator.allocate(20 * MIB - 512)
        assert allocator.allocated == 20 * MIB - 512

    def test_a_free_end_is_extended_and_not_left(self) -> None:
        """30 MiB free at the end: 50 MiB need only one page more; with plain segments they need all of it."""
        for expandable, reserved in ((True, 60 * MIB), (False, 90 * MIB)):
            allocator = Allocator(AllocatorSettings(expandable_segments=expandable))
            allocator.free(allocator.allocate(40 * MIB))
            allocator.allocate(50 * MIB)
            assert allocator.reserved == reserved

    def test_whole_pages_are_given_back(self) -> None:
        allocator = self.make()
        first, second = allocator.allocate(30 * MIB), allocator.allocate(70 * MIB)
        allocator.free(second)  # from 30 to 100 MiB: the pages from 40 on are whole
        allocator.empty_cache()
        assert (allocator.reserved, allocator.allocated) == (40 * MIB, 30 * MIB)
        allocator.free(first)
        allocator.allocate(100 * MIB)
        assert allocator.reserved == 100 * MIB

    def test_the_device_may_be_full(self) -> None:
        with pytest.raises(OutOfMemory):
            self.make(capacity=50 * MIB).allocate(60 * MIB)


def test_a_block_that_was_there_before_the_record_is_passed_over() -> None:
    allocator = Allocator()
    replay([Event(7, None), Event(8, 512), Event(8, None)], allocator)
    assert (allocator.allocated, allocator.peak_allocated) == (0, 512)
