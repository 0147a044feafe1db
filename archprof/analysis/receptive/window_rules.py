"""Rules of sliding windows, resampling and padding: which positions each output position reads."""

from __future__ import annotations

from fractions import Fraction

from archprof.analysis.receptive import spans
from archprof.analysis.receptive.positions import (
    OpStep,
    PositionState,
    absorb_losses,
    collect_spans,
    constant_state,
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

    gone = {span.axis for span in collect_spans(state.dims[1:lead])}
    made = map_spans(step, state, range(lead, step.rank), change, step.out_shapes[0])
    made = made._replace(dims=(*made.dims[:1], *constant_state(step.out_shapes[0][1:lead]).dims, *made.dims[lead:]))
    made = step.mark_lost(made, gone, "positions taken as channels")
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
    gone = {span.axis for dim in whole for span in collect_spans([step.states[0].dims[dim]])}
    return step.mark_lost(made._replace(dims=forget_spans(made.dims, whole)), gone, f"global {kind} pooling")


INTERPOLATION_REACH = {"nearest": (0, 0), "bicubic": (1, 2)}
"""Positions that an interpolation reads below and above; the linear ones read (0, 1)."""


def follow_upsample(step: OpStep) -> PositionState:
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


def follow_pixel_shuffle(step: OpStep) -> PositionState:
    times, last = step.arg(1, 1), range(step.rank - 2, step.rank)
    return shuffle_channels(
        step,
        map_spans(step, step.states[0], last, lambda i, span, n: spans.repeat_span(span, times), step.out_shapes[0]),
    )


def follow_pixel_unshuffle(step: OpStep) -> PositionState:
    times, last = step.arg(1, 1), range(step.rank - 2, step.rank)
    return shuffle_channels(
        step,
        map_spans(
            step, step.states[0], last, lambda i, span, n: spans.slide_window(span, times, times), step.out_shapes[0]
        ),
    )


def shuffle_channels(step: OpStep, state: PositionState) -> PositionState:
    """With as many channels as came out; positions along the channels that went in are lost."""
    gone = {span.axis for span in collect_spans(state.dims[-3:-2])}
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
