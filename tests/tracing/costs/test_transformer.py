"""The fused fast path against the ops of the slow path, both as torch dispatches them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archprof.tracing.ops.costs import find_cost_rule


def totals(calls):
    counts = [call.count() for call in calls]
    assert None not in counts
    return sum(count.macs for count in counts), sum(count.flops for count in counts)


def run(layer, *args, **kwargs):
    with torch.no_grad():
        layer.eval()(*args, **kwargs)


@pytest.mark.parametrize("gelu", [False, True])
def test_encoder_layer(dispatched, gelu):
    layer = nn.TransformerEncoderLayer(16, 4, 24, batch_first=True, activation="gelu" if gelu else "relu")
    x = torch.rand(3, 5, 16)
    [fused] = dispatched(lambda: run(layer, x), "aten._transformer_encoder_layer_fwd")
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        unrolled = totals(dispatched(lambda: run(layer, x)))
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    assert fused.count()[:2] == unrolled
    assert fused.count().macs == 3 * 5 * 16 * (4 * 16 + 2 * 24) + 3 * 5 * 5 * 2 * 16


@pytest.mark.parametrize("masked", [False, True])
def test_multi_head_attention(dispatched, masked):
    layer, x = nn.MultiheadAttention(16, 4, batch_first=True), torch.rand(3, 5, 16)
    options = {"need_weights": False, "attn_mask": torch.ones(5, 5).triu(1).bool() if masked else None}
    [fused] = dispatched(lambda: run(layer, x, x, x, **options), "aten._native_multi_head_attention")
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        unrolled = totals(dispatched(lambda: run(layer, x, x, x, **options)))
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    assert fused.count()[:2] == unrolled


def test_the_published_trap(dispatched):
    """nn.MultiheadAttention in evaluation, which most counters take for nothing."""
    layer, x = nn.MultiheadAttention(64, 4, batch_first=True), torch.rand(2, 10, 64)
    [fused] = dispatched(lambda: run(layer, x, x, x), "aten._native_multi_head_attention")
    assert fused.count().macs == 353_280


def test_nested_sequences_are_unknown():
    nested = torch.nested.nested_tensor([torch.rand(2, 4), torch.rand(3, 4)])
    assert find_cost_rule("aten._native_multi_head_attention")(None, nested, nested, nested, 4, 2, 0, 0, 0, 0) is None
    assert find_cost_rule("aten._transformer_encoder_layer_fwd")(None, nested, 4, 2) is None
