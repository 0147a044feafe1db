"""Rules of ops that mix positions, along a dimension or all, and of those that make or copy."""

from __future__ import annotations

from archprof.analysis.receptive.positions import (
    Factor,
    OpStep,
    PositionState,
    absorb_losses,
    broadcast_state,
    constant_state,
    find_axes,
    mix_states,
    overlay_states,
)

MIXING_WORDS = {
    "aten.scaled_dot_product_attention": "attention",
    "higher_order.flex_attention": "attention",
    "aten._native_multi_head_attention": "attention",
    "aten._transformer_encoder_layer_fwd": "attention",
    "aten.lstm": "recurrence",
    "aten.gru": "recurrence",
    "aten.rnn_tanh": "recurrence",
    "aten.rnn_relu": "recurrence",
}
"""Ops that mix all positions, as a reader calls them."""


def follow_reduction(step: OpStep, index: int = 1) -> PositionState:
    """A mean, a sum, a maximum … over some dimensions."""
    state, named = step.states[0], step.op.args[index] if len(step.op.args) > index else None
    if not step.op.args and step.out_shapes[0]:
        return mix_states(step, step.op.name)
    dims = (
        {dim % step.rank for dim in ([named] if isinstance(named, int) else named or range(step.rank))}
        if step.rank
        else set()
    )
    gone = find_axes(state.dims[dim] for dim in dims)
    kept = len(step.out_shapes[0]) == step.rank
    left = tuple((Factor(1),) if i in dims else dim for i, dim in enumerate(state.dims) if kept or i not in dims)
    return step.mark_lost(
        state._replace(dims=left, apart=state.apart and bool(gone)),
        gone,
        POOLING_WORDS.get(step.op.name, f"{step.op.name} over positions"),
    )


POOLING_WORDS = {"aten.mean": "global average pooling", "aten.amax": "global max pooling"}


def follow_vector_norm(step: OpStep) -> PositionState:
    return follow_reduction(step, index=2)


def follow_along(step: OpStep) -> PositionState:
    """Softmax and running sums: positions along that dimension are mixed, and keep their places."""
    dim, state = step.dim(1), step.states[0]
    return step.mark_lost(state, find_axes([state.dims[dim]]), f"{step.op.name} over positions")


def follow_chosen(step: OpStep, index: int = 1) -> PositionState:
    """A sort, a flip, a transform along dimensions that an argument names: the others are as they were."""
    args, state, out = step.op.args, step.states[0], step.out_shapes[0]
    named = args[index] if len(args) > index else dict(step.op.signature.kwargs).get("dim", -1)
    dims = {dim % step.rank for dim in ([named] if isinstance(named, int) else named)} if step.rank else set()
    gone = find_axes(state.dims[dim] for dim in dims)
    left = tuple((Factor(out[i]),) if i in dims else dim for i, dim in enumerate(state.dims))
    return step.mark_lost(state._replace(dims=left), gone, f"{step.op.name} over positions")


def follow_topk(step: OpStep) -> PositionState:
    return follow_chosen(step, index=2)


def follow_complex(step: OpStep) -> PositionState:
    """`view_as_real`: the two parts of each number in a new dimension; `view_as_complex` takes it away."""
    state = step.states[0]
    grown = len(step.out_shapes[0]) > step.rank
    return state._replace(dims=(*state.dims, (Factor(2),)) if grown else state.dims[:-1])


def follow_layer_norm(step: OpStep) -> PositionState:
    state, over = step.states[0], len(step.op.args[1]) if len(step.op.args) > 1 else step.rank
    gone = find_axes(state.dims[step.rank - over :])
    return absorb_losses(
        step, step.mark_lost(state, gone, "layer norm over positions"), step.states[1:], "weights from the input"
    )


def follow_group_norm(step: OpStep) -> PositionState:
    gone = find_axes(step.states[0].dims[1:])
    return step.mark_lost(step.states[0], gone, "group norm over positions")


def follow_matmul(step: OpStep) -> PositionState:
    """Matrix products of stacks; a third tensor (`addmm`, `baddbmm`) comes first and is added."""
    if len(step.states) < 2:
        return mix_states(step, MIXING_WORDS.get(step.op.name, step.op.name))
    *added, a, b = step.states
    gone = find_axes([a.dims[-1], b.dims[-2]])
    out, lead = step.out_shapes[0], len(step.out_shapes[0]) - 2
    rows = a._replace(dims=(*a.dims[:lead], a.dims[-2], (Factor(1),)))
    columns = b._replace(dims=(*b.dims[:lead], (Factor(1),), b.dims[-1]))
    twice = find_axes([rows.dims[-2]]) & find_axes([columns.dims[-1]])
    made = step.mark_lost(
        overlay_states(step, [rows, columns, *added], out), twice, "product of positions with positions"
    )
    fixed = not (a.axes() and b.axes())
    return step.mark_lost(
        made._replace(apart=False), gone, "linear layer over positions" if fixed else "product over positions"
    )


def follow_batch_norm(step: OpStep) -> PositionState:
    """With running statistics (buffers), one scale per channel; without, they come from the positions themselves."""
    return step.states[0] if step.reads_buffers else follow_group_norm(step)


def follow_embedding(step: OpStep) -> PositionState:
    return step.states[1]._replace(dims=(*step.states[1].dims, (Factor(step.out_shapes[0][-1]),)))


def follow_gate(step: OpStep) -> PositionState:
    """`glu` halves one dimension, of channels unless positions are lost."""
    halved = next(dim for dim in range(step.rank) if step.shapes[0][dim] != step.out_shapes[0][dim])
    state = step.states[0]
    gone = find_axes([state.dims[halved]])
    made = state._replace(dims=(*state.dims[:halved], (Factor(step.out_shapes[0][halved]),), *state.dims[halved + 1 :]))
    return step.mark_lost(made, gone, "gates over positions")


def follow_creation(step: OpStep) -> PositionState:
    return constant_state(step.out_shapes[0])


def follow_copy(step: OpStep) -> PositionState:
    return broadcast_state(step, step.states[1], step.out_shapes[0])
