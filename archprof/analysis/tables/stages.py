"""Stages: the runs of layers between changes of spatial size.

A stage says which part of a network works at which resolution, whatever its modules are called.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from archprof.analysis.counts import Counts, sum_counts
from archprof.analysis.tables.columns import CountedLine
from archprof.facts.records import Layer, Profile

Size = tuple[int, ...]
"""Spatial size: (height, width), (tokens,), or () for a vector."""

NEVER_CALLED = "never called"


@dataclass(slots=True)
class StageRun:
    """Consecutive layers of one spatial size; `size` is `None` before the first tensor and for what never ran."""

    size: Size | None
    rows: list[int] = field(default_factory=list)
    called: bool = True

    @property
    def name(self) -> str:
        return _named(self.size) if self.called else NEVER_CALLED

    @property
    def positions(self) -> int | None:
        """Positions of its maps: 3136 for 56x56, 1 for a vector; `None` where no size is known."""
        return None if self.size is None else math.prod(self.size)


def find_stage_runs(profile: Profile, own: Sequence[Counts], rows: Sequence[int]) -> list[StageRun]:
    """The stages in the order of the calls, what was never called last; each of `rows` falls into exactly one."""
    layers, rows_of_calls = profile.layers, profile.call_rows
    calls = [i for i in rows if layers[i].call is not None]
    lengthwise = {rows_of_calls[op.call] for op in profile.ops if op.window and len(op.window.kernel) == 1}
    runs = _without_gates(_runs(layers, own, _by_end(layers, calls), lengthwise))
    idle = StageRun(None, [i for i in rows if layers[i].call is None], called=False)
    return [*runs, idle] if idle.rows else runs


def build_stage_lines(profile: Profile, own: Sequence[Counts], rows: Sequence[int]) -> list[CountedLine]:
    """One line for each stage."""
    layers, stopped, unsized = profile.layers, set(profile.list_stopped_rows()), set(profile.list_unsized_rows())
    return [
        CountedLine(
            name=run.name,
            counts=sum_counts(own[i] for i in run.rows),
            facts={"stage": run.name, "first": layers[run.rows[0]].path, "last": layers[max(run.rows)].path},
            stopped=not stopped.isdisjoint(run.rows),
            unsized=not unsized.isdisjoint(run.rows),
        )
        for run in find_stage_runs(profile, own, rows)
    ]


@dataclass(frozen=True, slots=True)
class Stage:
    """Rows that work at one spatial size, in the order in which their work ends.

    Attributes:
        name: the size, as "56x56".
        rows: indices into `Profile.layers`.
        counts: their sum.
        positions: of its maps; `None` where no size is known.
        macs_share: of the model's MACs.
    """

    name: str
    rows: tuple[int, ...]
    counts: Counts
    positions: int | None
    macs_share: float


def find_stages(profile: Profile, own: Sequence[Counts], rows: Sequence[int]) -> list[Stage]:
    """The stages as a comparison sees them: branches of a block that changes resolution are put together."""
    macs = profile.totals.macs
    counted = [(run, sum_counts(own[i] for i in run.rows)) for run in _uncrossed(find_stage_runs(profile, own, rows))]
    return [
        Stage(run.name, tuple(run.rows), counts, run.positions, counts.macs / macs if macs else 0.0)
        for run, counts in counted
    ]


def _uncrossed(runs: Sequence[StageRun]) -> list[StageRun]:
    """Where a block changes resolution, its branches run one after the other: 56, 28, 56, 28 is 56 and then 28."""
    kept: list[StageRun] = []
    for run in runs:
        if len(kept) > 2 and (kept[-3].name, kept[-2].name) == (kept[-1].name, run.name):
            early, shortcut, late = kept[-3:]
            kept[-3:] = [StageRun(late.size, early.rows + late.rows), StageRun(run.size, shortcut.rows + run.rows)]
        else:
            kept.append(run)
    return kept


def _by_end(layers: Sequence[Layer], rows: Sequence[int]) -> list[tuple[int, bool]]:
    """The rows in the order in which their work ends, and whether they are leaves.

    A container's own work (a residual add, say) comes after that of its parts, so it follows its last part.
    """
    ordered: list[tuple[int, bool]] = []
    waiting: list[int] = []
    for index in rows:
        while waiting and layers[waiting[-1]].depth >= layers[index].depth:
            ordered.append((waiting.pop(), False))
        if index + 1 < len(layers) and layers[index + 1].depth > layers[index].depth:
            waiting.append(index)
        else:
            ordered.append((index, True))
    return ordered + [(index, False) for index in reversed(waiting)]


def _runs(
    layers: Sequence[Layer], own: Sequence[Counts], rows: Sequence[tuple[int, bool]], lengthwise: set[int]
) -> list[StageRun]:
    """A leaf that does work at another size starts a new run; anything else joins the one that is going on."""
    runs: list[StageRun] = []
    for index, leaf in rows:
        size = runs[-1].size if runs else None
        if leaf and _works(own[index]) and layers[index].outputs:
            size = _size(layers[index].outputs[0].shape, size, index in lengthwise)
        if not runs or (size != runs[-1].size and runs[-1].size is not None):
            runs.append(StageRun(size))
        runs[-1].size = size
        runs[-1].rows.append(index)
    return runs


def _works(counts: Counts) -> bool:
    """Not an Identity, a Flatten or a Dropout in eval mode: these start no stage."""
    return bool(counts.flops or counts.activation or counts.params or counts.unknown)


def _size(shape: tuple[int, ...], current: Size | None, lengthwise: bool) -> Size:
    """The spatial size of an output of this shape, where the run so far has `current`.

    Channels may come first or last, and the shape alone does not tell: the reading that stays at `current` wins;
    else (batch, channels, length) after a 1-d convolution, (batch, tokens, channels) otherwise; and with more
    dimensions channels come first, but for square maps with channels last, as (1, 28, 28, 384).
    """
    if len(shape) < 3:
        return ()
    first, last = shape[2:], shape[1:-1]
    if current in (first, last):
        return current or ()
    if len(shape) == 3:
        return first if lengthwise else last
    return last if len(set(last)) == 1 < len(set(first)) else first


def _without_gates(runs: list[StageRun]) -> list[StageRun]:
    """A run that looks at the whole map as one vector and then goes on at the same size is no stage of its own:
    squeeze-and-excitation."""
    kept: list[StageRun] = []
    for run in runs:
        if len(kept) > 1 and run.size == kept[-2].size and not _spatial(kept[-1].size) and _spatial(run.size):
            kept[-2].rows += kept.pop().rows + run.rows
        else:
            kept.append(run)
    return kept


def _spatial(size: Size | None) -> bool:
    return size is not None and any(extent > 1 for extent in size)


def _named(size: Size | None) -> str:
    if size is None:
        return "no tensor"
    if len(size) == 1:
        return f"length {size[0]}"
    return "x".join(map(str, size)) or "vector"
