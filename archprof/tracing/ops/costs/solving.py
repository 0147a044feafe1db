"""Systems of equations.

A triangular one of n unknowns takes n (n - 1) / 2 multiply-accumulates and n divisions for each right-hand side
(forward or back substitution), no divisions where its diagonal is all ones. FLOPs: 2 × MACs + divisions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archprof.tracing.ops.costs.registry import OpCost, aten_names, cost_rule
from archprof.tracing.ops.costs.tensors import numel

if TYPE_CHECKING:
    from torch import Tensor


@cost_rule(*aten_names("linalg_solve_triangular"))
def solve_triangular(
    result: Tensor, /, matrix: Tensor, right: Tensor, *, unitriangular: bool = False, **_: Any
) -> OpCost:
    unknowns = numel(result)
    macs = unknowns * (matrix.shape[-1] - 1) // 2
    return OpCost(macs, 2 * macs + (0 if unitriangular else unknowns))
