"""From the time of compiled kernels to rows: each kernel's time, split over the calls whose ops went into it.

That is an attribution and no measurement: inside a kernel nobody can tell where the time went. The bytes that the ops
would move by themselves decide, since what is fused is mostly bound by memory. A layer's bytes are those of its ops in
the counted pass, so that it does not matter into how many small ops the compiler took one apart; where they went into
several kernels, each has the part that the small ops in it move.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch

from archprof.facts.records import Phase, Profile
from archprof.measuring.boundaries import FREE, Mark, Overhead
from archprof.measuring.compiled import kernel_border
from archprof.measuring.live_model import Stage, Subject
from archprof.measuring.protocols import ACCUMULATION, OPTIMIZER, OUTSIDE, UNATTRIBUTED, Clock, Marker, Row

ATTRIBUTED = (
    "attributed: compiled code knows no layers. The time of each compiled kernel was measured, and split over the "
    "calls whose ops went into it by the bytes that these ops move."
)

BORDERS = 1000
"""From so many the cost of a mark is taken."""

NO_KERNEL = (
    "{count} rows have ops that were found in no kernel, the first is {first}: the compiler left them out, or their "
    "time stands under (unattributed)."
)

Bytes = Mapping[tuple[Row, Phase], int]
"""What the ops of each row move, by the counted pass."""


class Piece(NamedTuple):
    """One kernel of compiled code, generated or of a library.

    Attributes:
        phase: of the graph that it is in.
        moved: bytes that the ops in it move, by the row of their call; `UNATTRIBUTED`: of no call that is known.
    """

    name: str
    phase: Phase
    moved: Mapping[Row, int]


def counted(profile: Profile) -> Bytes:
    """Bytes by row and phase."""
    found: Counter[tuple[Row, Phase]] = Counter()
    for op in profile.ops:
        layer = profile.layers[op.layer]
        found[(layer.path, layer.call), op.phase] += op.bytes_read + op.bytes_written
    return found


def shares(pieces: Sequence[Piece], nbytes: Bytes) -> list[dict[Row, float]]:
    """What part of each kernel's time is whose; the parts of one kernel sum to 1."""
    totals: Counter[tuple[Row, Phase]] = Counter()
    for piece in pieces:
        for row, moved in piece.moved.items():
            totals[row, piece.phase] += moved
    return [_shares(piece, totals, nbytes) for piece in pieces]


def _shares(piece: Piece, totals: Bytes, nbytes: Bytes) -> dict[Row, float]:
    if len(piece.moved) == 1:
        return dict.fromkeys(piece.moved, 1.0)
    weights = {
        row: moved / totals[row, piece.phase] * (nbytes.get((row, piece.phase)) or totals[row, piece.phase])
        for row, moved in piece.moved.items()
        if moved
    }
    total = sum(weights.values())
    return {row: weight / total for row, weight in weights.items()} if total else {UNATTRIBUTED: 1.0}


STAGES: Mapping[Stage, Row | None] = {
    "outside": OUTSIDE, "forward": UNATTRIBUTED, "backward": ACCUMULATION, "optimizer": OPTIMIZER, "end": None,
}  # fmt: skip
"""Whose the time is outside of compiled graphs; in the forward pass those are guards and wrappers."""


class FusedRows:
    """The rows that a compiled model's time may be charged to; stands in for `marks.Rows`.

    Attributes:
        called: the rows of the profile that were called, in order.
        subject: runs the compiled code that tells its borders.
        shares: what part of each kernel's time is whose.
        known: the time of some kernel has a row.
        notes: what the reader must know.
    """

    attributed = True

    def __init__(self, profile: Profile, pieces: Sequence[Piece], subject: Subject) -> None:
        calls = [(layer.path, layer.call) for layer in profile.layers if layer.call is not None]
        self.called: tuple[Row, ...] = tuple(calls)
        self.subject = subject
        nbytes = counted(profile)
        self.shares = dict(zip(map(_kernel, range(len(pieces))), shares(pieces, nbytes), strict=True))
        found = {row for share in self.shares.values() for row in share}
        self.known = bool(found & set(self.called))
        lost = [row for row in self.called if row not in found and _works(row, nbytes)]
        self.notes = [ATTRIBUTED]
        if lost:
            self.notes.append(NO_KERNEL.format(count=len(lost), first=lost[0][0] or "the model itself"))

    def walked(self, subject: Subject, clock: Marker, *, nodes: bool = True) -> Sequence[Mark]:
        """The marks of one pass, whose rows are kernels. It runs the marked code, whichever subject is given."""
        walk = _Walk(clock)
        with kernel_border.heard(walk.passes):
            self.subject.run(walk.begins)
        return walk.marks

    def booked(self, own: Mapping[Row, float]) -> dict[Row, float]:
        """Seconds by kernel -> seconds by row; those of nobody are left out, for what is left of the whole to hold."""
        booked: dict[Row, float] = defaultdict(float, dict.fromkeys(self.called, 0.0))
        for row, seconds in own.items():
            for owner, share in self.shares.get(row, {row: 1.0}).items():
                booked[owner] += share * seconds
        booked.pop(UNATTRIBUTED, None)
        return dict(booked)


class _Walk:
    """The marks of one pass, while it runs."""

    def __init__(self, clock: Marker) -> None:
        self.clock, self.marks = clock, list[Mark]()
        self.stage: Row | None = None

    def begins(self, stage: Stage, loss: torch.Tensor | None) -> None:
        self.stage = STAGES[stage]
        self.marks.append(Mark(self.stage, "stage", self.clock.mark()))

    def passes(self, number: int) -> None:
        row = self.stage if number == kernel_border.END else _kernel(number)
        self.marks.append(Mark(row, "call", self.clock.mark()))


def cost_of_borders(clock: Clock) -> Overhead:
    """Seconds that one mark adds to a pass: many borders, with nothing in between."""
    walk = _Walk(clock)
    with kernel_border.heard(walk.passes):
        for number in range(BORDERS):
            kernel_border.passed(number)
    clock.settle()
    stretches = [clock.seconds(a.handle, b.handle) for a, b in pairwise(walk.marks)]
    return dict.fromkeys(FREE, statistics.median(stretches))


def _kernel(number: int) -> Row:
    """The row that stands for a kernel until its time is split."""
    return f"(kernel {number})", None


def _works(row: Row, nbytes: Bytes) -> bool:
    return any(nbytes.get((row, phase)) for phase in ("forward", "backward"))
