"""Matrix products.

MACs: output elements × the length of the summed dimension, whatever the dtype; a complex multiply-accumulate is four
real ones (torch's counter takes it for one). FLOPs: 2 × MACs; `addmm` and its kin one add an output element more for
what they add, and `linear` for its bias. Factors like `alpha` and the scales of a scaled product are not counted.

`_trilinear` (the core of `nn.Bilinear`) is counted as written: for each element of the full three-way product one
multiply and one MAC.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap
from typing import TYPE_CHECKING, Any

from archprof.tracing.ops.costs.registry import Count, aten, rule
from archprof.tracing.ops.costs.tensors import numel

if TYPE_CHECKING:
    from torch import Tensor


def product(result: Tensor, summed: int, adds: int = 0) -> Count:
    """A product with this result, each element a sum of `summed` products; then `adds` adds."""
    macs = numel(result) * summed
    if result.dtype.is_complex:
        macs *= 4
    return Count(macs, 2 * macs + adds)


@rule(*aten("mm bmm mv dot vdot matmul _int_mm"))
def plain(result: Tensor, /, a: Tensor, *_: Any, **__: Any) -> Count:
    return product(result, a.shape[-1])


@rule(*aten("addmm baddbmm addmv"))
def with_add(result: Tensor, /, added: Tensor, a: Tensor, *_: Any, **__: Any) -> Count:
    return product(result, a.shape[-1], numel(result))


@rule(*aten("addbmm"))
def with_add_over_batch(result: Tensor, /, added: Tensor, a: Tensor, *_: Any, **__: Any) -> Count:
    return product(result, a.shape[0] * a.shape[-1], numel(result))


@rule(*aten("addr"))
def outer_with_add(result: Tensor, /, *_: Any, **__: Any) -> Count:
    return product(result, 1, numel(result))


@rule(*aten("_addmm_activation"))
def with_activation(result: Tensor, /, added: Tensor, a: Tensor, *_: Any, **__: Any) -> Count:
    return product(result, a.shape[-1], 2 * numel(result))


@rule(*aten("linear mkldnn_linear"))
def linear(result: Tensor, /, x: Tensor, weight: Tensor, bias: Tensor | None = None, **_: Any) -> Count:
    return product(result, weight.shape[-1], numel(result) if bias is not None else 0)


@rule(*aten("_scaled_mm"))
def scaled(
    result: Tensor,
    /,
    a: Tensor,
    b: Tensor,
    scale_a: Tensor,
    scale_b: Tensor,
    bias: Tensor | None = None,
    *_: Any,
    **__: Any,
) -> Count:
    return product(result, a.shape[-1], numel(result) if bias is not None else 0)


@rule(*aten("_grouped_mm _scaled_grouped_mm"))
def grouped(result: Tensor, /, a: Tensor, b: Tensor, *_: Any, **__: Any) -> Count:
    """Two matrices: the groups share out the summed dimension, and are taken to cover all of it."""
    if len(a.shape) == len(b.shape) == 2:
        macs = numel(a) * b.shape[-1]
        return Count(macs, 2 * macs)
    return product(result, a.shape[-1])


@rule(*aten("_trilinear"))
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
) -> Count:
    operands = zip((a, b, c), (expand_a, expand_b, expand_c), strict=True)
    elements = 1
    for lengths in zip(*starmap(_expanded, operands), strict=True):
        elements *= max(lengths)
    return Count(elements, 3 * elements)


def _expanded(tensor: Tensor, dims: Sequence[int]) -> list[int]:
    """Its shape with a dimension of 1 put in at each of `dims`."""
    shape = list(tensor.shape)
    for dim in sorted(dims):
        shape.insert(dim, 1)
    return shape
