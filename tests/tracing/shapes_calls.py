"""A generator of random calls, valid and invalid, for every overload that has a shape rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from shapes_draw import Draw

Call = tuple[list[Any], dict[str, Any]]
Generator = Callable[[Draw], Call]

CALLS: dict[str, Generator] = {}

GROUPED_ON_META = (torch.float16, torch.float32) if torch.__version__ >= "2.15" else ()
"""The dtypes beside bfloat16 in which torch's own kernel on meta takes grouped products."""


def calls(names: str, overload: str = "default") -> Callable[[Generator], Generator]:
    def register(generator: Generator) -> Generator:
        for name in names.split():
            assert f"{name}.{overload}" not in CALLS
            CALLS[f"{name}.{overload}"] = generator
        return generator

    return register


@calls("silu sigmoid abs round tanh mish exp exp2 log log2 log10 sqrt rsqrt neg sin cos tan atan erf erfc reciprocal")
@calls("log1p expm1 floor ceil trunc sign relu hardswish hardsigmoid isnan logical_not bitwise_not")
@calls("silu_ sigmoid_ tanh_ hardswish_ hardsigmoid_ mish_ exp_ log_ sqrt_ rsqrt_ abs_ neg_ sin_ cos_")
@calls("reciprocal_ floor_ ceil_ round_ relu_")
def unary(d: Draw) -> Call:
    return [d.tensor(d.shape(), d.dtype())], {}


@calls("gelu gelu_")
def approximated(d: Draw) -> Call:
    return [d.tensor(d.shape(), d.dtype(floating=True))], d.pick({}, {"approximate": "tanh"}, {"approximate": "no"})


@calls("leaky_relu leaky_relu_ softplus elu elu_")
def with_parameter(d: Draw) -> Call:
    return [d.tensor(d.shape(), d.dtype(floating=True)), *d.pick([], [d.number()])], {}


@calls("clamp clamp_")
def with_bounds(d: Draw) -> Call:
    bounds = d.pick([0.0, 1.0], [0, 6], [2.0, -1.0], [0.5], [None, 1.0], [2.0], [])
    return [d.tensor(d.shape(), d.dtype(floating=True)), *bounds], {}


@calls("hardtanh hardtanh_")
def with_both_bounds(d: Draw) -> Call:
    bounds = d.pick([0.0, 1.0], [0, 6], [2.0, -1.0], [0.5], [2.0], [])
    return [d.tensor(d.shape(), d.dtype(floating=True)), *bounds], {}


@calls("clamp_min clamp_max clamp_min_ clamp_max_")
@calls("pow mul div eq ne lt le gt ge", "Scalar")
@calls("pow", "Tensor_Scalar")
@calls("pow_", "Scalar")
def with_number(d: Draw) -> Call:
    return [d.tensor(d.shape(), d.dtype()), d.number()], {}


@calls("add sub rsub", "Scalar")
def with_number_and_alpha(d: Draw) -> Call:
    return [d.tensor(d.shape(), d.dtype()), d.number(), *d.pick([], [], [2], [0.5])], {}


def power_of_number(d: Draw) -> Call:
    return [d.number(), d.tensor(d.shape(), d.dtype())], {}


CALLS["pow.Scalar"] = power_of_number


@calls("threshold_backward", "default")
def with_threshold(d: Draw) -> Call:
    return [*gradient(d), d.number()], {}


@calls("hardswish_backward hardsigmoid_backward sigmoid_backward tanh_backward gelu_backward")
def backward(d: Draw) -> Call:
    return [*gradient(d)], {}


@calls("hardtanh_backward softplus_backward")
def backward_with_bounds(d: Draw) -> Call:
    return [*gradient(d), 0.0, 6.0], {}


@calls("leaky_relu_backward")
def leaky_backward(d: Draw) -> Call:
    return [*gradient(d), 0.1, d.pick(False, True)], {}


@calls("elu_backward")
def elu_backward(d: Draw) -> Call:
    grad, x = gradient(d)
    return [grad, 1.0, 1.0, 1.0, d.pick(False, True), x], {}


def gradient(d: Draw) -> tuple[torch.Tensor, torch.Tensor]:
    """A gradient and the tensor it belongs to: mostly of one shape, dtype and layout."""
    shape, dtype = d.shape(), d.dtype(floating=True)
    x = d.tensor(shape, dtype)
    if d.pick(True, False):
        return torch.empty_strided(shape, x.stride(), dtype=dtype, device="meta"), x
    return d.tensor(d.part(shape) if d.rarely() else shape, d.dtype(floating=True) if d.rarely() else dtype), x


