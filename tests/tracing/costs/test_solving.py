from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st


def substituted(n: int, divides: bool) -> tuple[int, int]:
    """Multiply-accumulates and divisions of one forward substitution, counted one by one."""
    macs = divisions = 0
    for row in range(n):
        for _ in range(row):
            macs += 1
        divisions += divides
    return macs, divisions


@given(n=st.integers(1, 9), k=st.integers(1, 5), batch=st.integers(1, 3), divides=st.booleans(), left=st.booleans())
def test_a_triangular_system_costs_its_substitutions(dispatched, meta, n, k, batch, divides, left):
    right = meta(batch, n, k) if left else meta(batch, k, n)
    (call,) = dispatched(
        lambda: torch.linalg.solve_triangular(
            meta(batch, n, n), right, upper=False, left=left, unitriangular=not divides
        ),
        "aten.linalg_solve_triangular",
    )
    macs, divisions = substituted(n, divides)
    assert call.count()[:2] == (batch * k * macs, batch * k * (2 * macs + divisions))


@pytest.mark.parametrize("name", ["histc", "bincount"])
def test_counting_items_is_no_arithmetic(dispatched, name):
    count = {"histc": lambda x: torch.histc(x.float(), bins=4, min=0, max=3), "bincount": torch.bincount}[name]
    (call,) = dispatched(lambda: count(torch.tensor([0, 1, 1, 3])), f"aten.{name}")
    assert call.count()[:2] == (0, 0)
