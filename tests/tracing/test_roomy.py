"""Results that lie in a larger storage than they fill: the storages of torch's own kernels on the CPU are as large."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from archprof.tracing.ops.shapes import find_shape_rule

aten = torch.ops.aten
PROBABLE = torch.rand(2, 3, 4)

CALLS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "mse": (aten.mse_loss.default, (PROBABLE, PROBABLE)),
    "mse, broadcast": (aten.mse_loss.default, (PROBABLE, torch.rand(3, 1), 2)),
    "smooth l1": (aten.smooth_l1_loss.default, (PROBABLE, PROBABLE, 1, 0.5)),
    "binary entropy": (aten.binary_cross_entropy.default, (PROBABLE, PROBABLE)),
    "soft margin": (aten.soft_margin_loss.default, (PROBABLE, PROBABLE, 2)),
    "columns to image": (aten.col2im.default, (torch.rand(2, 12, 9), [4, 4], [2, 2], [1, 1], [0, 0], [1, 1])),
    "few columns to image": (aten.col2im.default, (torch.rand(2, 3, 4), [4, 4], [1, 1], [1, 1], [0, 0], [2, 2])),
    "image to columns": (aten.im2col.default, (torch.rand(2, 3, 4, 4), [2, 2], [1, 1], [0, 0], [1, 1])),
    "image to few columns": (aten.im2col.default, (torch.rand(2, 3, 4, 4), [1, 1], [1, 1], [0, 0], [2, 2])),
}


@pytest.mark.parametrize("name", CALLS)
def test_storages_are_as_large_as_real_ones(name: str) -> None:
    op, args = CALLS[name]
    real = op(*args)
    rule = find_shape_rule(op)
    assert rule is not None
    traced = rule(*[arg.to("meta") if isinstance(arg, torch.Tensor) else arg for arg in args])
    assert (traced.shape, traced.stride()) == (real.shape, real.stride())
    assert traced.untyped_storage().nbytes() == real.untyped_storage().nbytes()


@pytest.mark.parametrize("reduced", [functional.l1_loss, functional.huber_loss, functional.kl_div])
def test_other_losses_are_made_anew(reduced: Any) -> None:
    assert reduced(PROBABLE, PROBABLE, reduction="sum").untyped_storage().nbytes() == 4


@pytest.mark.parametrize(
    "op", [aten.mse_loss.default, aten.binary_cross_entropy.default, aten.soft_margin_loss.default]
)
def test_what_is_not_reduced_is_left_to_torch(op: Any) -> None:
    rule, x = find_shape_rule(op), PROBABLE.to("meta")
    assert rule is not None
    assert rule(x, x, reduction=0) is None
