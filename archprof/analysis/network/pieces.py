"""A pass cut into pieces along its length: calls inside calls, and what a call does itself between those it makes.

Every op, parameter and second is in exactly one piece without parts, so the sums of neighbours add up to the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from archprof.analysis.network.families import find_heaviest
from archprof.facts.ops import Signature
from archprof.facts.records import Layer, Profile
from archprof.facts.tensors import TensorSpec

Ends = tuple[TensorSpec, ...]


@dataclass(slots=True, eq=False)
class Piece:
    """A stretch of the pass.

    Attributes:
        path: of the module; of a run, of its first piece.
        kind: the class of the module; the op that works most, where `is_own`.
        row: index into `Profile.layers`; `None` for a run of several.
        outputs: what came out of it.
        parts: the pieces it is made of, in order; none for one that is not divided further.
        ops: forward ops of one without parts, as indices into `Profile.ops`.
        is_own: what a call does itself, before, between or behind the calls it makes.
        macs, params, flops, layers: sums; `layers` counts the calls without parts.
        seconds: likewise; `None` where nothing was timed.
        mark: equal for pieces that do the same to tensors of the same shapes.
        level: how many pieces it lies in.
    """

    path: str
    kind: str
    row: int | None
    outputs: Ends = ()
    parts: list[Piece] = field(default_factory=list)
    ops: list[int] = field(default_factory=list)
    is_own: bool = False
    macs: int = 0
    params: int = 0
    flops: int = 0
    layers: int = 0
    seconds: float | None = None
    mark: int = 0
    level: int = 0

    @property
    def is_called(self) -> bool:
        """Something is done in it, or comes out of it."""
        return bool(self.parts or self.ops or self.outputs or self.is_own)

    def walk(self) -> Iterator[Piece]:
        """Itself and all pieces in it, in order."""
        waiting = [self]
        while waiting:  # a model may be nested deeper than Python's calls
            piece = waiting.pop()
            yield piece
            waiting += reversed(piece.parts)

    def all_ops(self) -> Iterator[int]:
        for piece in self.walk():
            yield from piece.ops


def cut_pass(profile: Profile, seconds: Sequence[float | None] | None = None) -> Piece:
    """The whole pass as one piece; `seconds` are those of the own work of each row of `Profile.layers`."""
    layers, own = profile.layers, _collect_own_ops(profile)
    first = _find_first_ops(layers, own)
    pieces = [Piece(one.path, one.kind, row, one.outputs) for row, one in enumerate(layers)]
    children: list[list[Piece]] = [[] for _ in layers]
    for row, layer in enumerate(layers[1:], 1):
        children[layer.parent or 0].append(pieces[row])
    for row, piece in enumerate(pieces):
        times = None if seconds is None else seconds[row] or 0.0
        if children[row]:
            piece.parts = _interleave(profile, piece, children[row], own[row], first, times)
        else:
            piece.ops, piece.params, piece.layers, piece.seconds = own[row], layers[row].params, 1, times
    whole = pieces[0] if pieces else Piece("", profile.model, None)
    _sum_up(profile, whole)
    return whole


def _collect_own_ops(profile: Profile) -> list[list[int]]:
    """The forward ops of each row's own work."""
    own: list[list[int]] = [[] for _ in profile.layers]
    rows = profile.call_rows
    for index, op in enumerate(profile.ops):
        if op.phase == "forward":
            own[rows[op.call]].append(index)
    return own


def _find_first_ops(layers: Sequence[Layer], own: Sequence[Sequence[int]]) -> list[int | None]:
    """The first op of each row with all that it calls."""
    first = [ops[0] if ops else None for ops in own]
    for row in range(len(layers) - 1, 0, -1):
        above, here = layers[row].parent or 0, first[row]
        known = first[above]
        if here is not None and (known is None or here < known):
            first[above] = here
    return first


def _interleave(
    profile: Profile,
    above: Piece,
    calls: Sequence[Piece],
    own: Sequence[int],
    first: Sequence[int | None],
    seconds: float | None,
) -> list[Piece]:
    """The calls that a call makes, with what it does itself between them; its own weights and time are in the first
    of those.
    """
    parts, at = list[Piece](), 0
    for call in calls:
        start = first[call.row] if call.row is not None else None
        stop = at
        while start is not None and stop < len(own) and own[stop] < start:
            stop += 1
        parts += _own_piece(profile, above, own[at:stop])
        parts.append(call)
        at = stop
    parts += _own_piece(profile, above, own[at:])
    assert above.row is not None
    params = profile.layers[above.row].params
    mine = next((part for part in parts if part.is_own), None)
    if mine is None and (params or seconds):
        mine = Piece(above.path, above.kind, above.row, is_own=True)
        parts.insert(0, mine)
    if mine is not None:
        mine.params, mine.seconds = params, seconds
    return parts


def _own_piece(profile: Profile, above: Piece, ops: Sequence[int]) -> list[Piece]:
    """One piece for these ops; none where they only rename what is there."""
    if all(profile.ops[index].status == "zero" and not profile.ops[index].bytes_moved for index in ops):
        return []
    heaviest = find_heaviest([profile.ops[index] for index in ops])
    kind = "" if heaviest is None else heaviest.name.removeprefix("aten.").strip("_")
    outputs = tuple(profile.tensors[index].spec for index in profile.ops[ops[-1]].outputs)
    return [Piece(above.path, kind, above.row, outputs, ops=list(ops), is_own=True)]


def _sum_up(profile: Profile, whole: Piece) -> None:
    """Sums, marks and levels of all pieces."""
    order, marks, known = [], dict[Any, int](), dict[int, int]()
    again = {layer.path for layer in profile.layers if layer.call}  # whose weights count at their first call alone
    for piece in whole.walk():
        order.append(piece)
        for part in piece.parts:
            part.level = piece.level + 1
    for piece in reversed(order):
        if piece.parts:
            add_parts(piece)
            did: tuple[Any, ...] = tuple(part.mark for part in piece.parts)
        else:
            ops = [profile.ops[index] for index in piece.ops]
            piece.macs, piece.flops = sum(op.macs or 0 for op in ops), sum(op.flops or 0 for op in ops)
            did = tuple(_number(op.signature, marks, known) for op in ops if op.status != "zero")
        shapes, held = tuple(spec.shape for spec in piece.outputs), 0 if piece.path in again else piece.params
        piece.mark = marks.setdefault((piece.kind, piece.is_own, shapes, held, did), len(marks))


def _number(signature: Signature, marks: dict[Any, int], known: dict[int, int]) -> int:
    """A number for what is computed on which shapes, however these lie in memory; most ops share the very object."""
    if id(signature) not in known:
        shapes = tuple(spec[:2] for spec in (*signature.inputs, *signature.outputs))
        did = (signature.name, shapes, signature.macs, signature.flops)
        known[id(signature)] = marks.setdefault(did, len(marks))
    return known[id(signature)]


def add_parts(piece: Piece) -> None:
    """Its sums from those of its parts."""
    for name in ("macs", "params", "flops", "layers"):
        setattr(piece, name, sum(getattr(part, name) for part in piece.parts))
    timed = [part.seconds for part in piece.parts if part.seconds is not None]
    piece.seconds = sum(timed) if timed else None


def make_run(pieces: Sequence[Piece]) -> Piece:
    """Neighbours as one piece."""
    run = Piece(pieces[0].path, "", None, pieces[-1].outputs, list(pieces), level=pieces[0].level)
    add_parts(run)
    run.mark = -1
    return run