@calls("native_dropout")
def dropout(d: Draw) -> Call:
    return [d.tensor(d.shape(), d.dtype(floating=True)), d.pick(0.5, 0.1, 0.0, 1.0, 1.5), d.pick(True, False)], {}


@calls("native_dropout_backward")
def dropout_backward(d: Draw) -> Call:
    grad, x = gradient(d)
    return [grad, torch.empty_strided(x.shape, x.stride(), dtype=torch.bool, device="meta"), 2.0], {}


@calls("_softmax _log_softmax")
def softmax(d: Draw) -> Call:
    shape = d.shape()
    return [d.tensor(shape, d.dtype(floating=True)), dim(d, len(shape)), d.pick(False, False, False, True)], {}


@calls("_safe_softmax")
def safe_softmax(d: Draw) -> Call:
    shape = d.shape()
    return [d.tensor(shape, d.dtype(floating=True)), dim(d, len(shape)), *d.pick([], [torch.float32])], {}


@calls("_softmax_backward_data _log_softmax_backward_data")
def softmax_backward(d: Draw) -> Call:
    grad, output = gradient(d)
    return [grad, output, dim(d, grad.dim()), d.pick(grad.dtype, grad.dtype, torch.float16)], {}


def dim(d: Draw, rank: int) -> int:
    """A dimension from either end, and rarely one that does not exist."""
    return d.integer(-rank - 1, rank) if d.rarely() else d.integer(-rank, max(rank - 1, 0))


def pair(d: Draw) -> tuple[torch.Tensor, torch.Tensor]:
    """Two operands that broadcast, mostly of one dtype."""
    shape, dtype = d.shape(), d.dtype()
    first, second = (shape, d.part(shape)) if d.pick(True, False) else (d.part(shape), d.part(shape))
    return d.tensor(first, dtype), d.tensor(second, d.dtype() if d.pick(False, False, True) else dtype)


@calls("maximum minimum logical_and logical_or")
@calls("pow", "Tensor_Tensor")
@calls("bitwise_and bitwise_or bitwise_xor eq ne lt le gt ge", "Tensor")
def binary(d: Draw) -> Call:
    return [*pair(d)], {}


@calls("mul div mul_ div_", "Tensor")
def binary_or_number(d: Draw) -> Call:
    x, y = pair(d)
    return [x, d.number() if d.rarely() else y], {}


@calls("add sub add_ sub_", "Tensor")
def binary_with_alpha(d: Draw) -> Call:
    return binary_or_number(d)[0], d.pick({}, {}, {"alpha": 2}, {"alpha": 0.5})


@calls("where", "self")
def where(d: Draw) -> Call:
    x, y = pair(d)
    return [d.tensor(d.part(list(x.shape)), d.pick(torch.bool, torch.bool, torch.bool, torch.int64)), x, y], {}


@calls("masked_fill masked_fill_", "Scalar")
def masked_fill(d: Draw) -> Call:
    shape = d.shape()
    mask = d.tensor(d.part(shape), torch.int64 if d.rarely() else torch.bool)
    return [d.tensor(d.part(shape) if d.rarely() else shape, d.dtype()), mask, d.number()], {}


@calls("addcmul addcdiv")
def with_product(d: Draw) -> Call:
    shape, dtype = d.shape(), d.dtype(floating=True)
    operands = [d.tensor(d.part(shape), d.dtype() if d.rarely() else dtype) for _ in range(3)]
    return operands, d.pick({}, {"value": 2}, {"value": 0.5})


@calls("lerp", "Scalar")
def lerp(d: Draw) -> Call:
    return [*pair(d), 0.5], {}


@calls("_prelu_kernel")
def prelu(d: Draw) -> Call:
    return [*pair(d)], {}


@calls("glu")
def glu(d: Draw) -> Call:
    shape = d.shape()
    return [d.tensor([size * d.pick(2, 1) for size in shape], d.dtype(floating=True)), dim(d, len(shape))], {}


@calls("clone")
def clone(d: Draw) -> Call:
    return [d.tensor(d.shape(), d.dtype())], d.pick({}, {"memory_format": torch.contiguous_format}, memory_format(d))


@calls("empty_like zeros_like ones_like")
def like(d: Draw) -> Call:
    options = d.pick({}, {"dtype": d.dtype()}, {"device": torch.device("meta")}, memory_format(d))
    return [d.tensor(d.shape(), d.dtype())], {**options, **d.pick({}, {"pin_memory": False})}


def memory_format(d: Draw) -> dict[str, Any]:
    return {"memory_format": d.pick(torch.preserve_format, torch.contiguous_format, torch.channels_last)}


@calls("tril triu")
def triangle(d: Draw) -> Call:
    return [d.tensor(d.shape(), d.dtype()), *d.pick([], [1], [-2], [9])], {}


