"""Rules of sliding windows, resampling and padding: which positions each output position reads."""

from __future__ import annotations

from fractions import Fraction

from archprof.analysis.receptive import spans
from archprof.analysis.receptive.positions import (
    Factor,
    OpStep,
    PositionState,
    absorb_losses,
    constant_state,
    find_axes,
    forget_spans,
    map_spans,
    mix_states,
)
from archprof.analysis.receptive.spans import PositionSpan


def follow_convolution(step: OpStep) -> PositionState:
    state, window = step.states[0], step.op.window
    if window is None:
        return mix_states(step, step.op.name)
    lead = step.rank - len(window.kernel)

    def change(i: int, span: PositionSpan, length: int) -> PositionSpan:
        apply = spans.slide_transposed if window.transposed else spans.slide_window
        return apply(span, window.kernel[i], window.stride[i], window.padding[i], window.dilation[i])

    gone = find_axes(state.dims[1:lead])
    made = map_spans(step, state, range(lead, step.rank), change, step.out_shapes[0])
    made = made._replace(dims=(*made.dims[:1], *constant_state(step.out_shapes[0][1:lead]).dims, *made.dims[lead:]))
    made = step.mark_lost(made, gone, "positions taken as channels")._replace(apart=state.apart and window.groups > 1)
    return absorb_losses(step, made, step.states[1:], "weights made from the input")


def follow_pool(step: OpStep) -> PositionState:
    """As many of the last dimensions as the window has slide; the others stay."""
    window = step.op.window
    if window is None:
        return mix_states(step, step.op.name)
    lead = step.rank - len(window.kernel)

    def change(i: int, span: PositionSpan, length: int) -> PositionSpan:
        return spans.slide_window(span, window.kernel[i], window.stride[i], window.padding[i], window.dilation[i])

    return map_spans(step, step.states[0], range(lead, step.rank), change, step.out_shapes[0])


def follow_adaptive(step: OpStep) -> PositionState:
    out, sliding = step.out_shapes[0], int(step.op.name.rstrip("d")[-1])
    dims = range(step.rank - sliding, step.rank)
    whole = [dim for dim in dims if out[dim] == 1 < step.shapes[0][dim]]
    made = map_spans(step, step.states[0], dims, lambda i, span, n: spans.pool_adaptively(span, n, out[dims[i]]), out)
    kind = "average" if "avg" in step.op.name else "max"
    gone = find_axes(step.states[0].dims[dim] for dim in whole)
    return step.mark_lost(made._replace(dims=forget_spans(made.dims, whole)), gone, f"global {kind} pooling")


INTERPOLATION_REACH = {"nearest": (0, 0), "bicubic": (1, 2)}
"""Positions that an interpolation reads below and above; the linear ones read (0, 1)."""


def follow_upsample(step: OpStep) -> PositionState:
    name, out = step.op.name, step.out_shapes[0]
    nearest, exact, averages = "nearest" in name, "exact" in name, name.endswith("_aa")
    flags = [value for value in step.op.args if isinstance(value, bool)]
    scales = [value for value in step.op.args if isinstance(value, float)]
    reach = next((reach for kind, reach in INTERPOLATION_REACH.items() if kind in name), (0, 1))

    def change(i: int, span: PositionSpan, length: int) -> PositionSpan:
        ratio, half = Fraction(length, out[2 + i]), Fraction(1, 2)
        if flags[:1] == [True]:  # the corners lie on each other
            return spans.resample_span(span, Fraction(length - 1, max(out[2 + i] - 1, 1)), Fraction(0), reach)
        if len(scales) == step.rank - 2:
            ratio = (1 / Fraction(scales[i])).limit_denominator(1000)
        if averages:
            return spans.average_span(span, ratio, max(reach))
        if nearest:
            offset = ratio / 2 if exact else Fraction(0)
            return spans.resample_span(span, ratio, offset, (0, 0))
        return spans.resample_span(span, ratio, ratio * half - half, reach)

    return map_spans(step, step.states[0], range(2, step.rank), change, out)


def follow_pixel_shuffle(step: OpStep) -> PositionState:
    times, last = step.arg(1, 1), range(step.rank - 2, step.rank)
    if step.states[0].apart:
        return mix_states(step, PUT_BACK)
    return shuffle_channels(
        step,
        map_spans(step, step.states[0], last, lambda i, span, n: spans.repeat_span(span, times), step.out_shapes[0]),
    )


