"""Ranks along an axis that hold pieces of the same sizes: one of each is enough."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Alike(NamedTuple):
    """Ranks along an axis that hold pieces of the same sizes: the first of them, and how many."""

    first: int
    size: int


def group_shards(lengths: Iterable[int], ranks: int) -> list[Alike]:
    """Ranks in groups, where dimensions of these lengths are dealt out as `torch.chunk` does: the last get less."""
    starts = {0}
    for length in lengths:
        each = -(-length // ranks)
        full = length // each if each else 0
        starts.update(at for at in (full, full + bool(length % each if each else 0)) if at < ranks)
    ends = [*sorted(starts)[1:], ranks]
    return [Alike(first, end - first) for first, end in zip(sorted(starts), ends, strict=True)]
