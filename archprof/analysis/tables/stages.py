"""Stages: the runs of layers between changes of spatial size.

A stage says which part of a network works at which resolution, whatever its modules are called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from archprof.analysis.tables.columns import CountedLine, Counts, sum_counts
from archprof.facts.records import Layer, Profile

Size = tuple[int, ...]
"""Spatial size: (height, width), (tokens,), or () for a vector."""

NEVER_CALLED = "never called"


@dataclass(slots=True)
class StageRun:
    """Consecutive layers of one spatial size; `size` is `None` before the first tensor and for what never ran."""

    size: Size | None
    rows: list[int] = field(default_factory=list)


def build_stage_lines(profile: Profile, own: Sequence[Counts], rows: Sequence[int]) -> list[CountedLine]:
    """One line a stage, in the order of the calls; each of `rows` falls into exactly one."""
    layers, failed, rows_of_calls = profile.layers, profile.stopped_row, profile.call_rows
    calls = [i for i in rows if layers[i].call is not None]
    lengthwise = {rows_of_calls[op.call] for op in profile.ops if op.window and len(op.window.kernel) == 1}
    runs = _without_gates(_runs(layers, own, _by_end(layers, calls), lengthwise))
    idle = StageRun(None, [i for i in rows if layers[i].call is None])
    named = [(_named(run.size), run) for run in runs] + ([(NEVER_CALLED, idle)] if idle.rows else [])
    return [
        CountedLine(
            name=name,
            counts=sum_counts(own[i] for i in run.rows),
            facts={"stage": name, "first": layers[run.rows[0]].path, "last": layers[max(run.rows)].path},
            stopped=failed in run.rows,
        )
        for name, run in named
    ]


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