PUT_BACK = "positions taken as channels and back"


def follow_pixel_unshuffle(step: OpStep) -> PositionState:
    times, last = step.arg(1, 1), range(step.rank - 2, step.rank)
    return shuffle_channels(
        step,
        map_spans(
            step, step.states[0], last, lambda i, span, n: spans.slide_window(span, times, times), step.out_shapes[0]
        ),
    )._replace(apart=True)


def shuffle_channels(step: OpStep, state: PositionState) -> PositionState:
    """With as many channels as came out; positions along the channels that went in are lost."""
    gone = find_axes(state.dims[-3:-2])
    channels = constant_state(step.out_shapes[0][-3:-2]).dims
    return step.mark_lost(
        state._replace(dims=(*state.dims[:-3], *channels, *state.dims[-2:])), gone, "positions as channels"
    )


def follow_pad(step: OpStep) -> PositionState:
    pads = step.op.args[1] if len(step.op.args) > 1 else ()
    dims = [step.rank - 1 - i for i in range(len(pads) // 2)]
    return map_spans(
        step, step.states[0], dims, lambda i, span, n: spans.shift_span(span, -pads[2 * i]), step.out_shapes[0]
    )


def follow_roll(step: OpStep) -> PositionState:
    """A shift; what comes in at the border is taken as more of the same, as the padding is."""
    if len(step.op.args) < 3 or not step.op.args[2]:  # over all elements in a row
        return mix_states(step, step.op.name)
    shifts, dims = ((one,) if isinstance(one, int) else one for one in step.op.args[1:3])
    turned = [dim % step.rank for dim in dims]

    def change(i: int, span: PositionSpan, length: int) -> PositionSpan:
        return spans.shift_span(span, -shifts[i])

    return map_spans(step, step.states[0], turned, change, step.out_shapes[0])


def follow_unfold(step: OpStep) -> PositionState:
    """`Tensor.unfold`: windows along one dimension, what is in them along a new one behind."""
    dim, size, stride = step.dim(1), step.arg(2, 1), step.arg(3, 1)
    state = map_spans(
        step, step.states[0], [dim], lambda i, span, n: spans.slide_window(span, size, stride), step.out_shapes[0]
    )
    return state._replace(dims=(*state.dims, (Factor(size),)), apart=True)


def follow_im2col(step: OpStep) -> PositionState:
    """`functional.unfold`: what is in the windows as channels, the windows in a row."""
    kernel, dilation, padding, stride = step.op.args[1:5]
    windows = [
        (n + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1
        for i, n in enumerate(step.shapes[0][-2:])
    ]
    outs = (*step.shapes[0][:-2], *windows)

    def change(i: int, span: PositionSpan, length: int) -> PositionSpan:
        return spans.slide_window(span, kernel[i], stride[i], padding[i], dilation[i])

    state = map_spans(step, step.states[0], range(step.rank - 2, step.rank), change, outs)
    gone = find_axes(state.dims[-3:-2])
    channels = constant_state(step.out_shapes[0][-2:-1]).dims
    made = state._replace(dims=(*state.dims[:-3], *channels, state.dims[-2] + state.dims[-1]), apart=True)
    return step.mark_lost(made, gone, "positions taken as channels")


def follow_col2im(step: OpStep) -> PositionState:
    """`functional.fold`: the windows are laid where they belong and added, as in a transposed convolution."""
    _, kernel, dilation, padding, stride = step.op.args[1:6]
    out, state = step.out_shapes[0], step.states[0]
    if state.apart:
        return mix_states(step, PUT_BACK)
    row = state.dims[-1] if len(state.dims[-1]) == 2 else ()
    if [factor.length for factor in row] != [
        (n + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i, n in enumerate(out[-2:])
    ]:
        return mix_states(step, step.op.name)
    dims = [
        (Factor(n, span and spans.slide_transposed(span, kernel[i], stride[i], padding[i], dilation[i])),)
        for i, (n, (_, span)) in enumerate(zip(out[-2:], row, strict=True))
    ]
    gone = find_axes(state.dims[-2:-1])
    made = state._replace(dims=(*state.dims[:-2], *constant_state(out[-3:-2]).dims, *dims))
    return step.mark_lost(made, gone, "positions taken as channels")
