"""How a cut goes through an op: from the layouts of what it reads to those of what it makes.

A rule takes the op's signature, in the sizes of the whole model, and a layout per tensor in, of which some is cut or
partial; it gives a layout per tensor out, or one for all.

Raises:
    Unfollowed: the ranks could not run the op on their parts alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from archprof.facts.records import Signature, TensorSpec
from archprof.predicting.sharding.layout import PARTIAL, WHOLE, Cut, Layout, have_same_share, lie_alike

Rule = Callable[[Signature, Sequence[Layout]], "Sequence[Layout] | Layout"]


class Unfollowed(Exception):
    """An op whose parts are not known; the text says why."""


class Indivisible(Unfollowed):
    """A part that ends within a head; torch fails there too."""


RULES: dict[str, Rule] = {}
"""By the op's name without overload and without the underscore of one that works in place."""


def rule(names: str) -> Callable[[Rule], Rule]:
    """Names the ops of a rule."""

    def register(made: Rule) -> Rule:
        RULES.update(dict.fromkeys(names.split(), made))
        return made

    return register


def follow(signature: Signature, ins: Sequence[Layout]) -> Sequence[Layout]:
    """A layout for each output."""
    name = signature.name.split(".")[1]
    if name.startswith(("_foreach_", "_fused_")):
        return ins[: len(signature.outputs)]
    found = RULES.get(name) or RULES.get(name.rstrip("_"))
    if found is None:
        raise Unfollowed("no rule says how it runs on parts")
    outs = found(signature, ins)
    return [outs] * len(signature.outputs) if isinstance(outs, Layout) else outs


@rule(
    "abs add addcdiv addcmul alias atan2 bernoulli bitwise_and bitwise_not bitwise_or ceil celu clamp clamp_max "
    "clamp_min clone contiguous copy cos cosh detach div dropout elu elu_backward empty_like eq erf erfinv exp exp2 "
    "expm1 fill floor floor_divide fmod full_like ge gelu gelu_backward gt hardsigmoid hardsigmoid_backward hardswish "
    "hardswish_backward hardtanh hardtanh_backward isfinite isinf isnan le leaky_relu leaky_relu_backward lerp "
    "lift_fresh log log10 log1p log2 log_sigmoid_backward log_sigmoid_forward logical_and logical_not logical_or lt "
    "masked_fill maximum minimum mish mish_backward mul native_dropout native_dropout_backward ne neg ones_like pow "
    "rand_like randn_like reciprocal relu remainder round rsqrt rsub sgn sigmoid sigmoid_backward sign silu "
    "silu_backward sin sinh softplus softplus_backward sqrt square sub tan tanh tanh_backward threshold "
    "threshold_backward to _to_copy trunc where xlogy zero zeros_like _conj resolve_conj uniform normal"
)
def follow_pointwise(signature: Signature, ins: Sequence[Layout]) -> Layout:
    """Parts of one shape, and whatever is the same all along the cut."""
    out = signature.outputs[0] if signature.outputs else signature.inputs[0]
    cut = merge_cuts(out.shape, signature.inputs, ins)
    return Layout(cut, is_partial=cut is None and any(one.is_partial for one in ins))


def merge_cuts(shape: tuple[int, ...], specs: Sequence[TensorSpec], ins: Sequence[Layout]) -> Cut | None:
    """The cut that tensors which are broadcast to a shape have in common."""
    shifted = [
        one.cut and one.cut._replace(dim=one.cut.dim + len(shape) - len(spec.shape))
        for one, spec in zip(ins, specs, strict=True)
    ]
    found = next((cut for cut in shifted if cut), None)
    if found is None:
        return None
    for cut, spec in zip(shifted, specs, strict=True):
        if (cut is None and _runs_along(spec, found.dim - len(shape))) or (
            cut is not None and not (cut.dim == found.dim and have_same_share(cut, found))
        ):
            raise Unfollowed("its operands are cut in different ways")
    return found