@calls("bernoulli_", "float")
def bernoulli(d: Draw) -> Call:
    return [d.tensor(d.shape(), d.dtype(floating=True)), *d.pick([], [0.1], [2.0])], {}


@calls("uniform_ normal_")
def drawn(d: Draw) -> Call:
    return [d.tensor(d.shape(), d.dtype(floating=True)), *d.pick([], [0.0, 2.0], [1.0, -1.0])], {}


@calls("mean logsumexp", "dim")
@calls("sum", "dim_IntList")
def reduced(d: Draw) -> Call:
    return [*operand_and_dims(d), *d.pick([], [True])], d.pick({}, {}, {"dtype": d.dtype()})


CALLS["logsumexp.default"] = lambda d: ([*operand_and_dims(d), *d.pick([], [True])], {})
del CALLS["logsumexp.dim"]


@calls("mean")
def reduced_to_one(d: Draw) -> Call:
    return [d.tensor(d.shape(), d.dtype())], d.pick({}, {}, {"dtype": d.dtype()})


@calls("amax amin")
def extreme(d: Draw) -> Call:
    return [*operand_and_dims(d), *d.pick([], [True])], {}


@calls("linalg_vector_norm")
def vector_norm(d: Draw) -> Call:
    x, dims = operand_and_dims(d)
    return [x, d.pick(2, 1, 0.5, 0, float("inf")), d.pick(None, dims), *d.pick([], [True])], {}


@calls("var std", "correction")
def variance(d: Draw) -> Call:
    options = d.pick({}, {"correction": 0}, {"correction": 1, "keepdim": True}, {"keepdim": True})
    return [*operand_and_dims(d)], options


def operand_and_dims(d: Draw) -> list[Any]:
    shape = d.shape()
    dims = [dim(d, len(shape)) for _ in range(d.integer(0, min(2, len(shape))))]
    return [d.tensor(shape, d.dtype()), dims]


@calls("_to_copy")
def cast(d: Draw) -> Call:
    options = d.pick({}, {"dtype": d.dtype()}, {"device": torch.device("meta"), "dtype": d.dtype()}, memory_format(d))
    return [d.tensor(d.shape(), d.dtype())], {**options, **d.pick({}, {"non_blocking": True}, {"pin_memory": False})}


@calls("floor_divide")
def floor_divided(d: Draw) -> Call:
    return [d.tensor(d.shape(), d.dtype()), d.number()], {}


@calls("cumsum")
def running_sum(d: Draw) -> Call:
    shape = d.shape()
    return [d.tensor(shape, d.dtype()), dim(d, len(shape))], d.pick({}, {}, {"dtype": d.dtype()})


@calls("sort")
def sorted_along(d: Draw) -> Call:
    shape = d.shape()
    return [d.tensor(shape, d.dtype()), *d.pick([], [dim(d, len(shape))], [dim(d, len(shape)), True])], {}


@calls("topk")
def largest(d: Draw) -> Call:
    shape = d.shape()
    return [d.tensor(shape, d.dtype()), d.integer(0, 4), *d.pick([], [dim(d, len(shape))])], {}


@calls("cat stack")
def joined(d: Draw) -> Call:
    shape, dtype, layout = d.shape(), d.dtype(), d.pick(None, "plain", "channels last")
    place = dim(d, len(shape))
    tensors = []
    for _ in range(d.integer(1, 3)):
        own = list(shape)
        if own and d.pick(False, True):
            own[d.integer(0, len(own) - 1) if d.rarely() else place % len(own)] = d.integer(0 if d.rarely() else 1, 3)
        tensors.append(d.tensor(own, d.dtype() if d.rarely() else dtype, layout))
    if d.rarely():
        tensors.insert(d.integer(0, len(tensors)), d.tensor([0], d.dtype() if d.rarely() else dtype, "plain"))
    return [tensors, place], {}


@calls("_unsafe_view")
def unsafe_view(d: Draw) -> Call:
    shape = d.shape(1, 4)
    x = d.tensor(shape, d.dtype())
    size = d.pick([-1], [x.numel()], [shape[0], -1], [*shape, 1], [1, *shape], [shape[0], 2, -1])
    return [x, size], {}


@calls("roll")
def roll(d: Draw) -> Call:
    shape = d.shape()
    dims = [dim(d, len(shape)) for _ in range(d.integer(0, 2))]
    return [d.tensor(shape, d.dtype()), [1] * (1 if d.rarely() else len(dims)), dims], {}


@calls("index", "Tensor")
def index(d: Draw) -> Call:
    shape = d.shape(0, 4)
    x = d.tensor(shape, d.dtype())
    count = d.integer(1, len(shape) + 1 if d.rarely() else max(len(shape), 1))
    kinds = [d.pick("none", "index", "none") for _ in range(count)]
    if "index" not in kinds:
        kinds[-1] = "index"
    return [x, [None if kind == "none" else index_tensor(d) for kind in kinds]], {}


