"""ptflops 0.7.5, `ptflops.get_model_complexity_info` with its default backend "pytorch": MACs of one sample.

It counts modules by their exact class and, besides, calls of some functions that it replaces while the model runs; a
module that calls one of those counts twice.

* Modules: convolution and linear with their bias; activations and norms 1 per element, norms with an `affine` flag 2;
  pools 1 per input element; upsampling 1 per output element of the first sample; recurrent layers with their biases;
  `nn.MultiheadAttention` by a formula, for three positional inputs.
* Functions: `F.relu` and its kin, pools, `F.softmax`, `F.interpolate`: 1 per element; `torch.matmul`, `mm`, `bmm`,
  `addmm`, `baddbmm`, `add`, `mul`, also as methods, not as operators (`@`, `+`, `*`).

The modules' sum is divided by the length of the model's first input, the functions' sum is not. A model with several
inputs can only be given keywords, and nothing is divided then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from math import prod

from archprof.analysis.other_tools.recurrent import RECURRENT_KINDS, read_recurrent_sizes
from archprof.analysis.other_tools.tool_count import CannotCount, Convention, WorkPart
from archprof.analysis.other_tools.tool_view import (
    VECTOR_PRODUCT_OPS,
    ModuleCall,
    Shape,
    ToolView,
    count_elements,
)
from archprof.facts.records import Op

SPATIAL_DIMENSIONS = (1, 2, 3)
CONV_KINDS = frozenset(f"{kind}{n}d" for kind in ("Conv", "ConvTranspose") for n in SPATIAL_DIMENSIONS)
ACTIVATION_KINDS = frozenset({"ReLU", "PReLU", "ELU", "LeakyReLU", "ReLU6", "GELU"})
POOL_KINDS = frozenset(
    f"{kind}Pool{n}d" for kind in ("Max", "Avg", "AdaptiveMax", "AdaptiveAvg") for n in SPATIAL_DIMENSIONS
)
NORM_KINDS = frozenset(
    {*(f"{kind}Norm{n}d" for kind in ("Batch", "Instance") for n in SPATIAL_DIMENSIONS), "GroupNorm", "LayerNorm"}
)

FUNCTION_CALLING_KINDS = (ACTIVATION_KINDS | POOL_KINDS | {"SiLU", "Softmax", "Softmax2d"}) - {"LeakyReLU", "ReLU6"}
"""Modules of torch that call a function it replaces, on their input."""

INTERPOLATING_KINDS = frozenset({"Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"})

KINDS_WITHOUT_REPLACED_CALLS = frozenset(
    {
        *CONV_KINDS, *NORM_KINDS, *RECURRENT_KINDS,
        "Linear", "NonDynamicallyQuantizableLinear", "Bilinear", "Embedding", "EmbeddingBag",
        "RMSNorm", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "Identity", "Flatten", "Unflatten",
        "Sequential", "LeakyReLU", "ReLU6", "Hardswish", "Hardsigmoid", "Hardtanh", "Sigmoid", "Tanh", "Mish", "GLU",
        "SELU", "CELU", "Softplus", "LogSoftmax", "PixelShuffle", "PixelUnshuffle", "TransformerEncoder",
        "TransformerEncoderLayer", "TransformerDecoder", "TransformerDecoderLayer", "Transformer",
    }
)  # fmt: skip
"""Modules of torch whose own forward calls nothing that it replaces; the transformer layers keep the original."""

OPS_COUNTED_BY_INPUT = frozenset(
    f"aten.{name}"
    for name in (
        "relu relu_ _prelu_kernel elu elu_ hardtanh hardtanh_ gelu silu silu_ _softmax avg_pool1d avg_pool2d "
        "avg_pool3d max_pool2d_with_indices max_pool3d_with_indices _adaptive_avg_pool2d _adaptive_avg_pool3d "
        "adaptive_max_pool2d adaptive_max_pool3d"
    ).split()
)
"""Ops that stand for such a function, which counts the elements of its input."""

GLOBAL_MEAN_ARGS = (((-1, -2), True), ((-1, -2, -3), True))
REPLACED_PRODUCT_OPS = VECTOR_PRODUCT_OPS | {"aten.mm", "aten.bmm", "aten.addmm", "aten.baddbmm"}
REPLACED_ELEMENTWISE_OPS = frozenset({"aten.add", "aten.mul"})
REPLACED_OPS_INSIDE = {
    "MultiheadAttention": frozenset({"aten.bmm", "aten.baddbmm", "aten._softmax"}),
    "LocalResponseNorm": frozenset({"aten.mul", "aten.add", "aten.avg_pool2d", "aten.avg_pool3d"}),
}
"""What torch's own code calls by the functions that it replaces."""


