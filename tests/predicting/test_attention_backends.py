"""Which kernel runs an attention, and what torch's plain one keeps, by hand."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

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
    def __init__(self, learns: bool = True) -> None:
        super().__init__()
        self.learns = learns

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        query, key, value = (one.requires_grad_(self.learns) for one in (query, key, value))
        return functional.scaled_dot_product_attention(query, key, value)


def trace(shape: tuple[int, ...], dtype: str = "float32", *, train: bool = True) -> archprof.Profile:
    return archprof.profile(Attention(train), [f"{dtype}[{','.join(map(str, shape))}]"] * 3, train=train)


def kept(shape: tuple[int, ...], dtype: str = "float32") -> list[int]:
    profile = trace(shape, dtype)
    profile.check()
    return sorted(one.nbytes for one in profile.storages if one.role == "auxiliary" and one.saved)


def test_the_plain_kernel_keeps_the_scores() -> None:
    """Of 2 x 3 x 4 heads over 5 tokens of width 8: the scores, and the scaled queries and keys, in float32."""
    scores, operand = 2 * 3 * 4 * 5 * 5 * 4, 2 * 3 * 4 * 5 * 8 * 4
    assert kept((2, 3, 4, 5, 8)) == sorted([scores, operand, operand])
    assert kept((2, 3, 4, 5, 8), "float16") == sorted([scores, operand, operand, operand])
    assert kept((2, 12, 5, 8)) == [2 * 12 * 5 * 4]  # a fused one keeps a number a query


def lend(profile: archprof.Profile) -> list[int]:
    return [sum(choose_workspaces(None).lend(op)) for op in profile.ops if "attention" in op.name]


def record_peak(run: Callable[[], object]) -> int:
    """The most bytes that a run on the CPU has at once, by the events of torch's profiler."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as recorded:
        kept = run()
    events = [one for one in recorded.profiler.kineto_results.events() if one.name() == "[memory]"]
    del kept
    return max(accumulate(one.nbytes() for one in sorted(events, key=lambda one: one.start_ns())))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("train", [False, True])
def test_what_the_plain_kernel_borrows(dtype: str, train: bool) -> None:
    """As torch's own runs on tensors of the CPU, beside what it returns; 64 bytes are for a few numbers."""
    shape = (2, 3, 4, 40, 8)
    tensors = [torch.randn(shape, dtype=getattr(torch, dtype)).requires_grad_(train) for _ in range(3)]
    with torch.set_grad_enabled(train):
        most = record_peak(lambda: torch.ops.aten._scaled_dot_product_attention_math(*tensors))
    profile = trace(shape, dtype, train=train)
    saved = sum(one.nbytes for one in profile.storages if one.role == "auxiliary")
    assert 0 <= most - (lend(profile)[0] + saved) <= 64


def test_what_the_backward_of_the_plain_kernel_borrows() -> None:
    """Two gradients of each score; the 2 x 3 x 4 heads have 5 x 5, in float32 also where the tensors are not."""
    for dtype in ("float32", "bfloat16"):
        assert lend(trace((2, 3, 4, 5, 8), dtype))[1] == 2 * (2 * 3 * 4 * 5 * 5 * 4)


def test_a_fused_kernel_borrows_nothing() -> None:
    assert lend(trace((2, 12, 5, 8))) == [0, 0]


def test_attention_over_nothing_borrows_nothing() -> None:
    profile = archprof.profile(Attention(), (torch.zeros(2, 3, 0, 30),) * 3, train=True)
    assert [choose_workspaces(None).lend(op) for op in profile.ops if "attention" in op.name] == [(), ()]
