"""The bytes that are live along the pass, column by column, and where they are most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from archprof.analysis.network.columns import PieceColumn
from archprof.analysis.network.strip import LiveLane
from archprof.analysis.stretches import cut_stretches
from archprof.facts.records import Op, Profile
from archprof.facts.steps import build_shown_step, sum_step_bytes

CURVE_POINTS = 8
"""A column shows so many moments of its forward at most, the highest of each stretch."""


class LiveBytes(NamedTuple):
    """What is live while each op of the pass runs.

    Attributes:
        by_op: bytes, by index into `Profile.ops`; an op that is in no step is left out.
        weights: of these, the parameters and buffers.
        peak: the most.
        peak_op: where that is first; `None` where no op ran.
    """

    by_op: Mapping[int, int]
    weights: int
    peak: int
    peak_op: int | None


def measure_live_bytes(profile: Profile) -> LiveBytes:
    """Of a step that finds its state, where an optimizer was traced."""
    step = build_shown_step(profile)
    ops, live = step.ops, sum_step_bytes(profile, step)
    roles = ("parameter", "buffer")
    weights = sum(one.nbytes for one in profile.storages if one.role in roles and one.born is None)
    peak = max(live, default=0)
    where = ops[live.index(peak)] if ops else None
    return LiveBytes(dict(zip(ops, live, strict=False)), weights, peak, where)


def draw_live_lane(
    profile: Profile, live: LiveBytes, columns: Sequence[PieceColumn], column_of_op: Mapping[int, int], name: str
) -> LiveLane:
    """The lane of these columns; `name` is that of the layer at the peak."""
    rows = _columns_of_rows(columns)
    backward: list[int | None] = [None] * len(columns)
    for index, op in enumerate(profile.ops if profile.mode == "train" else ()):
        here = rows.get(profile.row_of(op)) if op.phase == "backward" else None
        if here is not None and index in live.by_op:
            backward[here] = max(backward[here] or 0, live.by_op[index])
    curves = []
    for column in columns:
        moments = [
            live.by_op[op] for op in sorted(op for piece in column.every for op in piece.all_ops()) if op in live.by_op
        ]
        stretches = cut_stretches(len(moments), CURVE_POINTS)
        curves.append(tuple([max(moments[at] for at in stretch) for stretch in stretches]))
    peak_op: Op | None = None if live.peak_op is None else profile.ops[live.peak_op]
    at = None if live.peak_op is None or peak_op is None else column_of_op.get(live.peak_op)
    if at is None and peak_op is not None:
        at = rows.get(profile.row_of(peak_op))
    phase = "forward" if peak_op is None else peak_op.phase
    return LiveLane(tuple(curves), tuple(backward), live.weights, live.peak, at, name, phase)


def _columns_of_rows(columns: Sequence[PieceColumn]) -> dict[int, int]:
    """The first column that has work of each row of the profile."""
    found: dict[int, int] = {}
    for at, column in enumerate(columns):
        for top in column.every:
            for piece in top.walk():
                if piece.row is not None:
                    found.setdefault(piece.row, at)
    return found
