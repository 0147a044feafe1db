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


class ColumnOps(NamedTuple):
    """Which column each forward op is in; `leads` are those before the work that the column is named after."""

    column: Mapping[int, int]
    leads: frozenset[int]


def map_ops(columns: Sequence[PieceColumn]) -> ColumnOps:
    """The ops of all columns."""
    found, leads = dict[int, int](), list[int]()
    for at, column in enumerate(columns):
        once = len(column.pieces)
        main = max(range(once), key=lambda i: (column.pieces[i].macs, -i))
        for i, piece in enumerate(column.every):
            ops = list(piece.all_ops())
            found.update(dict.fromkeys(ops, at))
            leads += ops if i % once < main else []
    return ColumnOps(found, frozenset(leads))


def find_edges(profile: Profile, ops: ColumnOps) -> tuple[Edge, ...]:
    """What flows between the columns, the largest tensor of each way; weights are no flow.

    What a norm makes that stands before the layer it is merged with is read by others as what goes into it.
    """
    makers, sizes = dict[int, tuple[int, int]](), dict[tuple[int, int], int]()
    nobody = (OUTSIDE, OUTSIDE)
    for index, op in enumerate(profile.ops):
        if op.phase != "forward":
            continue
        here, first = ops.column.get(index), makers.get(op.inputs[0], nobody) if op.inputs else nobody
        if here is None:  # a view between columns, or an op outside them
            makers.update(dict.fromkeys(op.outputs, first))
            continue
        for tensor in op.inputs:
            maker, source = makers.get(tensor, nobody)
            held = source == OUTSIDE and profile.role_of(tensor) in ("parameter", "buffer", "constant")
            if maker != here and source != here and not held:
                sizes[source, here] = max(sizes.get((source, here), 0), profile.tensors[tensor].spec.numel)
        makers.update(dict.fromkeys(op.outputs, (here, first[1] if index in ops.leads else here)))
    return tuple(_drop_small(Edge(*ends, size) for ends, size in sorted(sizes.items())))


def _drop_small(edges: Iterable[Edge]) -> Iterable[Edge]:
    held = list(edges)
    largest: dict[int, int] = {}
    for edge in held:
        largest[edge.target] = max(largest.get(edge.target, 0), edge.elements)
    return [edge for edge in held if edge.elements >= SMALL_FLOW * largest[edge.target]]
