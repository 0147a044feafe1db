"""The rule of every op that moves, joins or mixes positions.

A rule that is not sure marks what it does not know as lost, with the reason; it never guesses a number. Normalisation
by the statistics of a batch (batch norm in training) is not followed, as everywhere in the literature; normalisation
of one sample over its positions is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import accumulate
from math import prod

from archprof.analysis.receptive import spans
from archprof.analysis.receptive.positions import (
    Factor,
    OpStep,
    PositionState,
    absorb_losses,
    broadcast_state,
    collect_spans,
    constant_state,
    forget_spans,
    hold_position,
    map_spans,
    mix_states,
    overlay_states,
)
from archprof.analysis.receptive.spans import InputAxis, PositionSpan

PositionRule = Callable[[OpStep], "PositionState | list[PositionState]"]


def follow_positions(step: OpStep) -> list[PositionState]:
    """What each output of an op sees."""
    name = step.op.name.removesuffix("_")
    rule = POSITION_RULES.get(name)
    if not step.out_shapes:
        return []
    if not any(state.axes() for state in step.states):
        made = mix_states(step, "")  # nothing to tell apart, whatever the op does
    elif rule is None or 0 in (n for shape in (*step.shapes, *step.out_shapes) for n in shape):
        made = mix_states(step, MIXING_WORDS.get(name, name))
    else:
        answer = rule(step)
        if isinstance(answer, list):
            return answer
        made = answer
    return [made if shape == step.out_shapes[0] else mix_states(step, name, shape) for shape in step.out_shapes]


def _elementwise(step: OpStep) -> PositionState:
    return overlay_states(step, step.states, step.out_shapes[0])


def _cat(step: OpStep) -> PositionState:
    pairs = [(state, shape) for state, shape in zip(step.states, step.shapes, strict=True) if shape != (0,)]
    out, dim = step.out_shapes[0], step.arg(1, 0) % len(step.out_shapes[0])
    starts = [0, *accumulate(shape[dim] for _, shape in pairs)]
    placed, with_positions = [], 0
    for (state, _), start in zip(pairs, starts, strict=False):
        with_positions += bool(collect_spans([state.dims[dim]]))
        placed.append(map_spans(step, state, [dim], lambda _, span, n: spans.shift_span(span, -start), out))  # noqa: B023
    made = overlay_states(step, placed, out)
    if with_positions > 1:
        made = step.mark_lost(
            made, {span.axis for span in collect_spans([made.dims[dim]])}, "positions put in a row with others"
        )
    return made


def _stack(step: OpStep) -> PositionState:
    dim = step.arg(1, 0) % len(step.out_shapes[0])
    return overlay_states(step, [_inserted(state, dim) for state in step.states], step.out_shapes[0])


# Sliding windows and resampling


def _convolution(step: OpStep) -> PositionState:
    state, window = step.states[0], step.op.window
    if window is None:
        return mix_states(step, step.op.name)
    lead = step.rank - len(window.kernel)

    def change(i: int, span: PositionSpan, length: int) -> PositionSpan:
        apply = spans.slide_transposed if window.transposed else spans.slide_window
        return apply(span, window.kernel[i], window.stride[i], window.padding[i], window.dilation[i])

    gone = {span.axis for span in collect_spans(state.dims[1:lead])}
    made = map_spans(step, state, range(lead, step.rank), change, step.out_shapes[0])
    made = made._replace(dims=(*made.dims[:1], *constant_state(step.out_shapes[0][1:lead]).dims, *made.dims[lead:]))
    made = step.mark_lost(made, gone, "positions taken as channels")
    return absorb_losses(step, made, step.states[1:], "weights made from the input")


def _pool(step: OpStep) -> PositionState:
    """As many of the last dimensions as the window has slide; the others stay."""
    window = step.op.window
    if window is None:
        return mix_states(step, step.op.name)
    lead = step.rank - len(window.kernel)

    def change(i: int, span: PositionSpan, length: int) -> PositionSpan:
        return spans.slide_window(span, window.kernel[i], window.stride[i], window.padding[i], window.dilation[i])

    return map_spans(step, step.states[0], range(lead, step.rank), change, step.out_shapes[0])


def _adaptive(step: OpStep) -> PositionState:
    out, sliding = step.out_shapes[0], int(step.op.name.rstrip("d")[-1])
    dims = range(step.rank - sliding, step.rank)
    whole = [dim for dim in dims if out[dim] == 1 < step.shapes[0][dim]]
    made = map_spans(step, step.states[0], dims, lambda i, span, n: spans.pool_adaptively(span, n, out[dims[i]]), out)
    kind = "average" if "avg" in step.op.name else "max"
    gone = {span.axis for dim in whole for span in collect_spans([step.states[0].dims[dim]])}
    return step.mark_lost(made._replace(dims=forget_spans(made.dims, whole)), gone, f"global {kind} pooling")


INTERPOLATION_REACH = {"nearest": (0, 0), "bicubic": (1, 2)}
"""Positions that an interpolation reads below and above; the linear ones read (0, 1)."""


def _upsample(step: OpStep) -> PositionState:
    name, out = step.op.name, step.out_shapes[0]
    nearest, exact = "nearest" in name, "exact" in name
    flags = [value for value in step.op.args if isinstance(value, bool)]
    scales = [value for value in step.op.args if isinstance(value, float)]
    reach = next((reach for kind, reach in INTERPOLATION_REACH.items() if kind in name), (0, 1))

    def change(i: int, span: PositionSpan, length: int) -> PositionSpan:
        ratio, half = Fraction(length, out[2 + i]), Fraction(1, 2)
        if flags[:1] == [True]:  # the corners lie on each other
            return spans.resample_span(span, Fraction(length - 1, max(out[2 + i] - 1, 1)), Fraction(0), reach)
        if len(scales) == step.rank - 2:
            ratio = (1 / Fraction(scales[i])).limit_denominator(1000)
        if nearest:
            offset = ratio / 2 if exact else Fraction(0)
            return spans.resample_span(span, ratio, offset, (0, 0))
        return spans.resample_span(span, ratio, ratio * half - half, reach)

    return map_spans(step, step.states[0], range(2, step.rank), change, out)


def _pixel_shuffle(step: OpStep) -> PositionState:
    times, last = step.arg(1, 1), range(step.rank - 2, step.rank)
    return _shuffled(
        step,
        map_spans(step, step.states[0], last, lambda i, span, n: spans.repeat_span(span, times), step.out_shapes[0]),
    )


def _pixel_unshuffle(step: OpStep) -> PositionState:
    times, last = step.arg(1, 1), range(step.rank - 2, step.rank)
    return _shuffled(
        step,
        map_spans(
            step, step.states[0], last, lambda i, span, n: spans.slide_window(span, times, times), step.out_shapes[0]
        ),
    )


def _shuffled(step: OpStep, state: PositionState) -> PositionState:
    """With as many channels as came out; positions along the channels that went in are lost."""
    gone = {span.axis for span in collect_spans(state.dims[-3:-2])}
    channels = constant_state(step.out_shapes[0][-3:-2]).dims
    return step.mark_lost(
        state._replace(dims=(*state.dims[:-3], *channels, *state.dims[-2:])), gone, "positions as channels"
    )


def _pad(step: OpStep) -> PositionState:
    pads = step.op.args[1] if len(step.op.args) > 1 else ()
    dims = [step.rank - 1 - i for i in range(len(pads) // 2)]
    return map_spans(
        step, step.states[0], dims, lambda i, span, n: spans.shift_span(span, -pads[2 * i]), step.out_shapes[0]
    )


# Choosing positions


def _slice(step: OpStep) -> PositionState:
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


def _select(step: OpStep) -> PositionState:
    dim = step.dim(1)
    return _selected(step, dim, step.arg(2, 0) % step.shapes[0][dim])


def _unbind(step: OpStep) -> list[PositionState]:
    dim = step.dim(1)
    return [_selected(step, dim, index) for index in range(len(step.out_shapes))]


def _selected(step: OpStep, dim: int, index: int) -> PositionState:
    one = (*step.shapes[0][:dim], 1, *step.shapes[0][dim + 1 :])
    state = map_spans(step, step.states[0], [dim], lambda i, span, n: spans.shift_span(span, index), one)
    return _removed(step, state, [dim])


def _split(step: OpStep) -> list[PositionState]:
    dim, made = step.dim(2), []
    starts = [0, *accumulate(shape[dim] for shape in step.out_shapes)]
    for shape, start in zip(step.out_shapes, starts, strict=False):
        made.append(map_spans(step, step.states[0], [dim], lambda i, span, n: spans.shift_span(span, start), shape))  # noqa: B023
    return made


# Dimensions in another order or shape


def _permute(step: OpStep) -> PositionState:
    state = step.states[0]
    return state._replace(dims=tuple(state.dims[dim] for dim in step.op.args[1]))


def _transpose(step: OpStep) -> PositionState:
    state, order = step.states[0], list(range(step.rank))
    a, b = (step.dim(1), step.dim(2)) if step.op.args else (0, step.rank - 1)  # aten.t names no dimensions
    order[a], order[b] = order[b], order[a]
    return state._replace(dims=tuple(state.dims[dim] for dim in order))


def _inserted(state: PositionState, dim: int) -> PositionState:
    return state._replace(dims=(*state.dims[:dim], (Factor(1),), *state.dims[dim:]))


def _unsqueeze(step: OpStep) -> PositionState:
    return _inserted(step.states[0], step.arg(1, 0) % (step.rank + 1))


def _squeeze(step: OpStep) -> PositionState:
    asked = step.op.args[1] if len(step.op.args) > 1 else range(step.rank)
    named = {dim % step.rank for dim in ([asked] if isinstance(asked, int) else asked)}
    return _removed(step, step.states[0], [dim for dim in sorted(named) if step.shapes[0][dim] == 1])


def _removed(step: OpStep, state: PositionState, gone: Sequence[int]) -> PositionState:
    """Without dimensions of length 1; the position that each had is held."""
    for dim in gone:
        for span in collect_spans([state.dims[dim]]):
            state = hold_position(step, state, span)
    return state._replace(dims=tuple(dim for i, dim in enumerate(state.dims) if i not in gone))


def _view(step: OpStep) -> PositionState:
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


def _expand(step: OpStep) -> PositionState:
    return broadcast_state(step, step.states[0], step.out_shapes[0])


def _repeat(step: OpStep) -> PositionState:
    state, out = step.states[0], step.out_shapes[0]
    grown = [i for i, n in enumerate(step.shapes[0], start=len(out) - step.rank) if n != out[i]]
    state = broadcast_state(step, state, out[: len(out) - step.rank] + step.shapes[0])
    gone = {span.axis for dim in grown for span in collect_spans([state.dims[dim]])}
    made = state._replace(dims=tuple((Factor(out[i]),) if i in grown else dim for i, dim in enumerate(state.dims)))
    return step.mark_lost(made, gone, "positions repeated")


# Mixing


def _reduced(step: OpStep, index: int = 1) -> PositionState:
    """A mean, a sum, a maximum … over some dimensions."""
    state, named = step.states[0], step.op.args[index] if len(step.op.args) > index else None
    if not step.op.args and step.out_shapes[0]:
        return mix_states(step, step.op.name)
    dims = (
        {dim % step.rank for dim in ([named] if isinstance(named, int) else named or range(step.rank))}
        if step.rank
        else set()
    )
    gone = {span.axis for dim in dims for span in collect_spans([state.dims[dim]])}
    kept = len(step.out_shapes[0]) == step.rank
    left = tuple((Factor(1),) if i in dims else dim for i, dim in enumerate(state.dims) if kept or i not in dims)
    return step.mark_lost(
        state._replace(dims=left), gone, POOLING_WORDS.get(step.op.name, f"{step.op.name} over positions")
    )


POOLING_WORDS = {"aten.mean": "global average pooling", "aten.amax": "global max pooling"}


def _norm_of_vectors(step: OpStep) -> PositionState:
    return _reduced(step, index=2)


def _along(step: OpStep) -> PositionState:
    """Softmax and running sums: positions along that dimension are mixed, and keep their places."""
    dim, state = step.dim(1), step.states[0]
    return step.mark_lost(
        state, {span.axis for span in collect_spans([state.dims[dim]])}, f"{step.op.name} over positions"
    )


def _layer_norm(step: OpStep) -> PositionState:
    state, over = step.states[0], len(step.op.args[1]) if len(step.op.args) > 1 else step.rank
    gone = {span.axis for span in collect_spans(state.dims[step.rank - over :])}
    return absorb_losses(
        step, step.mark_lost(state, gone, "layer norm over positions"), step.states[1:], "weights from the input"
    )


def _group_norm(step: OpStep) -> PositionState:
    gone = {span.axis for span in collect_spans(step.states[0].dims[1:])}
    return step.mark_lost(step.states[0], gone, "group norm over positions")


def _matmul(step: OpStep) -> PositionState:
    """Matrix products of stacks; a third tensor (`addmm`, `baddbmm`) comes first and is added."""
    if len(step.states) < 2:
        return mix_states(step, MIXING_WORDS.get(step.op.name, step.op.name))
    *added, a, b = step.states
    gone = {span.axis for span in collect_spans([a.dims[-1], b.dims[-2]])}
    out, lead = step.out_shapes[0], len(step.out_shapes[0]) - 2
    rows = a._replace(dims=(*a.dims[:lead], a.dims[-2], (Factor(1),)))
    columns = b._replace(dims=(*b.dims[:lead], (Factor(1),), b.dims[-1]))
    twice = {span.axis for span in collect_spans([rows.dims[-2]])} & {
        span.axis for span in collect_spans([columns.dims[-1]])
    }
    made = step.mark_lost(
        overlay_states(step, [rows, columns, *added], out), twice, "product of positions with positions"
    )
    fixed = not (a.axes() and b.axes())
    return step.mark_lost(made, gone, "linear layer over positions" if fixed else "product over positions")


def _batch_norm(step: OpStep) -> PositionState:
    """With running statistics (buffers), one scale a channel; without, they come from the positions themselves."""
    return step.states[0] if step.reads_buffers else _group_norm(step)


def _embedding(step: OpStep) -> PositionState:
    return step.states[1]._replace(dims=(*step.states[1].dims, (Factor(step.out_shapes[0][-1]),)))


def _gated(step: OpStep) -> PositionState:
    """`glu` halves one dimension, of channels unless positions are lost."""
    halved = next(dim for dim in range(step.rank) if step.shapes[0][dim] != step.out_shapes[0][dim])
    state = step.states[0]
    gone = {span.axis for span in collect_spans([state.dims[halved]])}
    made = state._replace(dims=(*state.dims[:halved], (Factor(step.out_shapes[0][halved]),), *state.dims[halved + 1 :]))
    return step.mark_lost(made, gone, "gates over positions")


def _made(step: OpStep) -> PositionState:
    return constant_state(step.out_shapes[0])


def _copied(step: OpStep) -> PositionState:
    return broadcast_state(step, step.states[1], step.out_shapes[0])


ELEMENTWISE_OPS = """
    add sub rsub mul div true_divide  remainder fmod pow square reciprocal neg abs sign sgn addcmul addcdiv
    lerp maximum minimum fmax fmin clamp clamp_min clamp_max ceil floor round trunc frac hypot copysign nan_to_num
    xlogy logaddexp eq ne lt le gt ge isnan isinf isfinite logical_and logical_or logical_xor logical_not bitwise_and
    bitwise_or bitwise_xor bitwise_not sqrt rsqrt exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan atan2
    sinh cosh tanh asinh acosh atanh erf erfc relu gelu silu mish hardsigmoid hardtanh hardshrink
    softshrink sigmoid leaky_relu elu celu selu softplus threshold where masked_fill clone
    """
UNTAGGED_ELEMENTWISE_OPS = """
    _prelu_kernel prelu log_sigmoid_forward rrelu_with_noise rrelu_with_noise_functional native_dropout _to_copy
    alias detach contiguous lift_fresh relu6 hardswish floor_divide
    """
"""Element by element as well, though torch does not tag them so."""

OPS_BY_RULE: dict[PositionRule, str] = {
    _elementwise: ELEMENTWISE_OPS + UNTAGGED_ELEMENTWISE_OPS,
    _cat: "cat",
    _stack: "stack",
    _convolution: "convolution _convolution cudnn_convolution mkldnn_convolution",
    _pool: "max_pool2d_with_indices max_pool3d_with_indices max_pool2d max_pool3d mkldnn_max_pool2d avg_pool2d "
    "avg_pool3d",
    _adaptive: "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool2d adaptive_max_pool2d adaptive_max_pool3d",
    _upsample: "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d "
    "_upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d "
    "upsample_bicubic2d",
    _pixel_shuffle: "pixel_shuffle",
    _pixel_unshuffle: "pixel_unshuffle",
    _pad: "constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d "
    "replication_pad3d",
    _slice: "slice",
    _select: "select",
    _unbind: "unbind",
    _split: "split split_with_sizes",
    _permute: "permute",
    _transpose: "transpose t",
    _unsqueeze: "unsqueeze",
    _squeeze: "squeeze",
    _view: "view _unsafe_view reshape _reshape_alias",
    _expand: "expand",
    _repeat: "repeat",
    _reduced: "mean sum amax amin var std",
    _norm_of_vectors: "linalg_vector_norm",
    _along: "_softmax _log_softmax _safe_softmax cumsum",
    _layer_norm: "native_layer_norm",
    _group_norm: "native_group_norm",
    _batch_norm: "native_batch_norm cudnn_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
    "_batch_norm_with_update",
    _matmul: "mm bmm addmm baddbmm",
    _embedding: "embedding",
    _gated: "glu",
    _made: "empty_like zeros_like ones_like full_like rand_like randn_like new_empty new_zeros new_ones new_full "
    "new_empty_strided bernoulli fill zero normal uniform random",
    _copied: "copy",
}
POSITION_RULES = {f"aten.{name}": rule for rule, names in OPS_BY_RULE.items() for name in names.split()}
MIXING_WORDS = {
    "aten.scaled_dot_product_attention": "attention",
    "aten._native_multi_head_attention": "attention",
    "aten._transformer_encoder_layer_fwd": "attention",
    "aten.lstm": "recurrence",
    "aten.gru": "recurrence",
    "aten.rnn_tanh": "recurrence",
    "aten.rnn_relu": "recurrence",
}
"""Ops that mix all positions, as a reader calls them."""
