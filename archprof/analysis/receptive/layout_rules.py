"""Rules of ops that choose positions, or put dimensions into another order or shape."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod

from archprof.analysis.receptive import spans
from archprof.analysis.receptive.positions import (
    Factor,
    OpStep,
    PositionState,
    broadcast_state,
    collect_spans,
    find_axes,
    hold_position,
    map_spans,
    mix_states,
)
from archprof.analysis.receptive.spans import InputAxis


def follow_slice(step: OpStep) -> PositionState:
    dim, length = step.dim(1), step.shapes[0][step.dim(1)]
    start = step.arg(2, 0)
    start = max(start + length, 0) if start < 0 else start
    return map_spans(
        step,
        step.states[0],
        [dim],
        lambda i, span, n: spans.shift_span(span, start, step.arg(4, 1)),
        step.out_shapes[0],
    )


def follow_select(step: OpStep) -> PositionState:
    dim = step.dim(1)
    return select_position(step, dim, step.arg(2, 0) % step.shapes[0][dim])


def follow_unbind(step: OpStep) -> list[PositionState]:
    dim = step.dim(1)
    return [select_position(step, dim, index) for index in range(len(step.out_shapes))]


def select_position(step: OpStep, dim: int, index: int) -> PositionState:
    one = (*step.shapes[0][:dim], 1, *step.shapes[0][dim + 1 :])
    state = map_spans(step, step.states[0], [dim], lambda i, span, n: spans.shift_span(span, index), one)
    return remove_dimensions(step, state, [dim])


def follow_split(step: OpStep) -> list[PositionState]:
    dim, made = step.dim(2), []
    starts = [0, *accumulate(shape[dim] for shape in step.out_shapes)]
    for shape, start in zip(step.out_shapes, starts, strict=False):
        made.append(map_spans(step, step.states[0], [dim], lambda i, span, n: spans.shift_span(span, start), shape))  # noqa: B023
    return made


def follow_permute(step: OpStep) -> PositionState:
    state = step.states[0]
    return state._replace(dims=tuple(state.dims[dim] for dim in step.op.args[1]))


def follow_transpose(step: OpStep) -> PositionState:
    state, order = step.states[0], list(range(step.rank))
    a, b = (step.dim(1), step.dim(2)) if step.op.args else (0, step.rank - 1)  # aten.t names no dimensions
    order[a], order[b] = order[b], order[a]
    return state._replace(dims=tuple(state.dims[dim] for dim in order))


def insert_dimension(state: PositionState, dim: int) -> PositionState:
    return state._replace(dims=(*state.dims[:dim], (Factor(1),), *state.dims[dim:]))


def follow_unsqueeze(step: OpStep) -> PositionState:
    return insert_dimension(step.states[0], step.arg(1, 0) % (step.rank + 1))


def follow_squeeze(step: OpStep) -> PositionState:
    asked = step.op.args[1] if len(step.op.args) > 1 else range(step.rank)
    named = {dim % step.rank for dim in ([asked] if isinstance(asked, int) else asked)}
    return remove_dimensions(step, step.states[0], [dim for dim in sorted(named) if step.shapes[0][dim] == 1])


def remove_dimensions(step: OpStep, state: PositionState, gone: Sequence[int]) -> PositionState:
    """Without dimensions of length 1; the position that each had is held."""
    for dim in gone:
        for span in collect_spans([state.dims[dim]]):
            state = hold_position(step, state, span)
    return state._replace(dims=tuple(dim for i, dim in enumerate(state.dims) if i not in gone))


def follow_view(step: OpStep) -> PositionState:
    """The factors of all dimensions, dealt out anew. One that sees positions and has to be split is lost."""
    state, out = step.states[0], step.out_shapes[0]
    queue: list[Factor] = []
    for factor in (factor for dim in state.dims for factor in dim):
        if factor.length == 1:
            state = hold_position(step, state, factor.span) if factor.span else state
        elif queue and not factor.span and not queue[-1].span:
            queue[-1] = Factor(queue[-1].length * factor.length)
        else:
            queue.append(factor)
    if prod(out) != prod(step.shapes[0]):  # read as another dtype
        return mix_states(step, step.op.name)
    queue.reverse()
    dims, split = [], set[InputAxis]()
    for wanted in out:
        dim: list[Factor] = []
        while wanted > 1:
            factor = queue.pop()
            if wanted % factor.length and factor.length % wanted:
                return mix_states(step, "positions dealt out anew by a view")
            if factor.length > wanted:
                split |= {factor.span.axis} if factor.span else set()
                queue.append(Factor(factor.length // wanted))
                factor = Factor(wanted)
            dim.append(factor)
            wanted //= factor.length
        dims.append(tuple(dim) or (Factor(1),))
    return step.mark_lost(state._replace(dims=tuple(dims)), split, "positions split into blocks by a view")


def follow_expand(step: OpStep) -> PositionState:
    return broadcast_state(step, step.states[0], step.out_shapes[0])


def follow_repeat(step: OpStep) -> PositionState:
    state, out = step.states[0], step.out_shapes[0]
    grown = [i for i, n in enumerate(step.shapes[0], start=len(out) - step.rank) if n != out[i]]
    state = broadcast_state(step, state, out[: len(out) - step.rank] + step.shapes[0])
    gone = find_axes(state.dims[dim] for dim in grown)
    made = state._replace(dims=tuple((Factor(out[i]),) if i in grown else dim for i, dim in enumerate(state.dims)))
    return step.mark_lost(made, gone, "positions repeated")