def index_tensor(d: Draw) -> torch.Tensor:
    dtype = d.pick(torch.int64, torch.int64, torch.int32, torch.uint8, torch.float32) if d.rarely() else torch.int64
    return d.tensor(d.shape(0, 2), dtype)


@calls("select_backward")
def select_backward(d: Draw) -> Call:
    sizes = d.shape(1)
    place = dim(d, len(sizes))
    rest = [size for i, size in enumerate(sizes) if i != place % len(sizes)]
    return [d.tensor(d.part(rest) if d.rarely() else rest, d.dtype()), sizes, place, d.pick(0, -1, 1, 9)], {}


@calls("slice_backward")
def slice_backward(d: Draw) -> Call:
    sizes = d.shape(1)
    place = dim(d, len(sizes))
    start, end, step = d.pick(0, 1, -2), d.pick(9223372036854775807, 2, -1), d.pick(1, 1, 2)
    taken = [len(range(n)[start:end:step]) if i == place % len(sizes) else n for i, n in enumerate(sizes)]
    return [d.tensor(d.part(taken) if d.rarely() else taken, d.dtype()), sizes, place, start, end, step], {}


@calls("repeat")
def repeat(d: Draw) -> Call:
    shape = d.shape(0, 4)
    return [d.tensor(shape, d.dtype()), [d.pick(1, 2, 3) for _ in range(d.integer(max(len(shape) - 1, 0), 5))]], {}


@calls("pixel_shuffle pixel_unshuffle")
def pixels(d: Draw) -> Call:
    shape = [d.pick(2, 1), d.pick(8, 4, 9, 1, 3), d.pick(2, 4, 3), d.pick(2, 6, 3)]
    return [d.tensor(shape[1:] if d.rarely() else shape, d.dtype()), d.pick(2, 1, 3)], {}


@calls("embedding")
def embedding(d: Draw) -> Call:
    weight = d.tensor(d.shape(1, 3) if d.rarely() else d.shape(2, 2), d.dtype(floating=True))
    return [weight, d.tensor(d.shape(0, 3), d.pick(torch.int64, torch.int32, torch.float32))], {}


def products(d: Draw, *shapes: Sequence[int]) -> list[torch.Tensor]:
    """Operands of one dtype; rarely one has another dtype or shape."""
    dtype = d.dtype(floating=True)
    return [d.tensor(d.shape() if d.rarely() and d.rarely() else shape, dtype) for shape in shapes]


@calls("mm")
def mm(d: Draw) -> Call:
    n, m, k = d.shape(3, 3)
    return [*products(d, (n, m), (m, k))], {}


@calls("bmm")
def bmm(d: Draw) -> Call:
    b, n, m, k = d.shape(4, 4)
    return [*products(d, (b, n, m), (b, m, k))], {}


@calls("_grouped_mm")
def grouped_product(d: Draw) -> Call:
    rows, width, out, groups = d.integer(1, 9), d.pick(8, 16, 12, 6), d.pick(8, 24, 20, 10), d.integer(1, 3)
    dtype = d.pick(torch.bfloat16, *GROUPED_ON_META)
    x = d.tensor([rows, width], dtype, "plain")
    y = d.pick(d.tensor([groups, width, out], dtype, "plain"), d.tensor([groups, out, width], dtype, "plain").mT)
    offsets = d.tensor([groups + d.rarely()], torch.int64 if d.rarely() else torch.int32, "plain")
    if d.rarely():  # the gradient of the matrices
        x, y = d.pick(x.mT, d.tensor([width, rows], dtype, "plain")), d.tensor([rows, out], dtype, "plain")
    return [x, y, *d.pick([offsets], [offsets], [offsets], [])], {}


@calls("baddbmm")
def baddbmm(d: Draw) -> Call:
    b, n, m, k = d.shape(4, 4)
    return [*products(d, d.part([b, n, k]), (b, n, m), (b, m, k))], d.pick({}, {"beta": 0}, {"alpha": 0.5})


@calls("addmm")
def addmm(d: Draw) -> Call:
    n, m, k = d.shape(3, 3)
    return [*products(d, d.part([n, k]), (n, m), (m, k))], d.pick({}, {"beta": 0}, {"alpha": 0.5})


@calls("mv")
def mv(d: Draw) -> Call:
    n, m = d.shape(2, 2)
    return [*products(d, (n, m), (m,))], {}


@calls("dot")
def dot(d: Draw) -> Call:
    (n,) = d.shape(1, 1)
    return [*products(d, (n,), (n,))], {}
