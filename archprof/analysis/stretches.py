"""Many moments told by a few: the equal stretches that they are cut into."""

from __future__ import annotations

from itertools import pairwise


def cut_stretches(count: int, most: int) -> list[range]:
    """So many moments in order, in stretches of about one length: at most `most`."""
    pieces = min(most, count)
    borders = [i * count // pieces for i in range(pieces + 1)] if pieces else []
    return [range(start, end) for start, end in pairwise(borders)]
