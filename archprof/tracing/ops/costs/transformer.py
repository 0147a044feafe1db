"""The fused fast path of `nn.MultiheadAttention` and `nn.TransformerEncoderLayer`: one op where the slow path has many.

Counted as the slow path would be: the projections of queries, keys, values and output with their biases, the
attention between, and in the encoder layer two layer norms, two residual adds and the two-matrix feed-forward with
its activation. A nested tensor hides its lengths and is unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archprof.tracing.ops.costs import attention
from archprof.tracing.ops.costs.normalization import norm_flops_per_element
from archprof.tracing.ops.costs.registry import OpCost, cost_rule
from archprof.tracing.ops.costs.tensors import numel

if TYPE_CHECKING:
    from torch import Tensor


@cost_rule("aten._native_multi_head_attention")
def multi_head_attention(
    result: Any, /, query: Tensor, key: Tensor, value: Tensor, embed_dim: int, heads: int, *args: Any
) -> OpCost | None:
    if query.is_nested:
        return None
    _qkv_weight, _qkv_bias, _proj_weight, _proj_bias, mask, *_ = *args, None
    return _count_projected_attention(query, key, embed_dim, heads, mask)


@cost_rule("aten._transformer_encoder_layer_fwd")
def encoder_layer(result: Any, /, src: Tensor, embed_dim: int, heads: int, *args: Any) -> OpCost | None:
    if src.is_nested:
        return None
    norm_weight, norm_bias, _norm_weight_2, _norm_bias_2, ffn_weight = args[7:12]
    mask = args[15] if len(args) > 15 else None
    inner = _count_projected_attention(src, src, embed_dim, heads, mask)
    elements = numel(src)
    hidden = elements // embed_dim * ffn_weight.shape[0]
    macs = 2 * hidden * embed_dim
    norms = 2 * elements * norm_flops_per_element(norm_weight, norm_bias)
    residuals, biases, activation = 2 * elements, hidden + elements, hidden
    return OpCost(inner.macs + macs, inner.flops + 2 * macs + norms + residuals + biases + activation)


def _count_projected_attention(query: Tensor, key: Tensor, embed_dim: int, heads: int, mask: Tensor | None) -> OpCost:
    batch, queries, _ = query.shape
    keys = key.shape[1]
    projected = batch * (2 * queries + 2 * keys) * embed_dim  # queries and output; keys and values
    size = embed_dim // heads
    inner = attention.count_attention(
        (batch, heads, queries, size), (batch, heads, keys, size), (batch, heads, keys, size), mask, 0.0, False
    )
    macs = projected * embed_dim
    return OpCost(inner.macs + macs, inner.flops + 2 * macs + projected)
