from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

side = st.integers(1, 9)


@given(n=side, k=side, m=side, b=side)
def test_products_are_torchs_count(dispatched, meta, n, k, m, b):
    adds = {"aten.addmm": n * m, "aten.baddbmm": b * n * m}

    def all_of_them():
        torch.mm(meta(n, k), meta(k, m))
        torch.addmm(meta(m), meta(n, k), meta(k, m))
        torch.bmm(meta(b, n, k), meta(b, k, m))
        torch.baddbmm(meta(m), meta(b, n, k), meta(b, k, m), beta=0.5, alpha=2)

    calls = [call for call in dispatched(all_of_them) if call.name in ("aten.mm", "aten.bmm", *adds)]
    assert len(calls) == 4
    for call in calls:
        macs, flops, window = call.count()
        assert macs == call.torch_macs
        assert flops == 2 * macs + adds.get(call.name, 0)
        assert window is None


@given(left=st.lists(side, max_size=2), right=st.lists(side, max_size=2), n=side, k=side, m=side)
def test_whatever_matmul_becomes_is_its_full_product(dispatched, meta, left, right, n, k, m):
    if len(left) == len(right) == 2:
        right = [1, left[1]]
    elif left and right:
        right[-1] = left[-1]
    a, b = meta(*left, n, k), meta(*right, k, m)
    made = []
    calls = dispatched(lambda: made.append(a @ b))
    assert sum(call.count().macs for call in calls) == made[0].numel() * k


@pytest.mark.parametrize(
    ("make", "macs", "flops"),
    [  # truths by hand: output elements times the summed length
        (lambda t: torch.mv(t(3, 4), t(4)), 12, 24),
        (lambda t: torch.addmv(t(3), t(3, 4), t(4)), 12, 27),
        (lambda t: torch.dot(t(4), t(4)), 4, 8),
        (lambda t: torch.vdot(t(4), t(4)), 4, 8),
        (lambda t: torch.addbmm(t(3, 5), t(2, 3, 4), t(2, 4, 5)), 120, 255),
        (lambda t: torch.addr(t(3, 5), t(3), t(5)), 15, 45),
        (lambda t: torch.outer(t(3), t(5)), 0, 15),
        (lambda t: torch.nn.functional.linear(t(2, 5, 3), t(2, 3)), 60, 120),
        (lambda t: torch.nn.functional.linear(t(2, 5, 3), t(2, 3), t(2)), 60, 140),
        (lambda t: torch.einsum("ij,bjk->bik", t(7, 6), t(4, 6, 5)), 840, 1680),
        (lambda t: t(7, 6) @ t(4, 6, 5), 840, 1680),
        (lambda t: torch._addmm_activation(t(5), t(3, 4), t(4, 5)), 60, 150),
        (lambda t: torch.mm(t(2, 3, dtype=torch.complex64), t(3, 4, dtype=torch.complex64)), 96, 192),
        (lambda t: torch._int_mm(t(32, 16, dtype=torch.int8), t(16, 8, dtype=torch.int8)), 4096, 8192),
    ],
)
def test_by_hand(dispatched, meta, make, macs, flops):
    counts = [call.count() for call in dispatched(lambda: make(meta))]
    assert (sum(count.macs for count in counts), sum(count.flops for count in counts)) == (macs, flops)


def test_composite_linear_and_matmul_under_inference_mode(dispatched, meta):
    x, weight, bias = meta(2, 5, 3), meta(4, 3), meta(4)
    with torch.inference_mode():
        calls = dispatched(lambda: (torch.nn.functional.linear(x, weight, bias), x @ x.mT))
    counts = {call.name: call.count() for call in calls}
    assert counts["aten.linear"][:2] == (120, 240 + 40)
    assert counts["aten.matmul"][:2] == (150, 300)


@pytest.mark.parametrize("bias", [False, True])
def test_scaled_product_is_torchs_count(by_schema, meta, bias):
    a, b = meta(16, 32), meta(32, 48)
    given = {"self": a, "mat2": b} | ({"bias": meta(48)} if bias else {})
    call = by_schema("aten._scaled_mm", meta(16, 48), **given)
    assert call.count()[:2] == (call.torch_macs, 2 * call.torch_macs + bias * 16 * 48)


@pytest.mark.parametrize(
    ("a", "b", "result"),
    [  # 6 rows or a summed length of 6 shared out in 3 parts, 3 batches, 3 parts of 5 columns: each product once
        ((6, 4), (3, 4, 5), (6, 5)),
        ((3, 2, 4), (3, 4, 5), (3, 2, 5)),
        ((4, 6), (6, 5), (3, 4, 5)),
        ((3, 6, 4), (4, 5), (6, 5)),
    ],
)
def test_grouped_products_do_each_product_once(by_schema, meta, a, b, result):
    call = by_schema("aten._grouped_mm", meta(*result), self=meta(*a), mat2=meta(*b))
    assert call.count().macs == 6 * 4 * 5


def test_bilinear_layer_is_the_full_three_way_product(dispatched, meta):
    layer = torch.nn.Bilinear(4, 5, 6, bias=False, device="meta")
    counts = [call.count() for call in dispatched(lambda: layer(meta(3, 4), meta(3, 5)))]
    elements = 3 * 4 * 5 * 6
    assert sum(count.macs for count in counts) == elements
    assert sum(count.flops for count in counts) == 3 * elements