def _runs_along(spec: TensorSpec, dim: int) -> bool:
    """Whether a tensor has more than one value along a dimension, counted from behind."""
    return len(spec.shape) >= -dim and spec.shape[dim] != 1 and (spec.strides is None or spec.strides[dim] != 0)


@rule("sum mean amax amin any all prod logsumexp var var_mean std argmax argmin max min norm linalg_vector_norm")
def follow_reduction(signature: Signature, ins: Sequence[Layout]) -> Layout:
    """Along another dimension than the cut; sums along it are partial."""
    spec, (layout, *_) = signature.inputs[0], ins
    out = signature.outputs[0]
    if layout.cut is None:
        return layout
    dims = _find_reduced(signature, len(spec.shape))
    if layout.cut.dim in dims:
        if not signature.name.startswith(("aten.sum", "aten.mean")):
            raise Unfollowed("it reduces along the cut")
        return PARTIAL
    keeps = len(out.shape) == len(spec.shape)
    gone = 0 if keeps else sum(dim < layout.cut.dim for dim in dims)
    return Layout(layout.cut._replace(dim=layout.cut.dim - gone))


def _find_reduced(signature: Signature, rank: int) -> tuple[int, ...]:
    given = signature.args[1] if len(signature.args) > 1 else dict(signature.kwargs).get("dim")
    if isinstance(given, int):
        given = (given,)
    dims = given if isinstance(given, tuple) and given else range(rank)
    return tuple(dim % rank for dim in dims)


@rule("_softmax _log_softmax _softmax_backward_data _log_softmax_backward_data cumsum cumprod flip roll sort topk")
def follow_along(signature: Signature, ins: Sequence[Layout]) -> Layout:
    """Ops along one dimension, which all of it must be in."""
    cut = merge_cuts(signature.outputs[0].shape, signature.inputs, ins)
    if cut is None:
        raise Unfollowed("it is of a sum that is not done")
    given = [one for one in signature.args if isinstance(one, int | tuple) and not isinstance(one, bool)]
    dims = given[0] if given and isinstance(given[0], tuple) else (given[0] if given else -1,)
    if any(dim % len(signature.outputs[0].shape) == cut.dim for dim in dims):
        raise Unfollowed("it runs along the cut")
    return Layout(cut)


@rule("mm bmm matmul")
def follow_product(signature: Signature, ins: Sequence[Layout]) -> Layout:
    return multiply(signature.inputs, ins)


@rule("addmm baddbmm")
def follow_product_and_sum(signature: Signature, ins: Sequence[Layout]) -> Layout:
    """A bias is cut as the outputs are; where these are partial, it is added once."""
    out = multiply(signature.inputs[1:], ins[1:])
    if out.cut is not None:
        spec = signature.inputs[0]
        merge_cuts(signature.outputs[0].shape, [spec, signature.outputs[0]], [ins[0], out])
    elif ins[0].cut is not None:
        raise Unfollowed("its bias is cut, and its outputs are not")
    return out


def multiply(specs: Sequence[TensorSpec], ins: Sequence[Layout]) -> Layout:
    """Of [..., m, k] and [..., k, n]."""
    (left, right), (one, two) = specs[:2], ins[:2]
    rows, columns = len(left.shape) - 1, len(right.shape) - 2
    if one.is_partial or two.is_partial:
        if one.cut or two.cut:
            raise Unfollowed("it multiplies a part with a sum that is not done")
        return PARTIAL
    contracted = (one.cut is not None and one.cut.dim == rows, two.cut is not None and two.cut.dim == columns)
    if any(contracted):
        if not all(contracted) or not have_same_share(one.cut, two.cut):  # type: ignore[arg-type]
            raise Unfollowed("of what it sums over, one operand is cut in another way")
        return PARTIAL
    if one.cut and two.cut:
        if not lie_alike(one, two) or one.cut.dim >= rows - 1:
            raise Unfollowed("both operands are cut, each in its own way")
        return one
    if (two.cut and two.cut.dim < columns) or (one.cut and one.cut.dim < rows - 1):
        raise Unfollowed("one operand is cut along the batch, and the other is not")
    return two if two.cut else one