def count_parts(view: ToolView) -> Iterator[WorkPart]:
    modules = [part for row in view.module_calls for part in _count_module(row)]
    functions = [part for row in view.module_calls for part in _count_functions(view, row)]
    yield from modules
    yield from functions
    yield from _divide_by_samples(modules, functions, _count_samples(view))


def _count_samples(view: ToolView) -> int:
    """By what it divides."""
    inputs, model = view.profile.inputs, view.module_calls[0]
    if len(inputs) != 1 or "=" in inputs[0] or not model.input_shape:
        return 1
    return model.input_shape[0]


def _divide_by_samples(modules: list[WorkPart], functions: list[WorkPart], samples: int) -> Iterator[WorkPart]:
    """What is missing from the sum of the parts, for it prints the cost of one sample, cut to an integer."""
    if samples == 1:
        return
    whole = sum(part.low for part in modules)
    low, high = (
        int(whole / samples + each) - whole - each
        for each in (sum(part.low for part in functions), sum(part.high for part in functions))
    )
    yield WorkPart(f"modules divided by the {samples} samples of the input", low, high)


def _count_module(row: ModuleCall) -> Iterator[WorkPart]:
    if row.kind in ("Attention", "DeformConv2d"):
        raise CannotCount(f"it has a rule of its own for a class {row.kind}, by name alone not to be told from others")
    rule = MODULE_RULES.get(row.kind)
    if rule is None:
        # The others are told by `_count_functions`.
        inside = frozenset[str]() if row.kind in KINDS_WITHOUT_REPLACED_CALLS else REPLACED_PRODUCT_OPS
        yield from (
            WorkPart(f"{op.name} outside the modules it knows", 0, 0, op.macs)
            for op in row.ops
            if op.macs and op.name not in inside
        )
        return
    first = True
    for what, amount in rule(row):
        yield WorkPart(what, amount, amount, row.macs if first else 0)
        first = False
        if row.holder_count > 1:
            again = amount * (row.holder_count - 1)
            yield WorkPart(f"{what} again for each of its holders", again, again)


NamedAmounts = Iterable[tuple[str, int]]


def _convolution(row: ModuleCall) -> NamedAmounts:
    op = row.find_op("convolution")
    if op is None or op.window is None:
        raise CannotCount(f"{row.layer.path or 'the model'} ({row.kind}) ran no convolution")
    weight = row.tool_view.shape(op.inputs[1])
    positions = count_elements((row.input_shape if op.window.transposed else row.output_shape)[2:])
    yield "convolution", count_elements(weight) * row.input_shape[0] * positions
    if len(op.inputs) > 2:
        yield "bias", count_elements(row.output_shape)


def _linear(row: ModuleCall) -> NamedAmounts:
    yield "Linear", count_elements(row.input_shape) * row.output_shape[-1]
    if any(len(shape) == 1 for shape in row.param_shapes):
        yield "bias", count_elements(row.input_shape[:-1]) * row.output_shape[-1]


def _norm(row: ModuleCall) -> NamedAmounts:
    each = 2 if row.param_shapes and row.kind != "LayerNorm" else 1
    yield f"{row.kind}, {each} per element", each * count_elements(row.input_shape)


def _pool(row: ModuleCall) -> NamedAmounts:
    yield "pool, 1 per input element", count_elements(row.input_shape)


def _activation(row: ModuleCall) -> NamedAmounts:
    yield "activation module, 1 per element", count_elements(row.output_shape)


def _upsample(row: ModuleCall) -> NamedAmounts:
    yield "Upsample, 1 per output element of the first sample", count_elements(row.output_shape[1:])


def _recurrent(row: ModuleCall) -> NamedAmounts:
    s = read_recurrent_sizes(row)
    kind = row.kind.removesuffix("Cell")
    gates, more = {"RNN": (1, 1), "GRU": (3, 7), "LSTM": (4, 10)}[kind]
    rows = gates * s.hidden
    cells = sum(rows * (inputs + s.state) + more * s.hidden + (2 * rows if s.bias else 0) for inputs in s.inputs)
    yield row.kind, cells * s.sequences * s.steps * s.directions


