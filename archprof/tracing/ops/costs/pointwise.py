"""Arithmetic element by element: 1 FLOP per output element for each op, whatever the hardware pays for it.

That holds for arithmetic (also in one op with a factor: `add` with alpha, `addcmul`, `lerp`), comparisons, elementary
and special functions, named activations (ReLU, GELU, hard swish …) and for integer results of floating-point
operands. Exceptions:
* arithmetic on integers and bools alone is no FLOP; on complex numbers it is 1 as well;
* gated linear unit (`glu`) and dropout in training: 2 per output element;
* backward of an activation: 1 per element where its derivative is a constant by pieces (ReLU, hard tanh, leaky ReLU
  …), 2 where it must be computed (GELU, sigmoid …).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archprof.tracing.ops.costs.registry import NO_COST, CostRule, OpCost, aten_names, cost_rule
from archprof.tracing.ops.costs.tensors import first_tensor, is_arithmetic, numel

if TYPE_CHECKING:
    from torch import Tensor

ARITHMETIC_OPS = """
    add sub rsub mul div true_divide floor_divide remainder fmod pow float_power square reciprocal neg negative abs
    absolute sign sgn addcmul addcdiv lerp maximum minimum fmax fmin clamp clamp_min clamp_max clip ceil floor round
    trunc frac fix hypot copysign heaviside nextafter ldexp nan_to_num xlogy special_xlog1py logaddexp logaddexp2
    _add_relu conj_physical _conj_physical angle polar deg2rad rad2deg
    """
COMPARISON_OPS = """
    eq ne lt le gt ge isnan isinf isposinf isneginf isfinite signbit isclose logical_and logical_or logical_xor
    logical_not bitwise_and bitwise_or bitwise_xor bitwise_not bitwise_left_shift bitwise_right_shift gcd lcm
    __and__ __or__ __xor__ __lshift__ __rshift__ __iand__ __ior__ __ixor__ __ilshift__ __irshift__
    """
FUNCTION_OPS = """
    sqrt rsqrt exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh
    erf erfc erfinv lgamma digamma polygamma mvlgamma igamma igammac i0 sinc logit special_entr special_erfcx
    special_i0e special_i1 special_i1e special_log_ndtr special_ndtri special_zeta
    """
ACTIVATION_OPS = """
    relu relu6 gelu silu mish hardswish hardsigmoid hardtanh hardshrink softshrink sigmoid leaky_relu elu celu selu
    softplus threshold rrelu_with_noise rrelu_with_noise_functional _prelu_kernel prelu log_sigmoid_forward
    """
PIECEWISE_BACKWARD_OPS = """
    threshold_backward hardtanh_backward hardsigmoid_backward leaky_relu_backward hardshrink_backward
    softshrink_backward rrelu_with_noise_backward
    """
SMOOTH_BACKWARD_OPS = """
    gelu_backward silu_backward mish_backward hardswish_backward sigmoid_backward tanh_backward elu_backward
    softplus_backward logit_backward log_sigmoid_backward glu_backward
    """
PRIMITIVE_OPS = """
    add sub mul div pow remainder fmod neg abs sign reciprocal sqrt rsqrt exp exp2 expm1 log log2 log10 log1p sin cos
    tan tanh asin acos atan atan2 sinh cosh asinh acosh atanh erf erfc maximum minimum eq ne lt le gt ge
    """
"""What torch's reference kernels call, as for the tangents of torch.func.jvp."""


def per_element_rule(flops: int) -> CostRule:
    """The rule of so many FLOPs per element of the main result."""

    def count(result: Any, /, *args: Any, **_: Any) -> OpCost:
        made = first_tensor(result)
        return OpCost(0, flops * numel(made)) if is_arithmetic(made, args) else NO_COST

    return count


cost_rule(*aten_names(ARITHMETIC_OPS + COMPARISON_OPS + FUNCTION_OPS + ACTIVATION_OPS + PIECEWISE_BACKWARD_OPS))(
    per_element_rule(1)
)
cost_rule(*(f"prims.{name}" for name in PRIMITIVE_OPS.split()))(per_element_rule(1))
cost_rule(*aten_names(SMOOTH_BACKWARD_OPS + "_prelu_kernel_backward glu native_dropout_backward _masked_scale"))(
    per_element_rule(2)
)


@cost_rule(*aten_names("native_dropout _fused_dropout"))
def dropout(result: Any, /, x: Tensor, p: float, train: bool | None = True, **_: Any) -> OpCost:
    return OpCost(0, 0 if train is False else 2 * numel(x))


@cost_rule(*aten_names("equal"))
def equal(result: bool, /, a: Tensor, *_: Any, **__: Any) -> OpCost:
    return OpCost(0, numel(a)) if is_arithmetic(a, ()) else NO_COST
