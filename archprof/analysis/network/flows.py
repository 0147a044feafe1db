"""What flows from column to column: branches and joins, by the tensors that ops make and read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from archprof.analysis.network.columns import PieceColumn
from archprof.facts.records import Profile

OUTSIDE = -1
"""In the place of a column: what was there before the first one."""

SMALL_FLOW = 0.02
"""Of the largest tensor that a column reads; what is smaller, such as a mask of positions, is no branch."""


class Edge(NamedTuple):
    """What one column makes and another reads.

    Attributes:
        source: index of the column; `OUTSIDE` for what was there before.
        target: index of the column that reads it.
        elements: of the largest tensor that goes this way.
    """

    source: int
    target: int
    elements: int

    @property
    def is_next(self) -> bool:
        """To the neighbour on the right."""
        return self.target == self.source + 1


def map_ops(columns: Sequence[PieceColumn]) -> dict[int, int]:
    """The column of each forward op that is in one."""
    return {op: at for at, column in enumerate(columns) for piece in column.every for op in piece.all_ops()}


def find_edges(profile: Profile, column_of_op: Mapping[int, int]) -> tuple[Edge, ...]:
    """What flows between the columns, the largest tensor of each way; weights are no flow."""
    makers, sizes = dict[int, int](), dict[tuple[int, int], int]()
    tensors, storages = profile.tensors, profile.storages
    for index, op in enumerate(profile.ops):
        if op.phase != "forward":
            continue
        here = column_of_op.get(index)
        if here is None:  # a view between columns, or an op outside them
            maker = makers.get(op.inputs[0], OUTSIDE) if op.inputs else OUTSIDE
            makers.update(dict.fromkeys(op.outputs, maker))
            continue
        for tensor in op.inputs:
            source = makers.get(tensor, OUTSIDE)
            held = source == OUTSIDE and storages[tensors[tensor].storage].role in ("parameter", "buffer", "constant")
            if source != here and not held:
                sizes[source, here] = max(sizes.get((source, here), 0), tensors[tensor].spec.numel)
        makers.update(dict.fromkeys(op.outputs, here))
    return tuple(_drop_small(Edge(*ends, size) for ends, size in sorted(sizes.items())))


def _drop_small(edges: Iterable[Edge]) -> Iterable[Edge]:
    held = list(edges)
    largest: dict[int, int] = {}
    for edge in held:
        largest[edge.target] = max(largest.get(edge.target, 0), edge.elements)
    return [edge for edge in held if edge.elements >= SMALL_FLOW * largest[edge.target]]
