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

from archprof.facts.overlays import Outside
from archprof.facts.records import Phase, Profile
from archprof.measuring.boundaries import NO_OVERHEAD, Mark, Overhead
from archprof.measuring.compiled import kernel_border
from archprof.measuring.live_model import LiveModel, PassStage
from archprof.measuring.protocols import Clock, Marker, RowKey, list_called_rows

ATTRIBUTED_NOTE = (
    "attributed: compiled code knows no layers. The time of each compiled kernel was measured, and split over the "
    "calls whose ops went into it by the bytes that these ops move."
)

BORDER_COUNT = 1000
"""From so many the cost of a mark is taken."""

NO_KERNEL_NOTE = (
    "{count} rows have ops that were found in no kernel, the first is {first}: the compiler left them out, or their "
    "time stands under (unattributed)."
)

BytesByRow = Mapping[tuple[RowKey, Phase], int]
"""What the ops of each row move, by the counted pass."""


class KernelWork(NamedTuple):
    """One kernel of compiled code, generated or of a library.

    Attributes:
        phase: of the graph that it is in.
        moved_by_row: bytes that the ops in it move, by the row of their call; `UNATTRIBUTED`: of no call that is known.
    """

    name: str
    phase: Phase
    moved_by_row: Mapping[RowKey, int]


def count_bytes_by_row(profile: Profile) -> BytesByRow:
    """Bytes by row and phase."""
    called, found = list_called_rows(profile), Counter[tuple[RowKey, Phase]]()
    for op in profile.ops:
        found[called[op.call], op.phase] += op.bytes_moved
    return found


def compute_shares(pieces: Sequence[KernelWork], nbytes: BytesByRow) -> list[dict[RowKey, float]]:
    """What part of each kernel's time is whose; the parts of one kernel sum to 1."""
    totals: Counter[tuple[RowKey, Phase]] = Counter()
    for piece in pieces:
        for row, moved in piece.moved_by_row.items():
            totals[row, piece.phase] += moved
    return [_share_kernel(piece, totals, nbytes) for piece in pieces]


def _share_kernel(piece: KernelWork, totals: BytesByRow, nbytes: BytesByRow) -> dict[RowKey, float]:
    if len(piece.moved_by_row) == 1:
        return dict.fromkeys(piece.moved_by_row, 1.0)
    weights = {
        row: moved / totals[row, piece.phase] * (nbytes.get((row, piece.phase)) or totals[row, piece.phase])
        for row, moved in piece.moved_by_row.items()
        if moved
    }
    total = sum(weights.values())
    return {row: weight / total for row, weight in weights.items()} if total else {Outside.UNATTRIBUTED: 1.0}


ROW_OUTSIDE_GRAPHS: Mapping[PassStage, RowKey | None] = {
    "outside": Outside.OUTSIDE_MODULES,
    "forward": Outside.UNATTRIBUTED,
    "backward": Outside.GRADIENT_ACCUMULATION,
    "optimizer": Outside.OPTIMIZER_STEP,
    "end": None,
}  # fmt: skip
"""Whose the time is outside of compiled graphs; in the forward pass those are guards and wrappers."""


class KernelMarking:
    """The rows that a compiled model's time may be charged to; a `Marking`.

    Attributes:
        called_rows: the rows of the profile that were called, in order.
        subject: runs the compiled code that tells its borders.
        shares_by_kernel: what part of each kernel's time is whose, by its number.
        knows_rows: the time of some kernel has a row.
        notes: what the reader must know.
    """

    attributed = True

    def __init__(self, profile: Profile, pieces: Sequence[KernelWork], subject: LiveModel) -> None:
        self.called_rows = list_called_rows(profile)
        self.subject = subject
        nbytes = count_bytes_by_row(profile)
        self.shares_by_kernel = compute_shares(pieces, nbytes)
        found = {row for share in self.shares_by_kernel for row in share}
        self.knows_rows = bool(found & set(self.called_rows))
        lost = [row for row in self.called_rows if row not in found and _moves_bytes(row, nbytes)]
        self.notes = [ATTRIBUTED_NOTE]
        if lost:
            self.notes.append(NO_KERNEL_NOTE.format(count=len(lost), first=lost[0][0] or "the model itself"))

    def run_with_marks(self, subject: LiveModel, clock: Marker, *, nodes: bool = True) -> Sequence[Mark]:
        """The marks of one pass, whose rows are kernels. It runs the marked code, whichever subject is given."""
        walk = _KernelTrail(clock)
        with kernel_border.listening(walk.kernel_begins):
            self.subject.run_pass(walk.begin_stage)
        return walk.marks

    def charge_to_rows(self, own: Mapping[RowKey, float]) -> dict[RowKey, float]:
        """Seconds by kernel -> seconds by row; those of nobody are left out, for what is left of the whole to hold."""
        booked: dict[RowKey, float] = defaultdict(float, dict.fromkeys(self.called_rows, 0.0))
        for row, seconds in own.items():
            shares = self.shares_by_kernel[row] if isinstance(row, int) else {row: 1.0}
            for owner, share in shares.items():
                booked[owner] += share * seconds
        booked.pop(Outside.UNATTRIBUTED, None)
        return dict(booked)


class _KernelTrail:
    """The marks of one pass, while it runs."""

    def __init__(self, clock: Marker) -> None:
        self.clock, self.marks = clock, list[Mark]()
        self.stage_row: RowKey | None = None

    def begin_stage(self, stage: PassStage, loss: torch.Tensor | None) -> None:
        self.stage_row = ROW_OUTSIDE_GRAPHS[stage]
        self.marks.append(Mark(self.stage_row, "stage", self.clock.mark()))

    def kernel_begins(self, number: int) -> None:
        row = self.stage_row if number == kernel_border.GRAPH_END else number
        self.marks.append(Mark(row, "call", self.clock.mark()))


def measure_border_cost(clock: Clock) -> Overhead:
    """Seconds that one mark adds to a pass: many borders, with nothing in between."""
    walk = _KernelTrail(clock)
    with kernel_border.listening(walk.kernel_begins):
        for number in range(BORDER_COUNT):
            kernel_border.kernel_begins(number)
    clock.settle()
    stretches = [clock.seconds(a.handle, b.handle) for a, b in pairwise(walk.marks)]
    return dict.fromkeys(NO_OVERHEAD, statistics.median(stretches))


def _moves_bytes(row: RowKey, nbytes: BytesByRow) -> bool:
    return any(nbytes.get((row, phase)) for phase in ("forward", "backward"))
