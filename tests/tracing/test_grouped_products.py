"""Products of groups of rows, as mixtures of experts make them, in a training step in float32.

The oracle is what torch's own mode sees of the same step on real tensors.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import archprof

GROUPED = "aten._grouped_mm.default"


class Experts(nn.Module):
    """Four experts, of which each has four rows."""

    def __init__(self, columns_first: bool) -> None:
        super().__init__()
        self.columns_first, self.scale = columns_first, nn.Parameter(torch.ones(32))
        self.up = nn.Parameter(torch.randn(4, 64, 32) if columns_first else torch.randn(4, 32, 64))

    def forward(self, x: torch.Tensor) -> Any:
        ends = torch.arange(4, 20, 4, dtype=torch.int32, device=x.device)
        up = self.up.mT if self.columns_first else self.up
        made = torch._grouped_mm(x * self.scale, up, ends)
        return made * made


class Products(TorchDispatchMode):
    """The layouts of what goes into each grouped product, and comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if str(func) == GROUPED:
            self.seen.append([(tuple(one.shape), one.stride()) for one in (*args[:2], result)])
        return result


@pytest.mark.skipif(not hasattr(torch, "_grouped_mm"), reason="torch has no grouped products")
@pytest.mark.parametrize("columns_first", [False, True])
def test_a_training_step_makes_the_products_of_a_real_one(columns_first: bool) -> None:
    model, x = Experts(columns_first), torch.randn(16, 32)
    with Products() as real:
        model(x).backward(torch.randn(16, 64))
    profile = archprof.profile(Experts(columns_first), torch.empty(16, 32), train=True)
    profile.check()
    ops = [op for op in profile.ops if op.signature.name == GROUPED]
    layouts = [[(spec.shape, spec.strides) for spec in (*op.signature.inputs[:2], *op.signature.outputs)] for op in ops]
    plain = [[(shape, None if _is_plain(shape, strides) else strides) for shape, strides in one] for one in real.seen]
    assert sorted(layouts, key=str) == sorted(plain, key=str)
    assert len(layouts) == 3
    assert profile.totals.complete
    assert {op.macs for op in ops} == {16 * 32 * 64}


def _is_plain(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    return torch.empty(shape).stride() == strides
