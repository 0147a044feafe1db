"""ptflops 0.7.5, `ptflops.get_model_complexity_info` with its default backend "pytorch": MACs of one sample.

It counts modules by their exact class and, besides, calls of some functions that it replaces while the model runs; a
module that calls one of those counts twice.

* Modules: convolution and linear with their bias; activations and norms 1 an element, norms with an `affine` flag 2;
  pools 1 an input element; upsampling 1 an output element of the first sample; recurrent layers with their biases;
  `nn.MultiheadAttention` by a formula, for three positional inputs.
* Functions: `F.relu` and its kin, pools, `F.softmax`, `F.interpolate`: 1 an element; `torch.matmul`, `mm`, `bmm`,
  `addmm`, `baddbmm`, `add`, `mul`, also as methods, not as operators (`@`, `+`, `*`).

The modules' sum is divided by the length of the model's first input, the functions' sum is not. A model with several
inputs can only be given keywords, and nothing is divided then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from math import prod

from archprof.analysis.other_tools.recurrent import KINDS as RECURRENT
from archprof.analysis.other_tools.recurrent import sizes
from archprof.analysis.other_tools.tool_count import CannotCount, Convention, Part
from archprof.analysis.other_tools.tool_view import BY_VECTOR, Reading, Row, Shape, product
from archprof.facts.records import Op

DIMENSIONS = (1, 2, 3)
CONV = frozenset(f"{kind}{n}d" for kind in ("Conv", "ConvTranspose") for n in DIMENSIONS)
ACTIVATIONS = frozenset({"ReLU", "PReLU", "ELU", "LeakyReLU", "ReLU6", "GELU"})
POOLS = frozenset(f"{kind}Pool{n}d" for kind in ("Max", "Avg", "AdaptiveMax", "AdaptiveAvg") for n in DIMENSIONS)
NORMS = frozenset(
    {*(f"{kind}Norm{n}d" for kind in ("Batch", "Instance") for n in DIMENSIONS), "GroupNorm", "LayerNorm"}
)

CALLS_A_FUNCTION = (ACTIVATIONS | POOLS | {"SiLU", "Softmax", "Softmax2d"}) - {"LeakyReLU", "ReLU6"}
"""Modules of torch that call a function it replaces, on their input."""

INTERPOLATES = frozenset({"Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"})

QUIET = frozenset(
    {
        *CONV, *NORMS, *RECURRENT, "Linear", "NonDynamicallyQuantizableLinear", "Bilinear", "Embedding", "EmbeddingBag",
        "RMSNorm", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "Identity", "Flatten", "Unflatten",
        "Sequential", "LeakyReLU", "ReLU6", "Hardswish", "Hardsigmoid", "Hardtanh", "Sigmoid", "Tanh", "Mish", "GLU",
        "SELU", "CELU", "Softplus", "LogSoftmax", "PixelShuffle", "PixelUnshuffle", "TransformerEncoder",
        "TransformerEncoderLayer", "TransformerDecoder", "TransformerDecoderLayer", "Transformer",
    }
)  # fmt: skip
"""Modules of torch whose own forward calls nothing that it replaces; the transformer layers keep the original."""

ON_INPUT = frozenset(
    f"aten.{name}"
    for name in (
        "relu relu_ _prelu_kernel elu elu_ hardtanh hardtanh_ gelu silu silu_ _softmax avg_pool1d avg_pool2d "
        "avg_pool3d max_pool2d_with_indices max_pool3d_with_indices _adaptive_avg_pool2d _adaptive_avg_pool3d "
        "adaptive_max_pool2d adaptive_max_pool3d"
    ).split()
)
"""Ops that stand for such a function, which counts the elements of its input."""

GLOBAL_POOLS = (((-1, -2), True), ((-1, -2, -3), True))
PRODUCTS = BY_VECTOR | {"aten.mm", "aten.bmm", "aten.addmm", "aten.baddbmm"}
ELEMENTWISE = frozenset({"aten.add", "aten.mul"})
REPLACED_INSIDE = {
    "MultiheadAttention": frozenset({"aten.bmm", "aten.baddbmm", "aten._softmax"}),
    "LocalResponseNorm": frozenset({"aten.mul", "aten.add", "aten.avg_pool2d", "aten.avg_pool3d"}),
}
"""What torch's own code calls by the functions that it replaces."""


