"""The blocks of torch's caching allocator, the pools in which it finds free ones, and the sizes that it uses."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import NamedTuple

MIB = 1 << 20
BLOCK_STEP = 512
SMALL_LIMIT = 1 * MIB
SMALL_SEGMENT = 2 * MIB
LARGE_SEGMENT = 20 * MIB
OWN_SEGMENT_LIMIT = 10 * MIB
OWN_SEGMENT_STEP = 2 * MIB


class AllocatorSettings(NamedTuple):
    """What PYTORCH_ALLOC_CONF can say, of what changes the sizes.

    Attributes:
        expandable_segments: each pool has one segment, which grows by pages where they are needed.
        max_split_size: bytes; larger blocks are not split, and lent to none that is smaller.
        garbage_collection_threshold: share of `capacity` above which long unused segments are given back; 0: never.
        capacity: bytes of the device; `None`: as many as are asked for.
    """

    expandable_segments: bool = False
    max_split_size: int | None = None
    garbage_collection_threshold: float = 0.0
    capacity: int | None = None


class Block:
    """A stretch of a segment: allocated, free, or (of an expandable segment) not mapped yet."""

    __slots__ = ("address", "allocated", "freed_at", "mapped", "next", "pool", "previous", "size")

    def __init__(self, pool: Pool, address: int, size: int, *, mapped: bool = True) -> None:
        self.pool, self.address, self.size, self.mapped = pool, address, size, mapped
        self.allocated = False
        self.previous: Block | None = None
        self.next: Block | None = None
        self.freed_at = 0  # how often the pool had been asked when it became free

    @property
    def key(self) -> tuple[int, int]:
        """Free blocks are found in this order."""
        return self.size, self.address

    @property
    def is_split(self) -> bool:
        return self.previous is not None or self.next is not None

    @property
    def room(self) -> int:
        """What it holds, with the unmapped pages behind it."""
        return self.size + (self.next.size if self.next is not None and not self.next.mapped else 0)


class Pool:
    """The free blocks of one stream that are of one kind, in the order of their size and address."""

    def __init__(self, *, small: bool) -> None:
        self.small = small
        self.page = SMALL_SEGMENT if small else LARGE_SEGMENT
        self.keys: list[tuple[int, int]] = []
        self.blocks: dict[tuple[int, int], Block] = {}
        self.unmapped: list[Block] = []
        self.requests = 0

    def add(self, block: Block) -> None:
        insort(self.keys, block.key)
        self.blocks[block.key] = block
        block.freed_at = self.requests

    def remove(self, block: Block) -> None:
        del self.keys[bisect_left(self.keys, block.key)]
        del self.blocks[block.key]

    def find(self, size: int, settings: AllocatorSettings) -> Block | None:
        """The smallest free block that is large enough; of one that can grow counts what it can grow to."""
        self.requests += 1
        place = bisect_left(self.keys, (size, 0))
        if place == len(self.keys):
            return None
        best = self.blocks[self.keys[place]]
        if settings.expandable_segments:
            for key in self.keys[place + 1 :]:
                if self.blocks[key].room >= best.room:
                    break
                best = self.blocks[key]
        return best if _may_lend(best, size, settings.max_split_size) else None


def _may_lend(block: Block, size: int, max_split_size: int | None) -> bool:
    """Whether a block is not kept for larger requests, or too much larger than the request."""
    if max_split_size is None:
        return True
    return block.size < max_split_size if size < max_split_size else block.size < size + LARGE_SEGMENT


def round_to_block(nbytes: int) -> int:
    """The size of the block that holds so many bytes."""
    return max(-(-nbytes // BLOCK_STEP) * BLOCK_STEP, BLOCK_STEP)


def size_of_segment(size: int) -> int:
    """Bytes that are asked of the device for a block of that size."""
    if size <= SMALL_LIMIT:
        return SMALL_SEGMENT
    if size < OWN_SEGMENT_LIMIT:
        return LARGE_SEGMENT
    return -(-size // OWN_SEGMENT_STEP) * OWN_SEGMENT_STEP


def link_blocks(before: Block | None, after: Block | None) -> None:
    if before is not None:
        before.next = after
    if after is not None:
        after.previous = before


def forget_block(block: Block) -> None:
    """A block that is joined to another is no longer found."""
    if block.mapped:
        block.pool.remove(block)
    else:
        block.pool.unmapped.remove(block)
