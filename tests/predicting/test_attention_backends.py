"""Which kernel runs an attention, and what torch's plain one keeps, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import archprof
from archprof.predicting.attention_backends import choose_attention_backend
from archprof.predicting.workspaces import choose_workspaces


@pytest.mark.parametrize(
    ("dims", "dtype", "head", "masked", "backend"),
    [
        (4, "float16", 64, False, "flash"),
        (4, "bfloat16", 80, False, "flash"),
        (4, "bfloat16", 264, False, "efficient"),
        (4, "float16", 64, True, "efficient"),
        (4, "float32", 64, False, "efficient"),
        (4, "float32", 64, True, "efficient"),
        (4, "float32", 30, False, "math"),
        (4, "float16", 12, True, "math"),
        (4, "float64", 64, False, "math"),
        (3, "float16", 64, False, "math"),
        (5, "float32", 32, False, "math"),
    ],
)
def test_the_kernel(dims: int, dtype: str, head: int, masked: bool, backend: str) -> None:
    assert choose_attention_backend(dims, dtype, head, masked=masked) == backend


class Attention(nn.Module):
    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        query = query.requires_grad_()
        return functional.scaled_dot_product_attention(query, key, value)


def kept(shape: tuple[int, ...]) -> list[int]:
    profile = archprof.profile(Attention(), (shape, shape, shape), train=True)
    profile.check()
    return sorted(one.nbytes for one in profile.storages if one.role == "auxiliary" and one.saved)


def test_the_plain_kernel_keeps_the_scores() -> None:
    """Of 2 x 3 x 4 heads over 5 tokens of width 8: the scores, and the scaled queries and keys."""
    scores, operand = 2 * 3 * 4 * 5 * 5 * 4, 2 * 3 * 4 * 5 * 8 * 4
    assert kept((2, 3, 4, 5, 8)) == sorted([scores, operand, operand])
    assert kept((2, 12, 5, 8)) == [2 * 12 * 5 * 4]  # a fused one keeps a number a query


def test_what_the_plain_kernel_borrows() -> None:
    profile = archprof.profile(Attention(), ((2, 3, 4, 5, 8),) * 3, train=True)
    lend = choose_workspaces(None).lend
    lent = [(op.name, lend(op)) for op in profile.ops if "attention" in op.name]
    scores = 2 * 3 * 4 * 5 * 5 * 4
    assert lent == [
        ("aten.scaled_dot_product_attention", scores), ("aten.scaled_dot_product_attention_backward", 2 * scores),
    ]  # fmt: skip