def parts(reading: Reading) -> Iterator[Part]:
    modules = [part for row in reading.rows for part in _module(reading, row)]
    functions = [part for row in reading.rows for part in _functions(reading, row)]
    yield from modules
    yield from functions
    yield from _divided(modules, functions, _samples(reading))


def _samples(reading: Reading) -> int:
    """By what it divides."""
    inputs, model = reading.profile.inputs, reading.rows[0]
    if len(inputs) != 1 or "=" in inputs[0] or not model.x:
        return 1
    return model.x[0]


def _divided(modules: list[Part], functions: list[Part], samples: int) -> Iterator[Part]:
    """What is missing from the sum of the parts, for it prints the cost of one sample, cut to an integer."""
    if samples == 1:
        return
    whole = sum(part.low for part in modules)
    low, high = (
        int(whole / samples + each) - whole - each
        for each in (sum(part.low for part in functions), sum(part.high for part in functions))
    )
    yield Part(f"modules divided by the {samples} samples of the input", low, high)


def _module(reading: Reading, row: Row) -> Iterator[Part]:
    if row.kind in ("Attention", "DeformConv2d"):
        raise CannotCount(f"it has a rule of its own for a class {row.kind}, by name alone not to be told from others")
    rule = RULES.get(row.kind)
    if rule is None:
        inside = frozenset[str]() if row.kind in QUIET else PRODUCTS  # those are told by `_functions`
        yield from (
            Part(f"{op.name} outside the modules it knows", 0, 0, op.macs)
            for op in row.ops
            if op.macs and op.name not in inside
        )
        return
    first = True
    for what, amount in rule(row):
        yield Part(what, amount, amount, row.macs if first else 0)
        first = False
        if row.holders > 1:
            again = amount * (row.holders - 1)
            yield Part(f"{what} again for each of its holders", again, again)


Amounts = Iterable[tuple[str, int]]


def _convolution(row: Row) -> Amounts:
    op = row.op("convolution")
    if op is None or op.window is None:
        raise CannotCount(f"{row.layer.path or 'the model'} ({row.kind}) ran no convolution")
    weight = row.reading.shape(op.inputs[1])
    positions = product((row.x if op.window.transposed else row.y)[2:])
    yield "convolution", product(weight) * row.x[0] * positions
    if len(op.inputs) > 2:
        yield "bias", product(row.y)


def _linear(row: Row) -> Amounts:
    yield "Linear", product(row.x) * row.y[-1]
    if any(len(shape) == 1 for shape in row.params):
        yield "bias", product(row.x[:-1]) * row.y[-1]


def _norm(row: Row) -> Amounts:
    each = 2 if row.params and row.kind != "LayerNorm" else 1
    yield f"{row.kind}, {each} an element", each * product(row.x)


def _pool(row: Row) -> Amounts:
    yield "pool, 1 an input element", product(row.x)


def _activation(row: Row) -> Amounts:
    yield "activation module, 1 an element", product(row.y)


def _upsample(row: Row) -> Amounts:
    yield "Upsample, 1 an output element of the first sample", product(row.y[1:])


def _recurrent(row: Row) -> Amounts:
    s = sizes(row)
    kind = row.kind.removesuffix("Cell")
    gates, more = {"RNN": (1, 1), "GRU": (3, 7), "LSTM": (4, 10)}[kind]
    rows = gates * s.hidden
    cells = sum(rows * (inputs + s.state) + more * s.hidden + (2 * rows if s.bias else 0) for inputs in s.inputs)
    yield row.kind, cells * s.sequences * s.steps * s.directions


