"""Ops that add what they move: scattering with a sum, the backward of a gather, padding or fold, bags of embeddings.

One FLOP an element added. A bag of embeddings sums, averages or takes the maximum of its rows: as a reduction, and one
multiply an element when samples are weighted. Moving without adding is in `movement`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archprof.tracing.ops.costs.registry import NOTHING, Count, aten, rule
from archprof.tracing.ops.costs.tensors import floating, numel

if TYPE_CHECKING:
    from torch import Tensor

MEAN = 1
"""The value of `mode` for which a bag is averaged; 0 is its sum and 2 its maximum."""


def _adds(moved: Tensor) -> Count:
    return Count(0, numel(moved)) if floating(moved) else NOTHING


@rule(
    *aten(
        "col2im embedding_dense_backward unfold_backward "
        "reflection_pad1d_backward reflection_pad2d_backward reflection_pad3d_backward "
        "replication_pad1d_backward replication_pad2d_backward replication_pad3d_backward"
    )
)
def all_of_the_first(result: Tensor, /, moved: Tensor, *_: Any, **__: Any) -> Count:
    return _adds(moved)


@rule(*aten("index_add index_reduce"))
def index_add(result: Tensor, /, x: Tensor, dim: int, index: Tensor, source: Tensor, *_: Any, **__: Any) -> Count:
    return _adds(source)


@rule(*aten("scatter_add scatter_reduce"))
def scatter_add(result: Tensor, /, x: Tensor, dim: int, index: Tensor, *_: Any, **__: Any) -> Count:
    return Count(0, numel(index)) if floating(x) else NOTHING


@rule(*aten("scatter"))
def scatter(
    result: Tensor, /, x: Tensor, dim: int, index: Tensor, *_: Any, reduce: str | None = None, **__: Any
) -> Count:
    return scatter_add(result, x, dim, index) if reduce else NOTHING


@rule(*aten("index_put _index_put_impl _unsafe_index_put"))
def index_put(
    result: Tensor, /, x: Tensor, indices: Any, values: Tensor, accumulate: bool = False, *_: Any, **__: Any
) -> Count:
    return _adds(values) if accumulate else NOTHING


@rule(*aten("put"))
def put(result: Tensor, /, x: Tensor, index: Tensor, source: Tensor, accumulate: bool = False, **_: Any) -> Count:
    return _adds(source) if accumulate else NOTHING


@rule(*aten("_embedding_bag _embedding_bag_forward_only"))
def bag(
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
) -> Count:
    rows = numel(indices) * weight.shape[1]
    reduction = rows if mode == MEAN else max(0, rows - numel(result[0]))
    return Count(0, reduction + (rows if per_sample_weights is not None else 0))


@rule(*aten("_embedding_bag_backward _embedding_bag_dense_backward"))
def bag_backward(result: Tensor, /, gradient: Tensor, indices: Tensor, *_: Any, **__: Any) -> Count:
    return Count(0, numel(indices) * gradient.shape[1])
