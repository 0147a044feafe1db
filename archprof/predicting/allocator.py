"""torch's caching allocator for CUDA, in pure Python: what it reserves of a device for a sequence of allocations.

It follows c10/cuda/CUDACachingAllocator.cpp: sizes in steps of 512 bytes; small blocks (up to 1 MiB) in segments of
2 MiB and large ones in segments of 20 MiB, or of their own size from 10 MiB on; the smallest free block that is large
enough, at the lowest address, split where enough is left; free neighbours joined; pools for each stream; everything
unused given back before an allocation fails. With `expandable_segments`, one segment per pool grows by whole pages.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from archprof.errors import ArchprofError
from archprof.predicting.allocator_blocks import (
    BLOCK_STEP,
    SMALL_LIMIT,
    AllocatorSettings,
    Block,
    Pool,
    forget_block,
    link_blocks,
    round_to_block,
    size_of_segment,
)


class OutOfMemory(ArchprofError):
    """A replay came to an allocation for which the device has no room."""


class Allocator:
    """The state of the allocator: allocate and free blocks, and read what is allocated and reserved, in bytes."""

    def __init__(self, settings: AllocatorSettings | None = None) -> None:
        self.settings = settings or AllocatorSettings()
        self.allocated = self.reserved = self.peak_allocated = self.peak_reserved = 0
        self._pools: dict[tuple[int, bool], Pool] = {}
        self._next_address = 0

    def allocate(self, nbytes: int, stream: int = 0) -> Block:
        """A block of at least so many bytes.

        Raises:
            OutOfMemory: the device is too small, even after everything unused was given back.
        """
        size = round_to_block(nbytes)
        pool = self._find_pool(size, stream)
        block = pool.find(size, self.settings)
        if block is None:
            self._collect_garbage()
            block = self._extend(pool, size)
        pool.remove(block)
        if self._splits(block, size):
            self._split(block, size)
        block.allocated = True
        self.allocated += block.size
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        return block

    def free(self, block: Block) -> None:
        """Give a block back to its pool, joined with free neighbours."""
        block.allocated = False
        self.allocated -= block.size
        block.pool.add(self._join(block))

    def empty_cache(self) -> None:
        """Give back to the device every segment, or page, of which nothing is allocated."""
        for pool in self._pools.values():
            for block in [pool.blocks[key] for key in pool.keys]:
                if self.settings.expandable_segments:
                    self._unmap(block)
                elif not block.is_split:
                    self._release(block)

    def _find_pool(self, size: int, stream: int) -> Pool:
        small = size <= SMALL_LIMIT
        pool = self._pools.get((stream, small))
        if pool is None:
            pool = self._pools[stream, small] = Pool(small=small)
        return pool

    def _splits(self, block: Block, size: int) -> bool:
        left = block.size - size
        if block.pool.small or self.settings.expandable_segments:
            return left >= BLOCK_STEP
        limit = self.settings.max_split_size
        return left > SMALL_LIMIT and (limit is None or size < limit)

    def _split(self, block: Block, size: int) -> None:
        """The front of the block is used; the rest stays free."""
        rest = Block(block.pool, block.address + size, block.size - size)
        link_blocks(rest, block.next)
        link_blocks(block, rest)
        block.size = size
        block.pool.add(rest)

    def _join(self, block: Block) -> Block:
        """The block with the free ones beside it, which leave the pool."""
        for other in (block.previous, block.next):
            if other is None or other.allocated or other.mapped != block.mapped:
                continue
            forget_block(other)
            if other is block.previous:
                block.address, block.previous = other.address, other.previous
                link_blocks(other.previous, block)
            else:
                link_blocks(block, other.next)
            block.size += other.size
        return block

    def _extend(self, pool: Pool, size: int) -> Block:
        """A free block made of new memory of the device."""
        if self.settings.expandable_segments:
            return self._grow(pool, size)
        segment = size_of_segment(size)
        self._reserve(segment)
        block = Block(pool, self._next_address, segment)
        self._next_address += segment
        pool.add(block)
        return block

    def _reserve(self, nbytes: int) -> None:
        capacity = self.settings.capacity
        if capacity is not None and self.reserved + nbytes > capacity:
            self.empty_cache()
            if self.reserved + nbytes > capacity:
                raise OutOfMemory(f"{nbytes} bytes more do not fit: {self.reserved} of {capacity} are reserved.")
        self.reserved += nbytes
        self.peak_reserved = max(self.peak_reserved, self.reserved)

    def _release(self, block: Block) -> None:
        block.pool.remove(block)
        self.reserved -= block.size

    def _grow(self, pool: Pool, size: int) -> Block:
        """A free block of an expandable segment, with as many new pages behind it as it needs."""
        for tail in pool.unmapped:
            front = tail.previous if tail.previous is not None and not tail.previous.allocated else None
            room = (front.size if front else 0) + tail.size
            if room >= size:
                return self._map(tail, size - (front.size if front else 0))
        space = 1 << 50  # of addresses, which cost nothing
        tail = Block(pool, self._next_address, space, mapped=False)
        self._next_address += space
        pool.unmapped.append(tail)
        return self._map(tail, size)

    def _map(self, tail: Block, nbytes: int) -> Block:
        """Pages for so many bytes at the front of an unmapped stretch, joined with a free block before them."""
        page = tail.pool.page
        size = min(-(-nbytes // page) * page, tail.size)
        self._reserve(size)
        mapped = Block(tail.pool, tail.address, size)
        link_blocks(tail.previous, mapped)
        tail.address, tail.size = tail.address + size, tail.size - size
        if tail.size:
            link_blocks(mapped, tail)
        else:
            tail.pool.unmapped.remove(tail)
            link_blocks(mapped, tail.next)
        joined = self._join(mapped)
        tail.pool.add(joined)
        return joined

    def _unmap(self, block: Block) -> None:
        """Give back the whole pages of a free block of an expandable segment."""
        page = block.pool.page
        first, last = -(-block.address // page) * page, (block.address + block.size) // page * page
        if first >= last:
            return
        pool, end = block.pool, block.address + block.size
        pool.remove(block)
        self.reserved -= last - first
        gap = Block(pool, first, last - first, mapped=False)
        parts = [gap]
        if block.address < first:
            parts.insert(0, Block(pool, block.address, first - block.address))
        if last < end:
            parts.append(Block(pool, last, end - last))
        for before, after in zip([block.previous, *parts], [*parts, block.next], strict=True):
            link_blocks(before, after)
        pool.unmapped.append(self._join(gap))
        pool.unmapped.sort(key=lambda unmapped: unmapped.address)
        for part in parts:
            if part.mapped:
                pool.add(part)

    def _collect_garbage(self) -> None:
        """Give back segments that were free for longer than the average, down to the threshold."""
        settings = self.settings
        if not settings.garbage_collection_threshold or settings.capacity is None:
            return
        target = self.reserved - settings.garbage_collection_threshold * settings.capacity
        unused = [b for pool in self._pools.values() if not pool.small for b in pool.blocks.values() if not b.is_split]
        while target > 0 and unused:
            mean = sum(block.pool.requests - block.freed_at for block in unused) / len(unused)
            old = [block for block in unused if block.pool.requests - block.freed_at >= mean]
            unused = [block for block in unused if block not in old]
            for block in old:
                self._release(block)
                target -= block.size


class Event(NamedTuple):
    """One allocation, or with `nbytes` of `None` the end of one, by a number that the caller gives it."""

    block: int
    nbytes: int | None
    stream: int = 0


def replay(events: Iterable[Event], allocator: Allocator) -> None:
    """Let an allocator go through a sequence of allocations and frees; what was free before is passed over."""
    live: dict[int, Block] = {}
    for number, nbytes, stream in events:
        if nbytes is not None:
            live[number] = allocator.allocate(nbytes, stream)
        elif (block := live.pop(number, None)) is not None:
            allocator.free(block)
