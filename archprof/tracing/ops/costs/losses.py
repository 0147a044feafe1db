"""Losses that are one op, and distances between sets of vectors.

Per element: squared error 2, smooth L1 and Huber 4, binary cross entropy 7 (from logits 4, and 1 more each for a
weight and a positive weight), soft margin 4, multi-class margin 4; then 1 to sum or average over the batch, unless
`reduction="none"`. Negative log likelihood: 2 per target. Backward: as many per element, without the reduction;
negative log likelihood 1 per target.

Distances, for each pair of vectors of length M: 3 M + 1 (subtract, power, add; one root); backward twice that. The
Euclidean distance by matrix product: M MACs per pair, 4 FLOPs per pair for sum and root, 2 M per vector for its
own length. CTC and multi-label margin depend on the targets' values: unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archprof.tracing.ops.costs.registry import CostRule, OpCost, aten_names, cost_rule
from archprof.tracing.ops.costs.tensors import numel

if TYPE_CHECKING:
    from torch import Tensor

UNREDUCED_MODE = 0
"""The value of `reduction` that leaves the losses of the elements as they are; 1 is the mean and 2 the sum."""

FLOPS_PER_ELEMENT = {"mse_loss": 2, "smooth_l1_loss": 4, "huber_loss": 4, "soft_margin_loss": 4}


def _loss_rule(flops: int) -> CostRule:
    def count(result: Tensor, /, x: Tensor, target: Tensor, reduction: int = 1, *_: Any, **__: Any) -> OpCost:
        return OpCost(0, numel(x) * (flops + (reduction != UNREDUCED_MODE)))

    return count


def _loss_backward_rule(flops: int) -> CostRule:
    def count(result: Tensor, /, gradient: Tensor, x: Tensor, *_: Any, **__: Any) -> OpCost:
        return OpCost(0, numel(x) * flops)

    return count


for _name, _flops in FLOPS_PER_ELEMENT.items():
    cost_rule(f"aten.{_name}")(_loss_rule(_flops))
    cost_rule(f"aten.{_name}_backward")(_loss_backward_rule(_flops))


@cost_rule(*aten_names("binary_cross_entropy"))
def binary_cross_entropy(
    result: Tensor, /, x: Tensor, target: Tensor, weight: Tensor | None = None, reduction: int = 1
) -> OpCost:
    return OpCost(0, numel(x) * (7 + (weight is not None) + (reduction != UNREDUCED_MODE)))


@cost_rule(*aten_names("binary_cross_entropy_backward"))
def binary_cross_entropy_backward(
    result: Tensor, /, gradient: Tensor, x: Tensor, target: Tensor, weight: Tensor | None = None, *_: Any, **__: Any
) -> OpCost:
    return OpCost(0, numel(x) * (7 + (weight is not None)))


@cost_rule(*aten_names("binary_cross_entropy_with_logits"))
def binary_cross_entropy_from_logits(
    result: Tensor,
    /,
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: int = 1,
) -> OpCost:
    return OpCost(0, numel(x) * (4 + (weight is not None) + (pos_weight is not None) + (reduction != UNREDUCED_MODE)))


@cost_rule(*aten_names("multi_margin_loss"))
def multi_margin(
    result: Tensor,
    /,
    x: Tensor,
    target: Tensor,
    p: float = 1,
    margin: float = 1,
    weight: Any = None,
    reduction: int = 1,
) -> OpCost:
    return OpCost(0, numel(x) * (4 + (reduction != UNREDUCED_MODE)))


@cost_rule(*aten_names("multi_margin_loss_backward"))
def multi_margin_backward(result: Tensor, /, gradient: Tensor, x: Tensor, *_: Any, **__: Any) -> OpCost:
    return OpCost(0, numel(x) * 4)


@cost_rule(*aten_names("nll_loss_forward nll_loss2d_forward"))
def negative_log_likelihood(result: Any, /, x: Tensor, target: Tensor, *_: Any, **__: Any) -> OpCost:
    return OpCost(0, 2 * numel(target))


@cost_rule(*aten_names("nll_loss_backward nll_loss2d_backward"))
def negative_log_likelihood_backward(
    result: Tensor, /, gradient: Tensor, x: Tensor, target: Tensor, *_: Any, **__: Any
) -> OpCost:
    return OpCost(0, numel(target))


@cost_rule(*aten_names("_cdist_forward _pdist_forward"))
def distances(result: Tensor, /, x: Tensor, *_: Any, **__: Any) -> OpCost:
    return OpCost(0, numel(result) * (3 * x.shape[-1] + 1))


@cost_rule(*aten_names("_cdist_backward _pdist_backward"))
def distances_backward(result: Tensor, /, gradient: Tensor, x: Tensor, *_: Any, **__: Any) -> OpCost:
    return OpCost(0, 2 * numel(gradient) * (3 * x.shape[-1] + 1))


@cost_rule(*aten_names("_euclidean_dist"))
def euclidean_distances(result: Tensor, /, a: Tensor, b: Tensor, **_: Any) -> OpCost:
    pairs = numel(result)
    macs = pairs * a.shape[-1]
    return OpCost(macs, 2 * macs + 4 * pairs + 2 * (numel(a) + numel(b)))
