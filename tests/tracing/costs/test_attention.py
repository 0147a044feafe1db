from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

import archprof
from archprof.tracing.ops.costs import attention, attention_kernels, find_cost_rule

FORWARD = sorted(attention.FORWARD_OPS)
BACKWARD = sorted(attention.BACKWARD_OPS)
HEADS_FIRST = [*FORWARD, *BACKWARD]
KERNELS = [*attention_kernels.FORWARD_KERNELS, *attention_kernels.BACKWARD_KERNELS]
WITH_MASK = {name for name in (*HEADS_FIRST, *KERNELS) if "flash" not in name} | {
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention_for_cpu_backward",
}

Q, K, V = (2, 6, 5, 8), (2, 3, 7, 8), (2, 3, 7, 4)
"""Six heads of queries that share three of keys and values, five queries, seven keys."""

SCORES = 2 * 6 * 5 * 7


def call_of(by_schema, meta, name, *, mask=False, dropout=0.0, causal=False, q=Q, k=K, v=V, **more):
    """A call of an attention op, its arguments where torch's schema has them."""
    layout = (lambda s: (s[0], s[2], s[1], s[3])) if name in KERNELS else tuple
    schema = getattr(torch.ops.aten, name).default._schema
    names = {argument.name for argument in schema.arguments}
    tensors = {"query": meta(*layout(q)), "key": meta(*layout(k)), "value": meta(*layout(v))}
    grad = {"grad_out": None, "grad_out_": None}.keys() & names
    tensors |= dict.fromkeys(grad, meta(*layout((*q[:3], v[3]))))
    masks = {"attn_mask", "attn_bias", "bias"} & names
    tensors |= dict.fromkeys(masks, meta(q[2], k[2]) if mask else None)
    offsets = {argument for argument in names if argument.startswith(("cum_seq", "cu_seq"))}
    options = dict.fromkeys(offsets) | {"dropout_p": dropout}
    options |= {"custom_mask_type": int(causal)} if "custom_mask_type" in names else {"is_causal": causal}
    return by_schema(f"aten.{name}", None, **tensors, **options, **more)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("name", [*HEADS_FIRST, *KERNELS])
def test_every_op_finds_its_arguments_where_torchs_schema_has_them(by_schema, meta, name, mask, causal, dropout):
    mask = mask and name in WITH_MASK
    call = call_of(by_schema, meta, name, mask=mask, causal=causal, dropout=dropout)
    backward = name.endswith("backward")
    macs = SCORES * (3 * 8 + 2 * 4 if backward else 8 + 4)
    per_score = 6 + mask + 2 * bool(dropout) + (5 + 2 * bool(dropout) if backward else 0)
    assert call.count() == (macs, 2 * macs + per_score * SCORES, None)
    if causal and name in HEADS_FIRST:
        seen = 2 * 6 * (1 + 2 + 3 + 4 + 5)
        half = macs // SCORES * seen
        assert call.count("half") == (half, 2 * half + per_score * seen, None)
    elif not causal:
        assert call.count("half") == call.count()


@pytest.mark.parametrize("name", [name for name in (*HEADS_FIRST, *KERNELS) if "overrideable" not in name])
def test_every_op_is_torchs_count(by_schema, meta, name):
    # Torch takes positions for heads in `_efficient_attention`: it is right where there are as many of both.
    as_many = {"q": (2, 6, 6, 8), "k": (2, 6, 6, 8), "v": (2, 6, 6, 4)} if name.startswith("_efficient") else {}
    call = call_of(by_schema, meta, name, **as_many)
    assert call.count().macs == call.torch_macs


side = st.integers(1, 8)


@pytest.mark.usefixtures("grouped_queries")
@given(b=side, kv=side, group=side, queries=side, keys=side, size=side, wide=side)
def test_the_function_and_its_backward_are_torchs_count(meta, b, kv, group, queries, keys, size, wide):
    """In half precision, where a fused kernel takes heads of any size: torch's formula is that of such a kernel."""
    q, k, v = (b, kv * group, queries, size), (b, kv, keys, size), (b, kv, keys, wide)
    tensors = [meta(*shape, dtype=torch.bfloat16) for shape in (q, k, v)]
    forward = find_cost_rule("aten.scaled_dot_product_attention")(None, *tensors, enable_gqa=True)
    assert forward.macs == sdpa_flop_count(q, k, v) // 2
    backward = find_cost_rule("aten.scaled_dot_product_attention_backward")(None, *tensors, enable_gqa=True)
    assert backward.macs == sdpa_backward_flop_count((*q[:3], wide), q, k, v) // 2


