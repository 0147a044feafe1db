"""Where the positions of one tensor lie in the input, and what can happen to them.

Positions are joined over everything else: the field of a position is that of all its channels together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from math import prod
from typing import NamedTuple

from archprof.analysis.receptive import spans
from archprof.analysis.receptive.spans import InputAxis, PositionSpan
from archprof.facts.records import Op

Shape = tuple[int, ...]


class Factor(NamedTuple):
    """Part of a tensor dimension: its length, and what its positions see (`None`: they are no input positions)."""

    length: int
    span: PositionSpan | None = None


Dim = tuple[Factor, ...]
"""A tensor dimension, the slowest factor first: a view may merge height and width into one."""


class Loss(NamedTuple):
    """The first op, by its number, after which the positions along an axis are not told apart any more."""

    op: int
    reason: str


class PositionState(NamedTuple):
    """What the positions of one tensor see.

    Attributes:
        dims: one per tensor dimension.
        held: of axes along which the tensor holds one position, without a dimension for it.
        lost: of axes that were mixed globally, or that a rule could not follow.
        apart: channels hold neighbouring positions, each its own, and were not mixed since.
    """

    dims: tuple[Dim, ...]
    held: dict[InputAxis, PositionSpan] = {}  # noqa: RUF012 - never changed
    lost: dict[InputAxis, Loss] = {}  # noqa: RUF012
    apart: bool = False

    def axes(self) -> set[InputAxis]:
        """Every axis of which the tensor still tells positions apart."""
        return find_axes(self.dims) | set(self.held)


class OpStep(NamedTuple):
    """One op with what its tensors are.

    Attributes:
        number: of the op in the profile.
        op: its record.
        layer_name: the layer it ran in, as a reader knows it.
        states, shapes: of its inputs.
        out_shapes: the shapes of its outputs.
        reads_buffers: some of its inputs are buffers of the model.
    """

    number: int
    op: Op
    layer_name: str
    states: list[PositionState]
    shapes: list[Shape]
    out_shapes: list[Shape]
    reads_buffers: bool = False

    @property
    def rank(self) -> int:
        return len(self.shapes[0])

    def arg(self, index: int, default: int) -> int:
        """An integer argument that may have been left to its default."""
        value = self.op.args[index] if len(self.op.args) > index else None
        return default if value is None else int(value)

    def dim(self, index: int, default: int = 0) -> int:
        """An argument that names a dimension of the first input, counted from the front."""
        return self.arg(index, default) % self.rank

    def mark_lost(self, state: PositionState, axes: Iterable[InputAxis], what: str) -> PositionState:
        """The state with those axes lost; whichever op lost them first is named."""
        return state._replace(
            lost=_first(state.lost, dict.fromkeys(axes, Loss(self.number, f"{what} in {self.layer_name}")))
        )


def collect_spans(dims: Iterable[Dim]) -> list[PositionSpan]:
    return [factor.span for dim in dims for factor in dim if factor.span]


def find_axes(dims: Iterable[Dim]) -> set[InputAxis]:
    """The axes of which these dimensions see something."""
    return {span.axis for span in collect_spans(dims)}


def constant_state(shape: Shape) -> PositionState:
    """Of a tensor that does not depend on the input."""
    return PositionState(tuple((Factor(n),) for n in shape))


def input_state(shape: Shape, number: int) -> PositionState:
    """Of an input: each dimension but the batch is an axis."""
    return PositionState(
        tuple((Factor(n, PositionSpan(InputAxis(number, dim)) if dim else None),) for dim, n in enumerate(shape))
    )


def mix_states(step: OpStep, what: str, shape: Shape | None = None) -> PositionState:
    """All that the inputs told apart is lost."""
    state = constant_state(step.out_shapes[0] if shape is None and step.out_shapes else shape or ())
    state = state._replace(lost=reduce(_first, (each.lost for each in step.states), {}))
    return step.mark_lost(state, set().union(*(each.axes() for each in step.states)), what)


def _first(a: dict[InputAxis, Loss], b: dict[InputAxis, Loss]) -> dict[InputAxis, Loss]:
    if not a or not b:
        return a or b
    return {axis: min(x for x in (a.get(axis), b.get(axis)) if x) for axis in a | b}


def forget_spans(dims: tuple[Dim, ...], keep: Iterable[int] | None = None) -> tuple[Dim, ...]:
    """The dimensions (or those of them) without what they see."""
    chosen = range(len(dims)) if keep is None else set(keep)
    return tuple((Factor(prod(f.length for f in dim)),) if i in chosen else dim for i, dim in enumerate(dims))


def _single(dim: Dim) -> Factor | None:
    """A dimension as one factor; `None` where its positions do not follow one another evenly in the input."""
    seen = [factor.span for factor in dim if factor.length > 1 or factor.span]
    if not any(seen):
        return Factor(prod(factor.length for factor in dim))
    if seen[0] is None or any(seen[1:]):
        return None
    times = prod(factor.length for factor in dim[1:])
    return Factor(prod(factor.length for factor in dim), spans.repeat_span(seen[0], times) if times > 1 else seen[0])


def map_spans(
    step: OpStep,
    state: PositionState,
    dims: Iterable[int],
    change: Callable[[int, PositionSpan, int], PositionSpan],
    outs: Shape,
) -> PositionState:
    """The state after `change(number, span, length)` of what those dimensions see; all have the lengths of `outs`."""
    new, uneven = list(state.dims), set[InputAxis]()
    for number, dim in enumerate(dims):
        factor = _single(state.dims[dim])
        if factor is None:
            uneven |= find_axes([state.dims[dim]])
        span = factor.span if factor else None
        new[dim] = (Factor(outs[dim], change(number, span, factor.length) if factor and span else None),)
    return step.mark_lost(
        state._replace(dims=tuple(new)),
        uneven,
        MERGED_REASONS.get(step.op.name, f"{step.op.name} over a merged dimension"),
    )


MERGED_REASONS = {"aten.cat": "positions put in a row with others"}


def hold_position(step: OpStep, state: PositionState, span: PositionSpan) -> PositionState:
    """The tensor holds one position along a dimension that is gone."""
    if span.axis in state.held:
        return step.mark_lost(state, [span.axis], "positions seen twice")
    return state._replace(held={**state.held, span.axis: span})


def absorb_losses(step: OpStep, state: PositionState, others: Sequence[PositionState], what: str) -> PositionState:
    """What others tell apart is lost, and what they have lost: weights or indices that depend on the input."""
    state = state._replace(lost=reduce(_first, (other.lost for other in others), state.lost))
    return step.mark_lost(state, set().union(*(other.axes() for other in others)), what)


# Joining tensors position by position


def overlay_states(step: OpStep, states: Sequence[PositionState], shape: Shape) -> PositionState:
    """Tensors laid over each other, each broadcast to `shape`."""
    return reduce(lambda a, b: _pair(step, a, b, shape), (broadcast_state(step, state, shape) for state in states))


def broadcast_state(step: OpStep, state: PositionState, shape: Shape) -> PositionState:
    """The state in the rank of `shape`; a dimension of length 1 that grows holds the position it had."""
    dims = list(((),) * (len(shape) - len(state.dims)) + state.dims)
    for i, (dim, n) in enumerate(zip(dims, shape, strict=True)):
        if prod(factor.length for factor in dim) != n:
            for span in collect_spans([dim]):
                state = hold_position(step, state, span)
            dims[i] = (Factor(n),)
    return state._replace(dims=tuple(dims))


def _pair(step: OpStep, a: PositionState, b: PositionState, shape: Shape) -> PositionState:
    dims, clash = [], set[InputAxis]()
    for x, y, n in zip(a.dims, b.dims, shape, strict=True):
        dim, lost = _pair_dims(x, y, n)
        dims.append(dim)
        clash |= lost
    held = {
        **a.held,
        **b.held,
        **{k: spans.unite_spans(a.held[k], b.held[k], 1) for k in a.held.keys() & b.held.keys()},
    }
    for i, dim in enumerate(dims):
        for span in collect_spans([dim]):
            if span.axis in held and shape[i] == 1:
                held[span.axis], dims[i] = spans.unite_spans(held[span.axis], span, 1), (Factor(1),)
            elif span.axis in held:
                clash.add(span.axis)
    return step.mark_lost(
        PositionState(tuple(dims), held, _first(a.lost, b.lost), a.apart or b.apart),
        clash,
        f"{step.op.name} of different positions",
    )


def _pair_dims(x: Dim, y: Dim, length: int) -> tuple[Dim, set[InputAxis]]:
    """Two dimensions laid over each other, and the axes that cannot be told apart any more."""
    if x == y or not collect_spans([y]):
        return x, set()
    if not collect_spans([x]):
        return y, set()
    if [factor.length for factor in x] != [factor.length for factor in y]:
        one, other = _single(x), _single(y)
        if one is None or other is None:
            return x, find_axes([x, y])
        x, y = (one,), (other,)
    clash, dim = set[InputAxis](), []
    for f, g in zip(x, y, strict=True):
        if f.span and g.span and f.span.axis != g.span.axis:
            clash |= {f.span.axis, g.span.axis}
            dim.append(f)
        elif f.span and g.span:
            dim.append(Factor(f.length, spans.unite_spans(f.span, g.span, length)))
        else:
            dim.append(f if f.span else g)
    return tuple(dim), clash