@rule("embedding")
def follow_embedding(signature: Signature, ins: Sequence[Layout]) -> Layout:
    """A cut vocabulary gives sums in which all but one rank have zeros."""
    table, indices = ins[:2]
    out = len(signature.outputs[0].shape) - 1
    if table.cut is None:
        return indices
    if indices.cut is not None:
        raise Unfollowed("its table and its indices are cut")
    return PARTIAL if table.cut.dim == 0 else Layout(table.cut._replace(dim=out))


@rule("embedding_dense_backward")
def follow_embedding_backward(signature: Signature, ins: Sequence[Layout]) -> Layout:
    """The gradient of the table; of one that is cut along the vocabulary, each rank makes the whole."""
    gradient, indices = ins[:2]
    last = len(signature.inputs[0].shape) - 1
    if gradient.cut is None:
        return gradient
    if gradient.cut.dim != last:
        return PARTIAL
    if indices.cut is not None:
        raise Unfollowed("its gradient and its indices are cut")
    return Layout(gradient.cut._replace(dim=1))


ATTENTION = (
    "scaled_dot_product_attention _scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention "
    "_scaled_dot_product_cudnn_attention _scaled_dot_product_flash_attention_for_cpu"
)


@rule(ATTENTION)
def follow_attention(signature: Signature, ins: Sequence[Layout]) -> Sequence[Layout]:
    """Local heads, or samples: a part of the batch or of the heads, not of the sequence."""
    query = ins[0].cut
    _check_heads(signature, ins[:3])
    return [_keep_heads(query, spec) for spec in signature.outputs]


@rule(" ".join(f"{name}_backward" for name in ATTENTION.split()))
def follow_attention_backward(signature: Signature, ins: Sequence[Layout]) -> Sequence[Layout]:
    """The gradients of query, key and value are cut as they are."""
    _check_heads(signature, ins[:4])
    cuts = [ins[at].cut for at in (1, 2, 3)]
    return [Layout(cuts[min(at, 2)]) for at in range(len(signature.outputs))]


def _check_heads(signature: Signature, ins: Sequence[Layout]) -> None:
    cuts = [one.cut for one in ins]
    if not all(cuts) or len({cut.dim for cut in cuts if cut}) != 1:
        raise Unfollowed("query, key and value are cut in different ways")
    if cuts[0].dim >= len(signature.inputs[0].shape) - 2:  # type: ignore[union-attr]
        raise Unfollowed("its sequence or its features are cut")


def _keep_heads(cut: Cut | None, spec: TensorSpec) -> Layout:
    count = cut and cut.outer * cut.whole * cut.inner
    fits = cut is not None and len(spec.shape) > cut.dim and spec.shape[cut.dim] == count
    return Layout(cut) if fits else WHOLE


@rule("native_layer_norm _fused_rms_norm")
def follow_norm(signature: Signature, ins: Sequence[Layout]) -> Sequence[Layout]:
    """Along whole features."""
    cut = ins[0].cut
    shape = signature.args[1]
    if cut is None or (isinstance(shape, tuple) and cut.dim >= len(signature.inputs[0].shape) - len(shape)):
        raise Unfollowed("it normalizes along the cut")
    return [Layout(cut)] * len(signature.outputs)


@rule("native_layer_norm_backward _fused_rms_norm_backward")
def follow_norm_backward(signature: Signature, ins: Sequence[Layout]) -> Sequence[Layout]:
    """The gradients of its own parameters are sums over the samples."""
    cut = ins[0].cut
    shape = signature.args[2]
    if cut is None or (isinstance(shape, tuple) and cut.dim >= len(signature.inputs[0].shape) - len(shape)):
        raise Unfollowed("it normalizes along the cut")
    return [Layout(cut), *[PARTIAL] * (len(signature.outputs) - 1)]


@rule("_local_scalar_dense")
def follow_scalar(signature: Signature, ins: Sequence[Layout]) -> Sequence[Layout]:
    return []
