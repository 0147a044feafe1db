"""Where the boxes of a treemap go, nested by module: rows of boxes that are nearly square, in the order they are given.

The squarified layout of Bruls, Huizing and van Wijk (2000), without their sorting by size: what comes first in the
network stands first, as in the ordered treemaps of Bederson, Shneiderman and Wattenberg (2002).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from archprof.analysis.report.treemap import TreemapNode

MIN_BOX_AREA = 400.0
"""The area of the smallest box that is drawn, in square pixels; what is smaller goes into one box together."""

HEAD_HEIGHT = 15.0
"""The height of the line in which a box that holds others shows its name."""


class Rect(NamedTuple):
    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        return self.width * self.height

    def inset(self, by: float) -> Rect:
        """Smaller by `by` on each side."""
        return Rect(self.x + by, self.y + by, max(self.width - 2 * by, 0), max(self.height - 2 * by, 0))


class PlacedBox(NamedTuple):
    """One box: of `node`, or of `together` modules that are too small for a box each (`node` holds them).

    `head` says that it has a line with its name and holds other boxes, `within` is the id of the nearest such box
    around it, or of the model.
    """

    node: TreemapNode
    rect: Rect
    value: float
    container_id: str
    has_head: bool = False
    grouped_count: int = 0


def place_boxes(nodes: Sequence[TreemapNode], metric: str, rect: Rect) -> list[PlacedBox]:
    """The boxes of one model in `rect`, outer ones first; areas are as the totals of `metric`."""
    if not nodes or not nodes[0].total[metric]:
        return []
    children: dict[str, list[TreemapNode]] = defaultdict(list)
    for node in nodes[1:]:
        if node.total[metric]:
            children[node.parent].append(node)
    placed: list[PlacedBox] = []
    waiting = [*_place_parts(PlacedBox(nodes[0], rect, nodes[0].total[metric], nodes[0].id), children, metric)]
    while waiting:  # a model may be nested deeper than Python's calls
        box = waiting.pop()
        if box.grouped_count or not children[box.node.id]:
            placed.append(box)
            continue
        if len(children[box.node.id]) > 1 and box.rect.width >= 60 and box.rect.height >= 50:
            placed.append(box._replace(has_head=True))
            inner = box.rect.inset(2)
            below = Rect(inner.x, inner.y + HEAD_HEIGHT, inner.width, inner.height - HEAD_HEIGHT)
            box = box._replace(rect=below, container_id=box.node.id)
        waiting += _place_parts(box, children, metric)
    return placed


def _place_parts(box: PlacedBox, children: dict[str, list[TreemapNode]], metric: str) -> list[PlacedBox]:
    """The parts of a module in its rectangle, the last one first; the module itself, where it has none."""
    parts = children[box.node.id]
    if not parts:
        return [box]
    scale = box.rect.area / sum(part.total[metric] for part in parts)
    shown = [part for part in parts if part.total[metric] * scale >= MIN_BOX_AREA]
    small = [part.total[metric] for part in parts if part.total[metric] * scale < MIN_BOX_AREA]
    values = [part.total[metric] for part in shown] + ([sum(small)] if small else [])
    places = squarify_values(values, box.rect)
    made = [
        PlacedBox(part, place, part.total[metric], box.container_id) for part, place in zip(shown, places, strict=False)
    ]
    if small and places[-1].area >= 1:
        made.append(PlacedBox(box.node, places[-1], sum(small), box.container_id, grouped_count=len(small)))
    return made[::-1]


def squarify_values(values: Sequence[float], rect: Rect) -> list[Rect]:
    """A rectangle for each value, positive, in their order, together exactly `rect`, each nearly a square."""
    placed: list[Rect] = []
    left = list(values)
    while left:
        side = min(rect.width, rect.height)
        scale = rect.area / sum(left)
        count = _fitting(left, side, scale)
        row, left = left[:count], left[count:]
        places, rect = _laid(row, rect, sum(row) * scale if left else rect.area)
        placed += places
    return placed


def _fitting(values: Sequence[float], side: float, scale: float) -> int:
    """How many of the values go into the next row: one more only while the worst shape gets no worse."""
    total, worst, least, most = 0.0, float("inf"), float("inf"), 0.0
    for count, value in enumerate(values):
        total, least, most = total + value, min(least, value), max(most, value)
        area = total * scale
        shape = max(side**2 * most * scale / area**2, area**2 / (side**2 * least * scale)) if side else 0.0
        if shape > worst:
            return count
        worst = shape
    return len(values)


def _laid(row: Sequence[float], rect: Rect, area: float) -> tuple[list[Rect], Rect]:
    """The row along the shorter side of `rect`, and what is left of `rect`."""
    upright = rect.width >= rect.height
    side = rect.height if upright else rect.width
    thick = area / side if side else 0.0
    places, at = [], rect.y if upright else rect.x
    for value in row:
        long = side * value / sum(row)
        places.append(Rect(rect.x, at, thick, long) if upright else Rect(at, rect.y, long, thick))
        at += long
    if upright:
        return places, Rect(rect.x + thick, rect.y, max(rect.width - thick, 0), rect.height)
    return places, Rect(rect.x, rect.y + thick, rect.width, max(rect.height - thick, 0))