@given(queries=side, keys=side, size=side)
def test_half_counts_exactly_the_scores_that_a_causal_mask_leaves(meta, queries, keys, size):
    tensors = meta(queries, size), meta(keys, size), meta(keys, size)
    left = int(torch.ones(queries, keys).tril().sum())
    rule = find_cost_rule("aten.scaled_dot_product_attention", "half")
    assert rule(None, *tensors, is_causal=True).macs == left * 2 * size
    assert rule(None, *tensors, None, 0.0, True) == rule(None, *tensors, is_causal=True)
    assert rule(None, *tensors).macs == queries * keys * 2 * size
    assert (
        find_cost_rule("aten.scaled_dot_product_attention")(None, *tensors, is_causal=True).macs
        == queries * keys * 2 * size
    )


def test_tensors_may_be_given_by_name_and_batches_broadcast(meta):
    rule = find_cost_rule("aten.scaled_dot_product_attention")
    given = {"query": meta(5, 8), "key": meta(3, 1, 7, 8), "value": meta(3, 2, 7, 4)}
    assert rule(None, **given).macs == 3 * 2 * 5 * 7 * (8 + 4)
    result = torch.nn.functional.scaled_dot_product_attention(**given)
    assert result.shape == (3, 2, 5, 4)


def test_what_the_math_path_dispatches_has_the_same_macs(dispatched, meta):
    q, k, v = meta(2, 4, 5, 8), meta(2, 4, 7, 8), meta(2, 4, 7, 8)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        calls = dispatched(lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v))
    unrolled = sum(call.count().macs for call in calls)
    assert find_cost_rule("aten.scaled_dot_product_attention")(None, q, k, v).macs == unrolled == 2 * 4 * 5 * 7 * 16


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_whose_scores_the_shapes_do_not_tell_are_unknown(by_schema, meta, name):
    ragged = call_of(by_schema, meta, name)
    names = [argument.name for argument in getattr(torch.ops.aten, name).default._schema.arguments]
    place = next(i for i, argument in enumerate(names) if argument.startswith(("cum_seq", "cu_seq")))
    args = list(ragged.args)
    args[place] = args[place + 1] = meta(3, dtype=torch.int32)
    assert ragged._replace(args=tuple(args)).count() is None
    assert call_of(by_schema, meta, name, causal=True).count("half") is None
    assert call_of(by_schema, meta, name, causal=True, k=(2, 3, 5, 8), v=(2, 3, 5, 4)).count("half") is not None


@pytest.mark.parametrize("option", ["window_size_left", "seqused_k"])
def test_a_window_or_a_half_filled_cache_is_unknown(by_schema, meta, option):
    assert call_of(by_schema, meta, "_flash_attention_forward", **{option: 3}).count() is None


def test_the_overload_for_8_bit_inputs_is_unknown(meta):
    scale, tensor = meta(1), meta(1, 2, 3, 4)
    rule = find_cost_rule("aten._scaled_dot_product_flash_attention")
    assert rule(None, tensor, tensor, tensor, scale, scale, scale, 0.0, True) is None
    assert rule(None, tensor, tensor, tensor, None, None, None, 0.0, True) is None


class Plain(torch.nn.Module):
    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)


@pytest.mark.parametrize("make", [lambda x: x[0], lambda x: x.double(), lambda x: x[..., :6]])
def test_gradients_of_attention_that_no_fused_kernel_takes_are_four_products(make) -> None:
    """Three dimensions, float64, heads of 6: torch keeps the scores. Its own counter counts what it takes apart."""
    inputs = [make(torch.zeros(shape, device="meta")).requires_grad_() for shape in (Q, Q, Q)]
    with FlopCounterMode(display=False) as forward, torch.nn.attention.sdpa_kernel(SDPBackend.MATH):
        result = Plain()(*inputs)
    with FlopCounterMode(display=False) as backward:
        result.sum().backward()
    totals = archprof.profile(
        Plain(), tuple(torch.zeros_like(x, device="cpu").requires_grad_() for x in inputs), train=True
    ).totals
    assert (totals.macs, totals.backward_macs) == (forward.get_total_flops() // 2, backward.get_total_flops() // 2)
