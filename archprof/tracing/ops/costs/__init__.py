"""What one op costs: a registry of small functions of shapes, a file per family of ops.

**MACs** are multiply-accumulates in convolutions and matrix products; attention and recurrent layers are matrix
products. Everything else has none. **FLOPs** are 2 × MACs and the rest: bias, normalisation, activation, pooling,
elementwise arithmetic, softmax, reduction, interpolation and FFT, by the rules that each file states.

* Element by element: 1 FLOP per output element for each op, if an operand is floating-point (`pointwise`).
* n elements reduced to m: n - m for a sum or maximum, n for a mean, 4 n for a variance; softmax 5 n (`reduction`).
* Norms: 5 per element, 1 more for a weight and 1 for a bias; a batch norm in evaluation 2 (`normalization`).
* Pooling: window - 1 per output element for a maximum, window for an average (`pooling`).
* Convolutions count padding as data (`convolution`); attention counts masked scores too, unless causal ones are
  left out by choice (`attention`); recurrent layers are counted whole, all steps and layers (`recurrent`).
* Moving, making, casting, choosing and ordering data is declared to cost nothing (`movement`). What is neither
  declared nor ruled is unknown, and a total that has unknown ops is a lower bound.

A rule is tested against hand-worked numbers, and its MACs against torch's own counter.
"""

from archprof.tracing.ops.costs import (  # noqa: F401  (each registers its rules)
    attention,
    attention_kernels,
    convolution,
    foreach,
    fourier,
    gathering,
    losses,
    matmul,
    movement,
    normalization,
    pointwise,
    pooling,
    recurrent,
    reduction,
    resampling,
    solving,
    transformer,
    vision,
)
from archprof.tracing.ops.costs.registry import (
    Causal,
    CostRule,
    KeptForBackward,
    OpCost,
    cost_rule,
    find_cost_rule,
    find_cost_status,
    find_op_rule,
    register_cost,
    status_of_rule,
)

__all__ = [
    "Causal", "CostRule", "KeptForBackward", "OpCost", "cost_rule", "find_cost_rule", "find_cost_status",
    "find_op_rule", "register_cost", "status_of_rule",
]  # fmt: skip
