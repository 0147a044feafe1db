"""The rule of every op that moves, joins or mixes positions.

A rule that is not sure marks what it does not know as lost, with the reason; it never guesses a number. Normalisation
by the statistics of a batch (batch norm in training) is not followed, as everywhere in the literature; normalisation
of one sample over its positions is.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

from archprof.analysis.receptive import spans
from archprof.analysis.receptive.layout_rules import (
    follow_expand,
    follow_permute,
    follow_repeat,
    follow_select,
    follow_slice,
    follow_split,
    follow_squeeze,
    follow_transpose,
    follow_unbind,
    follow_unsqueeze,
    follow_view,
    insert_dimension,
)
from archprof.analysis.receptive.mixing_rules import (
    MIXING_WORDS,
    follow_along,
    follow_batch_norm,
    follow_chosen,
    follow_complex,
    follow_copy,
    follow_creation,
    follow_embedding,
    follow_gate,
    follow_group_norm,
    follow_layer_norm,
    follow_matmul,
    follow_reduction,
    follow_topk,
    follow_vector_norm,
)
from archprof.analysis.receptive.positions import (
    OpStep,
    PositionState,
    collect_spans,
    find_axes,
    map_spans,
    mix_states,
    overlay_states,
)
from archprof.analysis.receptive.window_rules import (
    follow_adaptive,
    follow_col2im,
    follow_convolution,
    follow_im2col,
    follow_pad,
    follow_pixel_shuffle,
    follow_pixel_unshuffle,
    follow_pool,
    follow_roll,
    follow_unfold,
    follow_upsample,
)

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
        made = step.mark_lost(made, find_axes([made.dims[dim]]), "positions put in a row with others")
    return made


def _stack(step: OpStep) -> PositionState:
    dim = step.arg(1, 0) % len(step.out_shapes[0])
    return overlay_states(step, [insert_dimension(state, dim) for state in step.states], step.out_shapes[0])


ELEMENTWISE_OPS = """
    add sub rsub mul div true_divide  remainder fmod pow square reciprocal neg abs sign sgn addcmul addcdiv
    lerp maximum minimum fmax fmin clamp clamp_min clamp_max ceil floor round trunc frac hypot copysign nan_to_num
    xlogy logaddexp eq ne lt le gt ge isnan isinf isfinite logical_and logical_or logical_xor logical_not bitwise_and
    bitwise_or bitwise_xor bitwise_not sqrt rsqrt exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan atan2
    logit sinc angle sinh cosh tanh asinh acosh atanh erf erfc relu gelu silu mish hardsigmoid hardtanh
    hardshrink softshrink sigmoid leaky_relu elu celu selu softplus threshold where masked_fill clone
    """
UNTAGGED_ELEMENTWISE_OPS = """
    _prelu_kernel prelu log_sigmoid_forward rrelu_with_noise rrelu_with_noise_functional native_dropout _to_copy
    alias detach contiguous lift_fresh relu6 hardswish floor_divide _conj complex
    """
"""Element by element as well, though torch does not tag them so."""

OPS_BY_RULE: dict[PositionRule, str] = {
    _elementwise: ELEMENTWISE_OPS + UNTAGGED_ELEMENTWISE_OPS,
    _cat: "cat",
    _stack: "stack",
    follow_convolution: "convolution _convolution cudnn_convolution mkldnn_convolution",
    follow_pool: "max_pool2d_with_indices max_pool3d_with_indices max_pool2d max_pool3d mkldnn_max_pool2d avg_pool2d "
    "avg_pool3d",
    follow_adaptive: "_adaptive_avg_pool2d _adaptive_avg_pool3d "
    "adaptive_avg_pool2d adaptive_max_pool2d adaptive_max_pool3d",
    follow_upsample: "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d "
    "_upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d "
    "upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa",
    follow_pixel_shuffle: "pixel_shuffle",
    follow_pixel_unshuffle: "pixel_unshuffle",
    follow_pad: "constant_pad_nd reflection_pad1d reflection_pad2d "
    "reflection_pad3d replication_pad1d replication_pad2d replication_pad3d",
    follow_slice: "slice",
    follow_select: "select",
    follow_unbind: "unbind",
    follow_split: "split split_with_sizes",
    follow_permute: "permute",
    follow_transpose: "transpose t",
    follow_unsqueeze: "unsqueeze",
    follow_squeeze: "squeeze",
    follow_view: "view _unsafe_view reshape _reshape_alias",
    follow_expand: "expand",
    follow_repeat: "repeat",
    follow_reduction: "mean sum amax amin var std prod logsumexp max min any all argmax argmin var_mean std_mean "
    "median",
    follow_vector_norm: "linalg_vector_norm",
    follow_along: "_softmax _log_softmax _safe_softmax cumsum cumprod logcumsumexp",
    follow_chosen: "sort flip _fft_r2c _fft_c2c _fft_c2r",
    follow_topk: "topk",
    follow_complex: "view_as_real view_as_complex",
    follow_roll: "roll",
    follow_unfold: "unfold",
    follow_im2col: "im2col",
    follow_col2im: "col2im",
    follow_layer_norm: "native_layer_norm",
    follow_group_norm: "native_group_norm",
    follow_batch_norm: "native_batch_norm cudnn_batch_norm "
    "_native_batch_norm_legit _native_batch_norm_legit_no_training _batch_norm_with_update",
    follow_matmul: "mm bmm addmm baddbmm",
    follow_embedding: "embedding",
    follow_gate: "glu",
    follow_creation: "empty_like zeros_like ones_like full_like rand_like randn_like new_empty new_zeros "
    "new_ones new_full new_empty_strided bernoulli fill zero normal uniform random",
    follow_copy: "copy",
}
POSITION_RULES = {f"aten.{name}": rule for rule, names in OPS_BY_RULE.items() for name in names.split()}
