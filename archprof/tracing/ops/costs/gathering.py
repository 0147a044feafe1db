"""Ops that add what they move: scattering with a sum, the backward of a gather, padding or fold, bags of embeddings.

One FLOP per element added. A bag of embeddings sums, averages or takes the maximum of its rows: as a reduction, and one
multiply per element when samples are weighted. Moving without adding is in `movement`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archprof.tracing.ops.costs.registry import NO_COST, OpCost, aten_names, cost_rule
from archprof.tracing.ops.costs.tensors import has_floating_dtype, numel

if TYPE_CHECKING:
    from torch import Tensor

MEAN_MODE = 1
"""The value of `mode` for which a bag is averaged; 0 is its sum and 2 its maximum."""


def _count_adds(moved: Tensor) -> OpCost:
    return OpCost(0, numel(moved)) if has_floating_dtype(moved) else NO_COST


@cost_rule(
    *aten_names(
        "col2im embedding_dense_backward unfold_backward "
        "reflection_pad1d_backward reflection_pad2d_backward reflection_pad3d_backward "
        "replication_pad1d_backward replication_pad2d_backward replication_pad3d_backward"
    )
)
def count_adds_of_first(result: Tensor, /, moved: Tensor, *_: Any, **__: Any) -> OpCost:
    return _count_adds(moved)


@cost_rule(*aten_names("index_add index_reduce"))
def index_add(result: Tensor, /, x: Tensor, dim: int, index: Tensor, source: Tensor, *_: Any, **__: Any) -> OpCost:
    return _count_adds(source)


@cost_rule(*aten_names("scatter_add scatter_reduce"))
def scatter_add(result: Tensor, /, x: Tensor, dim: int, index: Tensor, *_: Any, **__: Any) -> OpCost:
    return OpCost(0, numel(index)) if has_floating_dtype(x) else NO_COST


@cost_rule(*aten_names("scatter"))
def scatter(
    result: Tensor, /, x: Tensor, dim: int, index: Tensor, *_: Any, reduce: str | None = None, **__: Any
) -> OpCost:
    return scatter_add(result, x, dim, index) if reduce else NO_COST


@cost_rule(*aten_names("index_put _index_put_impl _unsafe_index_put"))
def index_put(
    result: Tensor, /, x: Tensor, indices: Any, values: Tensor, accumulate: bool = False, *_: Any, **__: Any
) -> OpCost:
    return _count_adds(values) if accumulate else NO_COST


@cost_rule(*aten_names("put"))
def put(result: Tensor, /, x: Tensor, index: Tensor, source: Tensor, accumulate: bool = False, **_: Any) -> OpCost:
    return _count_adds(source) if accumulate else NO_COST


@cost_rule(*aten_names("_embedding_bag _embedding_bag_forward_only"), gathers=True)
def embedding_bag(
    result: Any,
    /,
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    *_: Any,
    **__: Any,
) -> OpCost:
    rows = numel(indices) * weight.shape[1]
    reduction = rows if mode == MEAN_MODE else max(0, rows - numel(result[0]))
    return OpCost(0, reduction + (rows if per_sample_weights is not None else 0))


@cost_rule(*aten_names("_embedding_bag_backward _embedding_bag_dense_backward"))
def embedding_bag_backward(result: Tensor, /, gradient: Tensor, indices: Tensor, *_: Any, **__: Any) -> OpCost:
    return OpCost(0, numel(indices) * gradient.shape[1])