def _attention(row: Row) -> Amounts:
    """Scaling, projections, scores, softmax, values, and the last projection with its bias."""
    where = row.layer.path or "the model"
    if len(row.layer.inputs) < 3 or len(row.x) != 3:
        raise CannotCount(f"it raises on {where}: its attention takes three positional batches")
    query, key, value = (spec.shape for spec in row.layer.inputs[:3])
    inner = row.op("bmm", "baddbmm", "scaled_dot_product_attention")
    if inner is None:
        raise CannotCount(f"{where} (MultiheadAttention) shows no product of queries and keys")
    factors = inner.inputs[1:] if inner.name == "aten.baddbmm" else inner.inputs
    heads = query[2] // row.reading.shape(factors[0])[-1]
    first = row.ops[0]
    batch_first = first.name == "aten.transpose" and first.args[1:] == (1, 0)
    batch, q, k, v = query[not batch_first], query[batch_first], key[batch_first], value[batch_first]
    e, ek, ev = query[2], key[2], value[2]
    projections = q * e * e + k * ek * ek + v * ev * ev
    bias = (q + k + v) * e if (3 * e,) in row.params else 0
    scores = heads * (q * k * (e // heads) + q * k + q * k * (ev // heads))
    yield "MultiheadAttention", batch * (q * e + projections + bias + scores + q * ev * (ev + 1))


RULES: dict[str, Callable[[Row], Amounts]] = {
    **dict.fromkeys(CONV, _convolution),
    **dict.fromkeys(ACTIVATIONS, _activation),
    **dict.fromkeys(POOLS, _pool),
    **dict.fromkeys(NORMS, _norm),
    **dict.fromkeys(RECURRENT, _recurrent),
    "Linear": _linear,
    "Upsample": _upsample,
    "MultiheadAttention": _attention,
}


def _functions(reading: Reading, row: Row) -> Iterator[Part]:
    """Calls of the functions that it replaces, in the forward of one module."""
    if row.kind in CALLS_A_FUNCTION:
        yield Part("function of that module, once more", product(row.x), product(row.x))
    elif row.kind in INTERPOLATES:
        yield from (Part("F.interpolate", *amounts) for op in row.ops if (amounts := _interpolated(reading, op)))
    elif row.kind not in QUIET:
        inside = REPLACED_INSIDE.get(row.kind)
        for op in row.ops:
            if inside is None:
                yield from _function(reading, op)
            elif op.name in inside:
                amount = _amount(reading, op)
                yield Part(f"{op.name} inside {row.kind}", amount, amount)


def _function(reading: Reading, op: Op) -> Iterator[Part]:
    """An op in code that we do not know: written as one of those functions, or otherwise."""
    amounts = _interpolated(reading, op)
    if amounts is not None:
        yield Part(f"{op.name}, if written as F.interpolate", 0, amounts[1])
    elif reading.by_linear(op):
        yield Part("F.linear, which it does not replace", 0, 0, op.macs or 0)
    elif op.name in PRODUCTS:
        yield Part(f"{op.name}, if written as torch.matmul or its kin", 0, _amount(reading, op), op.macs or 0)
    elif op.name in ELEMENTWISE:
        yield Part(f"{op.name}, if not written as an operator", 0, _amount(reading, op))
    elif op.name in ON_INPUT or (op.name == "aten.mean" and op.args[1:3] in GLOBAL_POOLS):
        yield Part(f"{op.name}, if written as a function of torch.nn.functional", 0, _amount(reading, op))


def _amount(reading: Reading, op: Op) -> int:
    if op.name in ("aten.addmm", "aten.baddbmm"):
        return (op.macs or 0) + reading.numel(op.inputs[0])
    if op.name in PRODUCTS:
        first, second = reading.factors(op)
        return product(first) * second[-1]
    if op.name in ELEMENTWISE:
        return _aligned([reading.shape(index) for index in op.inputs])
    return reading.numel(op.inputs[0])


def _aligned(shapes: list[Shape]) -> int:
    """Elements of a broadcast result, by a rule that lines the shapes up at their first dimension."""
    return prod(max(sizes) for sizes in zip_longest(*shapes, fillvalue=1))


def _interpolated(reading: Reading, op: Op) -> tuple[int, int] | None:
    """Least and most for an op that `F.interpolate` calls; `None` for any other."""
    if not op.name.startswith("aten.upsample_"):
        return None
    scales = [value for value in op.args if isinstance(value, float)]
    if all(scale.is_integer() for scale in scales):
        return (reading.numel(op.outputs[0]),) * 2
    return reading.numel(op.inputs[0]) * int(prod(scales)), int(reading.numel(op.inputs[0]) * prod(scales))


CONVENTION = Convention(
    "ptflops",
    "0.7.5",
    "get_model_complexity_info(model, input_res)",
    "MACs of one sample",
    parts,
    unclear="In code of your own a profile does not tell torch.add(x, y) from x + y, F.relu(x) from torch.relu(x).",
)