def _attention(row: ModuleCall) -> NamedAmounts:
    """Scaling, projections, scores, softmax, values, and the last projection with its bias."""
    where = row.layer.path or "the model"
    if len(row.layer.inputs) < 3 or len(row.input_shape) != 3:
        raise CannotCount(f"it raises on {where}: its attention takes three positional batches")
    query, key, value = (spec.shape for spec in row.layer.inputs[:3])
    inner = row.find_op("bmm", "baddbmm", "scaled_dot_product_attention")
    if inner is None:
        raise CannotCount(f"{where} (MultiheadAttention) shows no product of queries and keys")
    factors = inner.inputs[1:] if inner.name == "aten.baddbmm" else inner.inputs
    heads = query[2] // row.tool_view.shape(factors[0])[-1]
    first = row.ops[0]
    batch_first = first.name == "aten.transpose" and first.args[1:] == (1, 0)
    batch, q, k, v = query[not batch_first], query[batch_first], key[batch_first], value[batch_first]
    e, ek, ev = query[2], key[2], value[2]
    projections = q * e * e + k * ek * ek + v * ev * ev
    bias = (q + k + v) * e if (3 * e,) in row.param_shapes else 0
    scores = heads * (q * k * (e // heads) + q * k + q * k * (ev // heads))
    yield "MultiheadAttention", batch * (q * e + projections + bias + scores + q * ev * (ev + 1))


MODULE_RULES: dict[str, Callable[[ModuleCall], NamedAmounts]] = {
    **dict.fromkeys(CONV_KINDS, _convolution),
    **dict.fromkeys(ACTIVATION_KINDS, _activation),
    **dict.fromkeys(POOL_KINDS, _pool),
    **dict.fromkeys(NORM_KINDS, _norm),
    **dict.fromkeys(RECURRENT_KINDS, _recurrent),
    "Linear": _linear,
    "Upsample": _upsample,
    "MultiheadAttention": _attention,
}


def _count_functions(view: ToolView, row: ModuleCall) -> Iterator[WorkPart]:
    """Calls of the functions that it replaces, in the forward of one module."""
    if row.kind in FUNCTION_CALLING_KINDS:
        yield WorkPart(
            "function of that module, once more", count_elements(row.input_shape), count_elements(row.input_shape)
        )
    elif row.kind in INTERPOLATING_KINDS:
        yield from (WorkPart("F.interpolate", *amounts) for op in row.ops if (amounts := _count_interpolate(view, op)))
    elif row.kind not in KINDS_WITHOUT_REPLACED_CALLS:
        inside = REPLACED_OPS_INSIDE.get(row.kind)
        for op in row.ops:
            if inside is None:
                yield from _count_function(view, op)
            elif op.name in inside:
                amount = _count_function_amount(view, op)
                yield WorkPart(f"{op.name} inside {row.kind}", amount, amount)


def _count_function(view: ToolView, op: Op) -> Iterator[WorkPart]:
    """An op in code that we do not know: written as one of those functions, or otherwise."""
    amounts = _count_interpolate(view, op)
    if amounts is not None:
        yield WorkPart(f"{op.name}, if written as F.interpolate", 0, amounts[1])
    elif view.is_from_linear(op):
        yield WorkPart("F.linear, which it does not replace", 0, 0, op.macs or 0)
    elif op.name in REPLACED_PRODUCT_OPS:
        yield WorkPart(
            f"{op.name}, if written as torch.matmul or its kin", 0, _count_function_amount(view, op), op.macs or 0
        )
    elif op.name in REPLACED_ELEMENTWISE_OPS:
        yield WorkPart(f"{op.name}, if not written as an operator", 0, _count_function_amount(view, op))
    elif op.name in OPS_COUNTED_BY_INPUT or (op.name == "aten.mean" and op.args[1:3] in GLOBAL_MEAN_ARGS):
        yield WorkPart(
            f"{op.name}, if written as a function of torch.nn.functional", 0, _count_function_amount(view, op)
        )


def _count_function_amount(view: ToolView, op: Op) -> int:
    if op.name in ("aten.addmm", "aten.baddbmm"):
        return (op.macs or 0) + view.numel(op.inputs[0])
    if op.name in REPLACED_PRODUCT_OPS:
        first, second = view.find_factor_shapes(op)
        return count_elements(first) * second[-1]
    if op.name in REPLACED_ELEMENTWISE_OPS:
        return _count_aligned_elements([view.shape(index) for index in op.inputs])
    return view.numel(op.inputs[0])


def _count_aligned_elements(shapes: list[Shape]) -> int:
    """Elements of a broadcast result, by a rule that lines the shapes up at their first dimension."""
    return prod(max(sizes) for sizes in zip_longest(*shapes, fillvalue=1))


def _count_interpolate(view: ToolView, op: Op) -> tuple[int, int] | None:
    """Least and most for an op that `F.interpolate` calls; `None` for any other."""
    if not op.name.startswith("aten.upsample_"):
        return None
    scales = [value for value in op.args if isinstance(value, float)]
    if all(scale.is_integer() for scale in scales):
        return (view.numel(op.outputs[0]),) * 2
    return view.numel(op.inputs[0]) * int(prod(scales)), int(view.numel(op.inputs[0]) * prod(scales))


CONVENTION = Convention(
    "ptflops",
    "0.7.5",
    "get_model_complexity_info(model, input_res)",
    "MACs of one sample",
    count_parts,
    unclear="In code of your own a profile does not tell torch.add(x, y) from x + y, F.relu(x) from torch.relu(x).",
)
