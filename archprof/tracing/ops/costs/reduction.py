"""Reductions, scans and softmax.

From n elements to m: sum, product, maximum, minimum and their arguments: n - m; mean: n (n - m adds, m divisions);
variance: 4 n (mean, subtract, square, mean), a standard deviation m more; norm: 2 n (power, add), of a difference 3 n;
log-sum-exp: 4 n; count of non-zeros: n. Cumulative sums and their like: n, of log-sum-exp 4 n. A cross product: 3 n.
Softmax and log-softmax: 5 n (maximum, subtract, exp, sum, divide), with a mask 1 n more; their backward 4 n.
Reducing integers or bools is no FLOP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archprof.tracing.ops.costs.pointwise import each
from archprof.tracing.ops.costs.registry import NOTHING, Count, Rule, aten, rule
from archprof.tracing.ops.costs.tensors import computes, first, numel

if TYPE_CHECKING:
    from torch import Tensor

SOFTMAX = 5
SOFTMAX_BACKWARD = 4


def reduced(per_input: int, per_output: int) -> Rule:
    """The rule of so many FLOPs an input element, and so many more (or fewer) an output element."""

    def count(result: Any, /, x: Tensor, *args: Any, **_: Any) -> Count:
        made = first(result)
        if not computes(made, (x,)):
            return NOTHING
        return Count(0, max(0, per_input * numel(x) + per_output * numel(made)))

    return count


rule(*aten("sum nansum prod amax amin argmax argmin"))(reduced(1, -1))
rule(*aten("aminmax _aminmax"))(reduced(2, -2))
rule(*aten("mean nanmean count_nonzero"))(reduced(1, 0))
rule(*aten("var var_mean"))(reduced(4, 0))
rule(*aten("std std_mean"))(reduced(4, 1))
rule(*aten("norm native_norm linalg_vector_norm linalg__powsum"))(reduced(2, 0))
rule(*aten("dist"))(reduced(3, 0))
rule(*aten("logsumexp"))(reduced(4, 0))

rule(*aten("cumsum cumprod cummax cummin"))(each(1))
rule(*aten("logcumsumexp"))(each(4))
rule(*aten("linalg_cross"))(each(3))
rule(*aten("_softmax _log_softmax _safe_softmax softmax log_softmax"))(each(SOFTMAX))
rule(*aten("_masked_softmax"))(each(SOFTMAX + 1))
rule(*aten("_softmax_backward_data _log_softmax_backward_data _masked_softmax_backward"))(each(SOFTMAX_BACKWARD))


@rule(*aten("max min"))
def extreme(result: Any, /, x: Tensor, *args: Any, **named: Any) -> Count | None:
    """Of one tensor, or element by element of two."""
    of_two = (args and hasattr(args[0], "shape")) or "other" in named
    return (each(1) if of_two else reduced(1, -1))(result, x, *args)


@rule(*aten("trace"))
def trace(result: Tensor, /, matrix: Tensor, **_: Any) -> Count:
    return Count(0, max(0, min(matrix.shape) - 1)) if computes(result, ()) else NOTHING
