"""Tensors that are written in parts: padding by hand, and how torch pads circularly.

A part is what slices cut out of a tensor. A map written into the middle of something constant is that map with padding
around. A part that is then filled with another part of the same tensor goes on with the same map over the border.
"""

from __future__ import annotations

from typing import NamedTuple

from archprof.analysis.receptive import spans
from archprof.analysis.receptive.positions import OpStep, PositionState, Shape, collect_spans, map_spans


class Cut(NamedTuple):
    """Where a part lies: of which tensor, and from which position on in each dimension."""

    whole: int
    starts: tuple[int, ...]


class WrittenParts:
    """The parts of the tensors of a pass, by tensor."""

    def __init__(self) -> None:
        self._cuts: dict[int, Cut] = {}

    def note_slice(self, step: OpStep) -> None:
        """Remember what a slice without steps cut out."""
        if step.op.name != "aten.slice" or step.arg(4, 1) != 1:
            return
        source, dim = step.op.inputs[0], step.dim(1)
        whole, starts = self._cuts.get(source, Cut(source, (0,) * step.rank))
        length, start = step.shapes[0][dim], step.arg(2, 0)
        start = min(max(start + length if start < 0 else start, 0), length)
        self._cuts[step.op.outputs[0]] = Cut(whole, (*starts[:dim], starts[dim] + start, *starts[dim + 1 :]))

    def whole_of(self, part: int) -> int | None:
        """The tensor that a part was cut from; `None` of what is no part."""
        return self._cuts[part].whole if part in self._cuts else None

    def fill(self, step: OpStep, new: PositionState, old: PositionState, shape: Shape) -> PositionState | None:
        """The state of the whole once `new` was copied into a part of it; `None` where that is not followed.

        Args:
            new: of what was written.
            old: of the whole so far.
            shape: of the whole.
        """
        part, source = step.op.inputs[0], step.op.inputs[-1]
        cut = self._cuts[part]
        narrow = [dim for dim, n in enumerate(shape) if n != step.shapes[0][dim]]
        if narrow[:1] < [2]:
            return None  # some of the samples or of the channels
        if source in self._cuts and self._cuts[source].whole == cut.whole:
            return old if _go_on(old, new, narrow) else None
        if old.axes() or old.lost:
            return None
        return map_spans(step, new, narrow, lambda i, span, n: spans.shift_span(span, -cut.starts[narrow[i]]), shape)

    def cut_out(self, step: OpStep, part: int, whole: PositionState, shape: Shape) -> PositionState:
        """The state of a part of this shape, once that of the whole is known."""
        starts = self._cuts[part].starts
        return map_spans(step, whole, range(len(shape)), lambda i, span, n: spans.shift_span(span, starts[i]), shape)


def _go_on(old: PositionState, new: PositionState, dims: list[int]) -> bool:
    """Both see the input in the same steps and as widely along those dimensions."""
    pairs = [(collect_spans([old.dims[dim]]), collect_spans([new.dims[dim]])) for dim in dims]
    return all(
        [(one.axis, one.step, one.size) for one in a] == [(one.axis, one.step, one.size) for one in b] for a, b in pairs
    )
