"""The columns of the strip: pieces of a pass beside one another, merged, folded and opened until they fit.

* A layer without MACs stands with the layer before it: batch norm and ReLU with their convolution; but what holds
  more parameters than that, such as an embedding, stands alone.
* Equal neighbours whose names differ in numbers alone are one column that says how many they are.
* What is too many is bundled into runs of one spatial size, or into even runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from archprof.analysis.network.naming import drop_numbers
from archprof.analysis.network.pieces import Piece, make_run
from archprof.analysis.repeats import find_repeat
from archprof.analysis.tables.map_sizes import guess_size

MAX_COLUMNS = 14
"""So many columns have room for their names beside one another."""

FEW_COLUMNS = 7
"""With fewer columns than this, what they hold is shown too."""

LARGE_SHARE = 0.5
"""What has more of the MACs or parameters than this is opened further than its neighbours."""

SMALL_SHARE = 0.01
"""A group without MACs and with less than this of anything stands with its neighbour."""

MAX_PERIOD = 6
"""Blocks that take turns are looked for in rounds of so many."""

Group = list[Piece]


@dataclass(slots=True, eq=False)
class PieceColumn:
    """One column: the pieces of its first repeat, and those of all."""

    pieces: Group
    every: Group
    count: int = 1

    @property
    def can_open(self) -> bool:
        """There is more than one thing in it."""
        return len(self.pieces) > 1 or len(self.pieces[0].parts) > 0


def arrange_pieces(pieces: Sequence[Piece], whole: Piece) -> list[PieceColumn]:
    """The pieces as columns: merged and folded."""
    groups = _merge_layers(pieces, whole)
    return (
        _absorb_small(_fold_groups(groups), whole) if len(groups) > 1 else _fold_groups([[piece] for piece in pieces])
    )


def _weight(piece: Piece, whole: Piece) -> float:
    """By what layers are told from what follows them: MACs, or FLOPs in a model without any."""
    return piece.macs if whole.macs else piece.flops


def _merge_layers(pieces: Sequence[Piece], whole: Piece) -> list[Group]:
    """Each layer with those behind it that have no MACs."""
    groups: list[Group] = []
    open_: Group | None = None
    for piece in pieces:
        weight = _weight(piece, whole)
        if piece.parts and weight:
            groups.append([piece])
            open_ = None
        elif open_ is None or (weight and _is_taken(open_, whole)) or _stands_alone(piece, open_, whole):
            open_ = [piece]
            groups.append(open_)
        else:
            open_.append(piece)
    return groups


def _is_taken(group: Group, whole: Piece) -> bool:
    """There is something in it already that a layer with MACs does not join."""
    return any(_weight(one, whole) for one in group) or _share(group, whole) >= SMALL_SHARE


def _stands_alone(piece: Piece, group: Group, whole: Piece) -> bool:
    """A piece without MACs that holds more parameters than those before it, or that nothing calls, and elsewhere."""
    if _weight(piece, whole) or (not piece.is_called and not group[-1].is_called):
        return False
    before = group[-1].path
    is_near = piece.path.rpartition(".")[0] in (before, before.rpartition(".")[0])
    held = sum(one.params for one in group)
    return (piece.params > held and _share([piece], whole) >= SMALL_SHARE) or not (piece.is_called or is_near)


def _absorb_small(columns: Sequence[PieceColumn], whole: Piece) -> list[PieceColumn]:
    """Columns that do next to nothing stand with a neighbour that is not folded: the one before them, or behind."""
    kept, at = list(columns), 0
    while at < len(kept):
        near = _find_host(kept, at)
        small = (
            not any(_weight(piece, whole) for piece in kept[at].every) and _share(kept[at].every, whole) < SMALL_SHARE
        )
        if small and near is not None and kept[at].count == 1:
            at, last = sorted((at, near))
            kept[at : last + 1] = [_join_columns(kept[at], kept[last])]
        else:
            at += 1
    return kept


def _find_host(columns: Sequence[PieceColumn], at: int) -> int | None:
    """The neighbour that a small column stands with: the one before, if the one behind is no nearer in the model."""
    near = [i for i in (at - 1, at + 1) if 0 <= i < len(columns) and columns[i].count == 1]
    mine = columns[at].every[0].path.rpartition(".")[0]
    return max(near, key=lambda i: columns[i].every[0].path.rpartition(".")[0] == mine, default=None)


def _join_columns(one: PieceColumn, other: PieceColumn) -> PieceColumn:
    pieces = [*one.pieces, *other.pieces]
    return PieceColumn(pieces, pieces)


def _share(pieces: Iterable[Piece], whole: Piece) -> float:
    """Of the MACs, the parameters or the time, whichever is most."""
    held = list(pieces)
    sums = (
        (sum(getattr(one, key) or 0 for one in held), getattr(whole, key) or 0) for key in ("macs", "params", "seconds")
    )
    return max(part / total if total else 0.0 for part, total in sums)


def _fold_groups(groups: Sequence[Group]) -> list[PieceColumn]:
    marks = [
        tuple((piece.mark if piece.mark >= 0 else id(piece), drop_numbers(piece.path)) for piece in group)
        for group in groups
    ]
    columns, at = list[PieceColumn](), 0
    while at < len(groups):
        period, count = find_repeat(marks, at, MAX_PERIOD)
        every = [piece for group in groups[at : at + period * count] for piece in group]
        once = [piece for group in groups[at : at + period] for piece in group]
        columns.append(PieceColumn(once, every, count))
        at += period * count
    return columns


def choose_columns(
    pieces: Sequence[Piece], whole: Piece, most: int = MAX_COLUMNS, depth: int | None = None
) -> list[PieceColumn]:
    """The columns for these pieces: opened as far as `most` columns allow, or every piece to that `depth`."""
    if depth is not None:
        return arrange_pieces(list(_open_to(pieces, depth)), whole)
    front = _open_alone(pieces, whole)
    columns = arrange_pieces(front, whole)
    if len(columns) > most:
        front = _bundle(columns, most)
        columns = arrange_pieces(front, whole)
    tried = set[int]()
    while (piece := _find_largest(columns, whole, tried)) is not None:
        tried.add(id(piece))
        opened = [part for one in front for part in (_open_piece(piece, whole) if one is piece else [one])]
        found = arrange_pieces(opened, whole)
        folds, wide = _count_folds(found) > _count_folds(columns), len(found) > len(columns)
        if len(found) > most and len(columns) < FEW_COLUMNS and _share([piece], whole) >= LARGE_SHARE:
            opened = [part for one in front for part in (_open_in_runs(one, whole, most) if one is piece else [one])]
            found = arrange_pieces(opened, whole)
        if len(found) <= most and (folds or (wide and _may_open(piece, columns, whole))):
            front, columns = opened, found
    return columns


def _open_alone(pieces: Sequence[Piece], whole: Piece) -> list[Piece]:
    """The pieces; with the parts of the one that does all the work, where there is one."""
    working = [piece for piece in pieces if _weight(piece, whole)]
    alone = working[0] if len(working) == 1 and working[0].parts else None
    return [part for one in pieces for part in (_open_piece(one, whole) if one is alone else [one])]


def _open_piece(piece: Piece, whole: Piece) -> list[Piece]:
    """Its parts; where one of them does all the work, that one's parts in its place, and so on."""
    parts = [piece]
    inner: Piece | None = piece
    while inner is not None:
        parts = [part for one in parts for part in (inner.parts if one is inner else [one])]
        working = [part for part in inner.parts if _weight(part, whole)]
        inner = working[0] if len(working) == 1 and working[0].parts else None
    return parts


