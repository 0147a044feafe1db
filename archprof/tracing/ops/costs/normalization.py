"""Normalisation layers.

Per element, in training (and for layer, group and instance norm always) 5 FLOPs: sum, subtract the mean, square, add,
multiply by 1/std; plus 1 for a weight and 1 for a bias. RMS norm: 3 (square, add, multiply) plus 1 for a weight. A
batch norm in evaluation: 2, its statistics and its weights folded into one scale and one shift. Work once per channel
or row (square roots, running statistics) is not counted.

Backward: twice the forward, a bias taken to be there when a weight is.
`weight_norm`: 3 per element (square, add, scale) and one division per norm; its backward twice that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archprof.tracing.ops.costs.registry import OpCost, aten_names, cost_rule
from archprof.tracing.ops.costs.tensors import numel

if TYPE_CHECKING:
    from torch import Tensor

FOLDED_FLOPS = 2
CENTRED_FLOPS = 5
RMS_FLOPS = 3


def norm_flops_per_element(weight: Tensor | None, bias: Tensor | None) -> int:
    """FLOPs per element of a norm that takes its statistics from its input."""
    return CENTRED_FLOPS + (weight is not None) + (bias is not None)


@cost_rule(
    *aten_names(
        "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_functional "
        "cudnn_batch_norm miopen_batch_norm"
    )
)
def batch_norm(result: Any, /, x: Tensor, weight: Tensor | None, bias: Tensor | None, *rest: Any, **_: Any) -> OpCost:
    training = rest[-3]  # momentum and eps follow it; the running statistics before it may be left out
    return OpCost(0, numel(x) * (norm_flops_per_element(weight, bias) if training else FOLDED_FLOPS))


@cost_rule(*aten_names("_batch_norm_with_update _batch_norm_with_update_functional"))
def batch_norm_training(
    result: Any, /, x: Tensor, weight: Tensor | None, bias: Tensor | None, *_: Any, **__: Any
) -> OpCost:
    return OpCost(0, numel(x) * norm_flops_per_element(weight, bias))


@cost_rule(*aten_names("_native_batch_norm_legit_no_training _batch_norm_no_update"))
def batch_norm_evaluation(result: Any, /, x: Tensor, *_: Any, **__: Any) -> OpCost:
    return OpCost(0, numel(x) * FOLDED_FLOPS)


@cost_rule(*aten_names("native_batch_norm_backward batch_norm_backward"))
def batch_norm_backward(
    result: Any,
    /,
    gradient: Tensor,
    x: Tensor,
    weight: Tensor | None,
    running_mean: Any,
    running_var: Any,
    save_mean: Any,
    save_invstd: Any,
    train: bool,
    *_: Any,
    **__: Any,
) -> OpCost:
    return OpCost(0, 2 * numel(x) * (norm_flops_per_element(weight, weight) if train else FOLDED_FLOPS))


@cost_rule(*aten_names("cudnn_batch_norm_backward miopen_batch_norm_backward"))
def batch_norm_backward_training(
    result: Any, /, x: Tensor, gradient: Tensor, weight: Tensor | None, *_: Any, **__: Any
) -> OpCost:
    return OpCost(0, 2 * numel(x) * norm_flops_per_element(weight, weight))


@cost_rule(*aten_names("native_layer_norm"))
def layer_norm(
    result: Any, /, x: Tensor, normalized_shape: Any, weight: Tensor | None, bias: Tensor | None, *_: Any, **__: Any
) -> OpCost:
    return OpCost(0, numel(x) * norm_flops_per_element(weight, bias))


@cost_rule(*aten_names("native_layer_norm_backward"))
def layer_norm_backward(
    result: Any,
    /,
    gradient: Tensor,
    x: Tensor,
    normalized_shape: Any,
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    *_: Any,
    **__: Any,
) -> OpCost:
    return OpCost(0, 2 * numel(x) * norm_flops_per_element(weight, bias))


@cost_rule(*aten_names("native_group_norm"))
def group_norm(result: Any, /, x: Tensor, weight: Tensor | None, bias: Tensor | None, *_: Any, **__: Any) -> OpCost:
    return OpCost(0, numel(x) * norm_flops_per_element(weight, bias))


@cost_rule(*aten_names("native_group_norm_backward"))
def group_norm_backward(
    result: Any, /, gradient: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor | None, *_: Any, **__: Any
) -> OpCost:
    return OpCost(0, 2 * numel(x) * norm_flops_per_element(weight, weight))


@cost_rule(*aten_names("_fused_rms_norm rms_norm"))
def rms_norm(
    result: Any, /, x: Tensor, normalized_shape: Any, weight: Tensor | None = None, *_: Any, **__: Any
) -> OpCost:
    return OpCost(0, numel(x) * (RMS_FLOPS + (weight is not None)))


@cost_rule(*aten_names("_fused_rms_norm_backward"))
def rms_norm_backward(
    result: Any,
    /,
    gradient: Tensor,
    x: Tensor,
    normalized_shape: Any,
    rstd: Tensor,
    weight: Tensor | None,
    *_: Any,
    **__: Any,
) -> OpCost:
    return OpCost(0, 2 * numel(x) * (RMS_FLOPS + (weight is not None)))


@cost_rule(*aten_names("_weight_norm_interface"))
def weight_norm(result: Any, /, v: Tensor, g: Tensor, *_: Any, **__: Any) -> OpCost:
    return OpCost(0, 3 * numel(v) + numel(g))


@cost_rule(*aten_names("_weight_norm_interface_backward"))
def weight_norm_backward(result: Any, /, gradient: Tensor, v: Tensor, g: Tensor, *_: Any, **__: Any) -> OpCost:
    return OpCost(0, 2 * (3 * numel(v) + numel(g)))
