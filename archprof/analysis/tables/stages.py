"""Stages: the runs of work between changes of spatial size.

A stage says which part of a network works at which resolution, whatever its modules are called. An op belongs to the
stage of its own output, and what a module holds to that of the first op that reads it: a call whose ops make maps of
several sizes, such as a model that pools in its own forward, has a part in each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING

from archprof.analysis.counts import Counts, sum_counts
from archprof.analysis.tables.call_tree import ROOT_LABEL
from archprof.analysis.tables.columns import CountedLine
from archprof.facts.records import Profile
from archprof.wording import show_shape

if TYPE_CHECKING:
    from archprof.analysis.tables.named_dims import Size
    from archprof.analysis.tables.stage_parts import WorkPart

NOT_READ = "not read"


@dataclass(slots=True)
class StageRun:
    """Consecutive work at one spatial size; `size` is `None` before the first tensor and for what no op read."""

    size: Size | None
    parts: list[WorkPart] = field(default_factory=list)
    is_read: bool = True

    @property
    def name(self) -> str:
        return _named(self.size) if self.is_read else NOT_READ

    @property
    def positions(self) -> int | None:
        """Positions of its maps: 3136 for 56x56, 1 for a vector; `None` where no size is known."""
        return None if self.size is None else math.prod(self.size)

    @property
    def counts(self) -> Counts:
        return sum_counts(part.counts for part in self.parts)


def find_stage_runs(profile: Profile, own: Sequence[Counts], rows: Sequence[int]) -> list[StageRun]:
    """The stages in order, what no op read last. Together they are all that `rows` did; the others did nothing."""
    from archprof.analysis.tables.stage_parts import split_work

    shown = set(rows)
    parts = [part for part in split_work(profile, own) if part.row in shown]
    return [
        StageRun(None if run is None else run.size, list(found), is_read=run is not None)
        for run, found in groupby(parts, key=lambda part: part.run)
    ]


def build_stage_lines(profile: Profile, own: Sequence[Counts], rows: Sequence[int]) -> list[CountedLine]:
    """One line for each stage."""
    failed, sizeless = frozenset(profile.list_stopped_rows()), frozenset(profile.list_unsized_rows())
    lines = []
    for run in _uncrossed(find_stage_runs(profile, own, rows)):
        ends = run.parts[0].row, max(part.row for part in run.parts)
        first, last = (profile.layers[row].path or ROOT_LABEL for row in ends)
        facts = {"stage": run.name, "first": first, "last": last}
        stopped, unsized = (any(part.row in rows and part.is_main for part in run.parts) for rows in (failed, sizeless))
        lines.append(CountedLine(name=run.name, counts=run.counts, facts=facts, stopped=stopped, unsized=unsized))
    return lines


@dataclass(frozen=True, slots=True)
class Stage:
    """What works at one spatial size, in the order in which the work ends.

    Attributes:
        name: the size, as "56x56".
        counts_by_row: what each row did here, by its index in `Profile.layers`.
        counts: their sum.
        ops: indices into `Profile.ops`, in order.
        positions: of its maps; `None` where no size is known.
        macs_share: of the model's MACs.
        axes: 2 for maps, 1 for a sequence, 0 for a vector.
    """

    name: str
    counts_by_row: dict[int, Counts]
    counts: Counts
    ops: tuple[int, ...]
    positions: int | None
    macs_share: float
    axes: int = 0

    @property
    def rows(self) -> tuple[int, ...]:
        """Indices into `Profile.layers`."""
        return tuple(self.counts_by_row)


def find_stages(profile: Profile, own: Sequence[Counts], rows: Sequence[int]) -> list[Stage]:
    """The stages as a comparison sees them: branches of a block that changes resolution are put together."""
    return [_make_stage(run, profile.totals.macs) for run in _uncrossed(find_stage_runs(profile, own, rows))]


def _make_stage(run: StageRun, macs: int) -> Stage:
    by_row: dict[int, Counts] = {}
    for part in run.parts:
        by_row[part.row] = sum_counts((by_row[part.row], part.counts)) if part.row in by_row else part.counts
    ops, counts = tuple(sorted(index for part in run.parts for index in part.ops)), run.counts
    share, axes = counts.macs / macs if macs else 0.0, len(run.size or ())
    return Stage(run.name, by_row, counts, ops, run.positions, share, axes)


def _uncrossed(runs: Sequence[StageRun]) -> list[StageRun]:
    """Where a block changes resolution, its branches run one after the other: 56, 28, 56, 28 is 56 and then 28."""
    kept: list[StageRun] = []
    for run in runs:
        if len(kept) > 2 and (kept[-3].name, kept[-2].name) == (kept[-1].name, run.name):
            early, shortcut, late = kept[-3:]
            early.parts += late.parts
            shortcut.parts += run.parts
            kept[-3:] = [replace(early, size=late.size), replace(shortcut, size=run.size)]
        else:
            kept.append(run)
    return kept


def _named(size: Size | None) -> str:
    if size is None:
        return "no tensor"
    if len(size) == 1:
        return f"length {size[0]}"
    return show_shape(size, "vector")