def _open_in_runs(piece: Piece, whole: Piece, most: int) -> list[Piece]:
    """Its parts in runs, so that few columns become about as many as there is room for."""
    return _bundle(arrange_pieces(_open_piece(piece, whole), whole), most - FEW_COLUMNS + 1)


def _count_folds(columns: Sequence[PieceColumn]) -> int:
    return sum(column.count > 1 for column in columns)


def _open_to(pieces: Iterable[Piece], depth: int) -> Iterable[Piece]:
    waiting = [*pieces][::-1]
    while waiting:
        piece = waiting.pop()
        if piece.parts and piece.level < depth:
            waiting += reversed(piece.parts)
        else:
            yield piece


def _find_largest(columns: Sequence[PieceColumn], whole: Piece, tried: set[int]) -> Piece | None:
    """What to open next: the outermost, and of these the largest."""
    found = [
        (piece.level, -_share([piece], whole), i, piece)
        for i, column in enumerate(columns)
        if column.count == 1
        for piece in column.pieces
        if piece.parts and id(piece) not in tried
    ]
    return min(found, key=lambda one: one[:3])[-1] if found else None


def _may_open(piece: Piece, columns: Sequence[PieceColumn], whole: Piece) -> bool:
    """What is outermost; deeper pieces where there are few columns, or they are large."""
    outermost = min(piece.level for column in columns for piece in column.pieces)
    return len(columns) < FEW_COLUMNS or piece.level <= outermost or _share([piece], whole) >= LARGE_SHARE


def _bundle(columns: Sequence[PieceColumn], most: int) -> list[Piece]:
    """Runs of one spatial size; even runs where these are too many, or there is but one."""
    runs = [list(run) for _, run in groupby(columns, key=_map_size)]
    if not 1 < len(runs) <= most:
        size = math.ceil(len(columns) / most)
        runs = [list(columns[at : at + size]) for at in range(0, len(columns), size)]
    front = list[Piece]()
    for run in runs:
        pieces = [piece for column in run for piece in column.every]
        front += pieces if len(run) == 1 else [make_run(pieces)]
    return front


def _map_size(column: PieceColumn) -> object:
    outputs = column.every[0].outputs
    return guess_size(outputs[0].shape) if outputs else ()
