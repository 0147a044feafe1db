"""Scaled dot product attention, forward and backward.

A score is one query against one key, in one head of one sequence; with grouped queries (GQA) the heads are the
query's. MACs: scores × (head size of the keys + head size of the values), two matrix products.
FLOPs: 2 × MACs, and for each score 1 for the scale, 1 for the mask when a mask is given, 5 for the softmax and 2 for
dropout when there is any.

Backward: five matrix products, since the fused kernels compute the scores anew (Dao et al., FlashAttention, 2022):
scores × (3 × head size of the keys + 2 × that of the values). FLOPs: 2 × MACs, the forward's per score again, and
for each score 4 for the gradient of the softmax, 1 for the scale and 2 for dropout. Torch's plain attention kept the
scores, and needs neither their product nor the forward's per score.

Until then the kernels keep queries, keys, values, the mask, the result and one number per query: the logarithm of its
sum of exponentials, in float32 or wider.

`is_causal` masks the scores of later keys. By default all scores are counted, as torch's counter and the published
counts do; with `half` only the unmasked ones, exactly: query i of Sq sees min(i, Skv) keys, i = 1 … Sq.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from archprof.facts.records import TensorSpec
from archprof.predicting.attention_backends import HALVES, choose_attention_backend
from archprof.tracing.ops.costs.reduction import SOFTMAX_BACKWARD_FLOPS, SOFTMAX_FLOPS
from archprof.tracing.ops.costs.registry import CostRule, KeptForBackward, OpCost, cost_rule
from archprof.tracing.ops.costs.tensors import take_argument

if TYPE_CHECKING:
    from torch import Tensor

SCALE_FLOPS = 1
MASK_FLOPS = 1
DROPOUT_FLOPS = 2
GRADIENT_FLOPS = SOFTMAX_BACKWARD_FLOPS + SCALE_FLOPS

DOUBLE_BYTES = 8

AttentionShape = Sequence[int]
"""Of queries, keys or values: (…, heads, positions, head size)."""


class AttentionArgPlaces(NamedTuple):
    """Where an op takes its arguments; keys and values follow the query. A mask without a place is a keyword."""

    query: int
    mask: int | None
    dropout: int
    causal: int


FORWARD_OPS = {
    "_scaled_dot_product_flash_attention": AttentionArgPlaces(0, None, 3, 4),
    "_scaled_dot_product_flash_attention_for_cpu": AttentionArgPlaces(0, None, 3, 4),
    "_scaled_dot_product_efficient_attention": AttentionArgPlaces(0, 3, 5, 6),
    "_scaled_dot_product_cudnn_attention": AttentionArgPlaces(0, 3, 5, 6),
    "_scaled_dot_product_fused_attention_overrideable": AttentionArgPlaces(0, 3, 4, 5),
}
BACKWARD_OPS = {
    "_scaled_dot_product_flash_attention_backward": AttentionArgPlaces(1, None, 10, 11),
    "_scaled_dot_product_flash_attention_for_cpu_backward": AttentionArgPlaces(1, None, 6, 7),
    "_scaled_dot_product_efficient_attention_backward": AttentionArgPlaces(1, 4, 9, 11),
    "_scaled_dot_product_cudnn_attention_backward": AttentionArgPlaces(1, 8, 13, 14),
    "_scaled_dot_product_fused_attention_overrideable_backward": AttentionArgPlaces(1, 4, 12, 13),
}


def count_attention(
    query: AttentionShape, key: AttentionShape, value: AttentionShape, mask: object, dropout_p: float, skip_masked: bool
) -> OpCost:
    """The cost of one attention; `mask` may be `None`."""
    scores = _count_scores(query, key, value, skip_masked)
    macs = scores * (query[-1] + value[-1])
    return OpCost(macs, 2 * macs + scores * _flops_per_score(mask, dropout_p))


def count_attention_backward(
    query: AttentionShape, key: AttentionShape, value: AttentionShape, mask: object, dropout_p: float, skip_masked: bool
) -> OpCost:
    """The cost of its gradients."""
    scores = _count_scores(query, key, value, skip_masked)
    macs = scores * (3 * query[-1] + 2 * value[-1])
    dropout = DROPOUT_FLOPS if dropout_p else 0
    return OpCost(macs, 2 * macs + scores * (_flops_per_score(mask, dropout_p) + GRADIENT_FLOPS + dropout))


def count_plain_backward(
    query: AttentionShape, key: AttentionShape, value: AttentionShape, mask: object, dropout_p: float, skip_masked: bool
) -> OpCost:
    """The cost of its gradients where the scores were kept: four matrix products."""
    scores = _count_scores(query, key, value, skip_masked)
    macs = scores * 2 * (query[-1] + value[-1])
    return OpCost(macs, 2 * macs + scores * (GRADIENT_FLOPS + (DROPOUT_FLOPS if dropout_p else 0)))


def _flops_per_score(mask: object, dropout_p: float) -> int:
    return SCALE_FLOPS + SOFTMAX_FLOPS + (MASK_FLOPS if mask is not None else 0) + (DROPOUT_FLOPS if dropout_p else 0)


def _count_scores(query: AttentionShape, key: AttentionShape, value: AttentionShape, skip_masked: bool) -> int:
    leading = zip_longest(query[-3::-1], key[-3::-1], value[-3::-1], fillvalue=1)
    each = count_unmasked_scores(query[-2], key[-2]) if skip_masked else query[-2] * key[-2]
    return prod(map(max, leading)) * each


def count_unmasked_scores(queries: int, keys: int) -> int:
    """Scores that a causal mask leaves, its diagonal at the top left: the sum of min(i, keys) for i = 1 … queries."""
    rising = min(queries, keys)
    return rising * (rising + 1) // 2 + (queries - rising) * keys


def _rule_of_function(fused: CostRule, plain: CostRule) -> CostRule:
    """The rule of torch's function, recorded as one op with the arguments of its call; also of its backward.

    Which of both holds is a matter of the kernel that runs it.
    """

    def count(
        result: object,
        /,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *_: Any,
        half: bool = False,
        **__: Any,
    ) -> OpCost | None:
        cost = plain if _runs_plain(query, attn_mask) else fused
        return cost(query.shape, key.shape, value.shape, attn_mask, dropout_p, half and is_causal)

    return count


def _runs_plain(query: Tensor, mask: object) -> bool:
    """Whether no fused kernel takes these."""
    chosen = choose_attention_backend(query.dim(), _name_dtype(query), query.shape[-1], masked=mask is not None)
    return chosen == "math"


def _name_dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def keep_attention(
    result: Tensor, /, query: Tensor, key: Tensor, value: Tensor, attn_mask: Any = None, *_: Any, **__: Any
) -> KeptForBackward:
    """The result, and the logarithm of each query's sum of exponentials, from which the scores are made anew.

    Without a kernel that does so, torch keeps the scores, and the scaled queries and keys; of tensors in half
    precision all of it in float32, and the values, too.
    """
    dtype = _name_dtype(query)
    if _runs_plain(query, attn_mask):
        kept = [(*result.shape[:-1], key.shape[-2]), query.shape, key.shape]
        if dtype in HALVES:
            dtype, kept = "float32", [*kept, value.shape]
        return KeptForBackward((), tuple(TensorSpec(tuple(each), dtype) for each in kept))
    wide = result.dtype.itemsize == DOUBLE_BYTES
    return KeptForBackward((0,), (TensorSpec(tuple(result.shape[:-1]), "float64" if wide else "float32"),))


@cost_rule("higher_order.flex_attention")
def flex_attention(
    result: object, /, query: Tensor, key: Tensor, value: Tensor, *, scores: int, masked: int, score_flops: int
) -> OpCost:
    """Of the scores in the blocks that run; of these, so many are in blocks whose mask is asked of each score."""
    macs = scores * (query.shape[-1] + value.shape[-1])
    return OpCost(macs, 2 * macs + scores * (_flops_per_score(None, 0) + score_flops) + masked * MASK_FLOPS)


@cost_rule("higher_order.flex_attention_backward")
def flex_attention_backward(
    result: object, /, query: Tensor, key: Tensor, value: Tensor, *, scores: int, masked: int, score_flops: int
) -> OpCost:
    """The function of a score is run again, and its gradient counts as much."""
    macs = scores * (3 * query.shape[-1] + 2 * value.shape[-1])
    each = _flops_per_score(None, 0) + GRADIENT_FLOPS + 2 * score_flops
    return OpCost(macs, 2 * macs + scores * each + masked * MASK_FLOPS)


def _rule_of_op(cost: CostRule, places: AttentionArgPlaces) -> CostRule:
    """The rule of an op that takes its arguments at these places."""

    def count(
        result: object,
        /,
        *args: Any,
        half: bool = False,
        attn_mask: Any = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **_: Any,
    ) -> OpCost | None:
        q = places.query
        mask = take_argument(args, places.mask, attn_mask)
        dropped = take_argument(args, places.dropout, dropout_p)
        masked = take_argument(args, places.causal, is_causal)
        if not isinstance(dropped, (int, float)):
            return None  # the overload for 8-bit inputs takes its scales here
        return cost(args[q].shape, args[q + 1].shape, args[q + 2].shape, mask, dropped, half and masked)

    return count


def _take_argument(args: Sequence[Any], place: int | None, otherwise: Any) -> Any:
    return args[place] if place is not None and place < len(args) else otherwise


cost_rule("aten.scaled_dot_product_attention", causal=True, keeps=keep_attention)(
    _rule_of_function(count_attention, count_attention)
)
cost_rule("aten.scaled_dot_product_attention_backward", causal=True)(
    _rule_of_function(count_attention_backward, count_plain_backward)
)
for _name, _places in FORWARD_OPS.items():
    cost_rule(f"aten.{_name}", causal=True)(_rule_of_op(count_attention, _places))
for _name, _places in BACKWARD_OPS.items():
    cost_rule(f"aten.{_name}", causal=True)(_rule_of_op(count_attention_backward, _places))
