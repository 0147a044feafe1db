"""What repeats in a row of parts: (Conv2d, ReLU) eight times, thirty-six equal blocks."""

from __future__ import annotations

from collections.abc import Sequence


def find_repeat(marks: Sequence[object], at: int, longest: int, fewest: int = 2) -> tuple[int, int]:
    """The pattern from here on that covers most, and how often it stands there; the shortest of several.

    Args:
        marks: equal for equal parts.
        longest: parts of a pattern at most.
        fewest: repeats from which on a pattern of several parts counts; one of a single part does from two.
    """
    best = (1, 1)
    for period in range(1, min(longest, (len(marks) - at) // 2) + 1):
        times = 1
        while marks[at + times * period : at + (times + 1) * period] == marks[at : at + period]:
            times += 1
        if times >= (fewest if period > 1 else 2) and period * times > best[0] * best[1]:
            best = (period, times)
    return best
