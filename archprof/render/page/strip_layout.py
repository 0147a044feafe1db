"""Where the parts of a strip go: columns, and the lines above them along which branches run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from archprof.analysis.network.flows import OUTSIDE, Edge

STRIP_WIDTH, MIN_COLUMN, MAX_COLUMN = 1176.0, 72.0, 240.0
COLUMN_GAP, SHEET_OFFSET = 14.0, 3.0
"""Between columns, with room for an arrow; and by what the sheets of a folded block stand behind it."""

MIN_STRIP = 620.0
"""Of few columns: the lines above the lanes have room."""

ENTRY_WIDTH = 16.0
"""Left of the first column, where what comes in is read by several."""

TRACK_HEIGHT, MAX_TRACKS_HEIGHT, PORT_GAP = 7.0, 64.0, 6.0


class ColumnPlace(NamedTuple):
    left: float
    width: float

    @property
    def right(self) -> float:
        return self.left + self.width


class Bus(NamedTuple):
    """A line above the columns: from one to several, or from several to one."""

    sources: tuple[int, ...]
    targets: tuple[int, ...]
    track: int = 0

    @property
    def ends(self) -> tuple[int, int]:
        """The leftmost and the rightmost column."""
        places = (*self.sources, *self.targets)
        return min(places), max(places)


def place_columns(count: int, entry: float = 0.0) -> tuple[ColumnPlace, ...]:
    """Columns of one width, as wide as they have room for; a strip of many is wider."""
    room = (STRIP_WIDTH - entry - 2 * SHEET_OFFSET - COLUMN_GAP * (count - 1)) / max(count, 1)
    width = float(int(min(max(room, MIN_COLUMN), MAX_COLUMN)))  # whole pixels: sharp edges, and short in the file
    return tuple(ColumnPlace(entry + i * (width + COLUMN_GAP), width) for i in range(count))


def route_branches(edges: Sequence[Edge]) -> tuple[Bus, ...]:
    """Few lines for all that does not go to the neighbour on the right, those over fewest columns the lowest."""
    left = [(edge.source, edge.target) for edge in edges if not edge.is_next]
    buses = list[Bus]()
    while left:
        (at, is_source), _ = Counter([(s, True) for s, _ in left] + [(t, False) for _, t in left]).most_common(1)[0]
        mine = [pair for pair in left if pair[0 if is_source else 1] == at]
        others = tuple(pair[1 if is_source else 0] for pair in mine)
        buses.append(Bus((at,), others) if is_source else Bus(others, (at,)))
        left = [pair for pair in left if pair not in mine]
    return _assign_tracks(buses)


def _assign_tracks(buses: Sequence[Bus]) -> tuple[Bus, ...]:
    """The lowest track on which no other line is in the way."""
    placed = list[Bus]()
    for bus in sorted(buses, key=lambda bus: (bus.ends[1] - bus.ends[0], bus.ends)):
        first, last = bus.ends
        taken = {one.track for one in placed if one.ends[0] <= last and first <= one.ends[1]}
        placed.append(bus._replace(track=next(track for track in range(len(buses)) if track not in taken)))
    return tuple(placed)


def needs_entry(edges: Sequence[Edge]) -> bool:
    """What comes in is read by another column than the first."""
    return any(edge.source == OUTSIDE and edge.target > 0 for edge in edges)
