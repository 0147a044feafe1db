"""Reductions, scans and softmax.

From n elements to m: sum, product, maximum, minimum and their arguments: n - m; mean: n (n - m adds, m divisions);
variance: 4 n (mean, subtract, square, mean), a standard deviation m more; norm: 2 n (power, add), of a difference 3 n;
log-sum-exp: 4 n; count of non-zeros: n. Cumulative sums and their like: n, of log-sum-exp 4 n. A cross product: 3 n.
Softmax and log-softmax: 5 n (maximum, subtract, exp, sum, divide), with a mask 1 n more; their backward 4 n.
Reducing integers or bools is no FLOP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archprof.tracing.ops.costs.pointwise import per_element_rule
from archprof.tracing.ops.costs.registry import NO_COST, CostRule, OpCost, aten_names, cost_rule
from archprof.tracing.ops.costs.tensors import first_tensor, is_arithmetic, numel

if TYPE_CHECKING:
    from torch import Tensor

SOFTMAX_FLOPS = 5
SOFTMAX_BACKWARD_FLOPS = 4


def reduction_rule(per_input: int, per_output: int) -> CostRule:
    """The rule of so many FLOPs per input element, and so many more (or fewer) per output element."""

    def count(result: Any, /, x: Tensor, *args: Any, **_: Any) -> OpCost:
        made = first_tensor(result)
        if not is_arithmetic(made, (x,)):
            return NO_COST
        return OpCost(0, max(0, per_input * numel(x) + per_output * numel(made)))

    return count


cost_rule(*aten_names("sum nansum prod amax amin argmax argmin"))(reduction_rule(1, -1))
cost_rule(*aten_names("aminmax _aminmax"))(reduction_rule(2, -2))
cost_rule(*aten_names("mean nanmean count_nonzero"))(reduction_rule(1, 0))
cost_rule(*aten_names("var var_mean"))(reduction_rule(4, 0))
cost_rule(*aten_names("std std_mean"))(reduction_rule(4, 1))
cost_rule(*aten_names("norm native_norm linalg_vector_norm linalg__powsum"))(reduction_rule(2, 0))
cost_rule(*aten_names("dist"))(reduction_rule(3, 0))
cost_rule(*aten_names("logsumexp"))(reduction_rule(4, 0))

cost_rule(*aten_names("cumsum cumprod cummax cummin"))(per_element_rule(1))
cost_rule(*aten_names("logcumsumexp"))(per_element_rule(4))
cost_rule(*aten_names("linalg_cross"))(per_element_rule(3))
cost_rule(*aten_names("_softmax _log_softmax _safe_softmax softmax log_softmax"))(per_element_rule(SOFTMAX_FLOPS))
cost_rule(*aten_names("_masked_softmax"))(per_element_rule(SOFTMAX_FLOPS + 1))
cost_rule(*aten_names("_softmax_backward_data _log_softmax_backward_data _masked_softmax_backward"))(
    per_element_rule(SOFTMAX_BACKWARD_FLOPS)
)


@cost_rule(*aten_names("max min"))
def extreme(result: Any, /, x: Tensor, *args: Any, **named: Any) -> OpCost | None:
    """Of one tensor, or element by element of two."""
    of_two = (args and hasattr(args[0], "shape")) or "other" in named
    return (per_element_rule(1) if of_two else reduction_rule(1, -1))(result, x, *args)


@cost_rule(*aten_names("trace"))
def matrix_trace(result: Tensor, /, matrix: Tensor, **_: Any) -> OpCost:
    return OpCost(0, max(0, min(matrix.shape) - 1)) if is_arithmetic(result, ()) else NO_COST
