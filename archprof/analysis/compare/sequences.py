"""Sequences set beside each other: the best alignment of two, exact where they are small and near-linear where not.

A table of all pairs is exact and costs the product of the lengths: 20,000 layers against 20,000 are 400 million pairs.
Longer sequences are cut at what surely belongs together, and between two cuts only pairs near the diagonal are tried.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

T = TypeVar("T")
AlignedRow = tuple["int | None", ...]
"""One index per model; `None` where a model has nothing there."""
Pair = tuple["int | None", "int | None"]
Score = Callable[[T, T], float]
Key = Callable[[T], Hashable]

EXACT_PAIRS = 1_000_000
"""Up to so many pairs all are tried: about half a second."""

NEAR_PAIRS = 500_000
"""So many are tried of more."""

OUTSIDE = float("-inf")
"""What is reached by no way through the pairs that are tried."""


def align_sequences(sequences: Sequence[Sequence[T]], score: Score[T], key: Key[T] | None = None) -> list[AlignedRow]:
    """One row for each group of parts that belong together; the order of every sequence is kept.

    Args:
        sequences: the parts of each model, in order.
        score: how well two parts match; 0 keeps them apart. The sum over all pairs is as large as it can be, of
            long sequences about so; a third model is matched with the rows of the first two.
        key: equal for two parts that no others match better. Long sequences are cut there.
    """
    rows: list[AlignedRow] = [(i,) for i in range(len(sequences[0]))]
    for count, sequence in enumerate(sequences[1:], 1):
        heads = [next(sequences[model][at] for model, at in enumerate(row) if at is not None) for row in rows]
        gap: AlignedRow = (None,) * count
        rows = [(gap if a is None else rows[a]) + (b,) for a, b in _align_pair(heads, sequence, score, key)]
    return rows


def _align_pair(left: Sequence[T], right: Sequence[T], score: Score[T], key: Key[T] | None) -> list[Pair]:
    """The best alignment of two sequences; what has no partner on the left comes before what has none on the right."""
    if key is None or len(left) * len(right) <= EXACT_PAIRS:
        return list(_align_near(left, right, score))
    anchors = _find_anchors([key(part) for part in left], [key(part) for part in right])
    cut = list(_align_between(left, right, score, anchors))
    if 2 * len(anchors) >= min(len(left), len(right)):
        return cut
    near = list(_align_near(left, right, score))  # a few names that are equal by chance lead astray
    return max(cut, near, key=lambda pairs: sum(score(left[i], right[j]) for i, j in _matched(pairs)))


def _matched(pairs: Sequence[Pair]) -> Iterator[tuple[int, int]]:
    return ((i, j) for i, j in pairs if i is not None and j is not None)


def _find_anchors(left: Sequence[Hashable], right: Sequence[Hashable]) -> list[tuple[int, int]]:
    """The most pairs of keys that both sides have once, in the order of both (as in a patience diff)."""
    often, there = Counter(left), Counter(right)
    place = {key: j for j, key in enumerate(right) if there[key] == 1}
    pairs = [(i, place[key]) for i, key in enumerate(left) if often[key] == 1 and key in place]
    ends: list[int] = []  # of the rising runs of each length, the smallest last j
    links: list[tuple[tuple[int, int], object]] = []  # of each length, the last pair and what leads to it
    for i, j in pairs:
        at = bisect_left(ends, j)
        ends[at : at + 1] = [j]
        links[at : at + 1] = [((i, j), links[at - 1] if at else None)]
    found, link = [], links[-1] if links else None
    while link is not None:
        pair, link = link  # type: ignore[assignment]
        found.append(pair)
    return found[::-1]


def _align_between(
    left: Sequence[T], right: Sequence[T], score: Score[T], anchors: Sequence[tuple[int, int]]
) -> Iterator[Pair]:
    """The anchors, and between each two the best alignment of what stands there."""
    for (i, j), (end, stop) in pairwise([(-1, -1), *anchors, (len(left), len(right))]):
        if i >= 0:
            yield i, j
        between = _align_near(left[i + 1 : end], right[j + 1 : stop], score)
        yield from ((a if a is None else i + 1 + a, b if b is None else j + 1 + b) for a, b in between)


class _Sums(NamedTuple):
    """The best sums from one part of the left on: from each part of the right between `start` and where they end."""

    start: int
    best: list[float]

    def at(self, j: int) -> float:
        return self.best[j - self.start] if 0 <= j - self.start < len(self.best) else OUTSIDE


def _align_near(left: Sequence[T], right: Sequence[T], score: Score[T]) -> Iterator[Pair]:
    """The best alignment through the pairs that are tried: all of a few, of many those near the diagonal."""
    sums = _add_up(left, right, score)
    i = j = 0
    while i < len(left) and j < len(right):
        here, paired = sums[i].at(j), score(left[i], right[j])
        if paired and here == paired + sums[i + 1].at(j + 1):
            yield i, j
            i, j = i + 1, j + 1
        elif here == sums[i + 1].at(j):
            yield i, None
            i += 1
        else:
            yield None, j
            j += 1
    yield from ((at, None) for at in range(i, len(left)))
    yield from ((None, at) for at in range(j, len(right)))


def _add_up(left: Sequence[T], right: Sequence[T], score: Score[T]) -> list[_Sums]:
    """For every part of the left, and what comes after its last, the best sums from there on."""
    start, stop = _tried(len(left), len(left), len(right))
    sums = [_Sums(start, [0.0] * (stop - start))]
    for i in reversed(range(len(left))):
        next_start, best = sums[-1]
        start, stop = _tried(i, len(left), len(right))
        below = [OUTSIDE] * (next_start - start) + best[: stop + 1 - next_start] + [OUTSIDE]
        part, row, after = left[i], [0.0] * (stop - start), OUTSIDE
        for at in reversed(range(stop - start)):
            paired = score(part, right[start + at]) if start + at < len(right) else 0.0
            after = row[at] = max(paired + below[at + 1] if paired else OUTSIDE, below[at], after)
        sums.append(_Sums(start, row))
    return sums[::-1]


def _tried(i: int, lefts: int, rights: int) -> tuple[int, int]:
    """From where to where on the right a part of the left is tried, the place behind the last included."""
    if lefts * rights <= EXACT_PAIRS:
        return 0, rights + 1
    middle, reach = i * rights // lefts, max(NEAR_PAIRS // lefts, 2 * rights // lefts + 2) // 2
    return max(middle - reach, 0), min(middle + reach, rights) + 1
