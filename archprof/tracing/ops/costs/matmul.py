"""Matrix products.

MACs: output elements × the length of the summed dimension, whatever the dtype; a complex multiply-accumulate is four
real ones (torch's counter takes it for one). FLOPs: 2 × MACs; `addmm` and its kin one add more per output element for
what they add, and `linear` for its bias. Factors like `alpha` and the scales of a scaled product are not counted.

`_trilinear` (the core of `nn.Bilinear`) is counted as written: for each element of the full three-way product one
multiply and one MAC.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap
from typing import TYPE_CHECKING, Any

from archprof.tracing.ops.costs.registry import OpCost, aten_names, cost_rule
from archprof.tracing.ops.costs.tensors import numel

if TYPE_CHECKING:
    from torch import Tensor


def count_product(result: Tensor, summed: int, adds: int = 0) -> OpCost:
    """A product with this result, each element a sum of `summed` products; then `adds` adds."""
    macs = numel(result) * summed
    if result.dtype.is_complex:
        macs *= 4
    return OpCost(macs, 2 * macs + adds)


@cost_rule(*aten_names("mm bmm mv dot vdot matmul _int_mm"))
def plain_product(result: Tensor, /, a: Tensor, *_: Any, **__: Any) -> OpCost:
    return count_product(result, a.shape[-1])


@cost_rule(*aten_names("addmm baddbmm addmv"))
def product_with_add(result: Tensor, /, added: Tensor, a: Tensor, *_: Any, **__: Any) -> OpCost:
    return count_product(result, a.shape[-1], numel(result))


@cost_rule(*aten_names("addbmm"))
def product_with_add_over_batch(result: Tensor, /, added: Tensor, a: Tensor, *_: Any, **__: Any) -> OpCost:
    return count_product(result, a.shape[0] * a.shape[-1], numel(result))


@cost_rule(*aten_names("addr"))
def outer_product_with_add(result: Tensor, /, *_: Any, **__: Any) -> OpCost:
    return count_product(result, 1, numel(result))


@cost_rule(*aten_names("_addmm_activation"))
def product_with_activation(result: Tensor, /, added: Tensor, a: Tensor, *_: Any, **__: Any) -> OpCost:
    return count_product(result, a.shape[-1], 2 * numel(result))


@cost_rule(*aten_names("linear mkldnn_linear"))
def linear_layer(result: Tensor, /, x: Tensor, weight: Tensor, bias: Tensor | None = None, **_: Any) -> OpCost:
    return count_product(result, weight.shape[-1], numel(result) if bias is not None else 0)


@cost_rule(*aten_names("_scaled_mm"))
def scaled_product(
    result: Tensor,
    /,
    a: Tensor,
    b: Tensor,
    scale_a: Tensor,
    scale_b: Tensor,
    bias: Tensor | None = None,
    *_: Any,
    **__: Any,
) -> OpCost:
    return count_product(result, a.shape[-1], numel(result) if bias is not None else 0)


@cost_rule(*aten_names("_grouped_mm _scaled_grouped_mm"))
def grouped_product(result: Tensor, /, a: Tensor, b: Tensor, *_: Any, **__: Any) -> OpCost:
    """Two matrices: the groups share out the summed dimension, and are taken to cover all of it."""
    if len(a.shape) == len(b.shape) == 2:
        macs = numel(a) * b.shape[-1]
        return OpCost(macs, 2 * macs)
    return count_product(result, a.shape[-1])


@cost_rule(*aten_names("_trilinear"))
def trilinear(
    result: Tensor,
    /,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    expand_a: Sequence[int],
    expand_b: Sequence[int],
    expand_c: Sequence[int],
    *_: Any,
    **__: Any,
) -> OpCost:
    operands = zip((a, b, c), (expand_a, expand_b, expand_c), strict=True)
    elements = 1
    for lengths in zip(*starmap(_expand_shape, operands), strict=True):
        elements *= max(lengths)
    return OpCost(elements, 3 * elements)


def _expand_shape(tensor: Tensor, dims: Sequence[int]) -> list[int]:
    """Its shape with a dimension of 1 put in at each of `dims`."""
    shape = list(tensor.shape)
    for dim in sorted(dims):
        shape.insert(dim, 1)
    return shape
