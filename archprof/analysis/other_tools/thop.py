"""thop 0.1.1-2209072238, `thop.profile(model, inputs)`, of which the first number, "MACs".

It knows modules by their exact class:
* convolution, also transposed: output elements x input channels of a group x window (of a transposed one that is too
  much by about the square of its stride); linear: output elements x input features; neither with its bias;
* batch, layer and instance norm 2 per element, 4 with weights; softmax 3n - 1 for n classes; PReLU 1 per element;
* average pool 1 per output element; adaptive average pool the window + 1 per output element;
* upsampling 1 per output element (nearest), 5 (linear), 11 (bilinear) or 259 (bicubic);
* recurrent layers with their biases and gate functions.
No functional op, no attention. A module that several others hold counts once per call, holder and hook, and each
holder sets a hook.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

from archprof.analysis.other_tools.recurrent import read_recurrent_sizes
from archprof.analysis.other_tools.tool_count import CannotCount, Convention, WorkPart
from archprof.analysis.other_tools.tool_view import ModuleCall, ToolView, count_elements

UPSAMPLING_COSTS = {"nearest": 1, "linear": 5, "bilinear": 11, "bicubic": 259}


def count_parts(view: ToolView) -> Iterator[WorkPart]:
    for row in view.module_calls:
        rule = MODULE_RULES.get(row.kind)
        if rule is None:
            yield from (WorkPart(f"{op.name} outside the modules it knows", 0, 0, op.macs) for op in row.ops if op.macs)
            continue
        once = rule(row)
        yield WorkPart(row.kind, once, once, row.macs)
        if row.holder_count > 1:
            again = once * (row.holder_count**2 - 1)
            yield WorkPart(f"{row.kind} again for each of its holders", again, again)


def _convolution(row: ModuleCall) -> int:
    op = row.find_op("convolution")
    if op is None or op.window is None:
        raise CannotCount(f"{row.layer.path or 'the model'} ({row.kind}) ran no convolution")
    return count_elements(row.output_shape) * (row.input_shape[1] // op.window.groups) * prod(op.window.kernel)


def _norm(row: ModuleCall) -> int:
    return count_elements(row.input_shape) * (4 if row.param_shapes else 2)


def _softmax(row: ModuleCall) -> int:
    op = row.find_op("_softmax")
    if op is None or not isinstance(op.args[1], int):
        raise CannotCount(f"{row.layer.path or 'the model'} (Softmax) shows no dimension")
    classes = row.input_shape[op.args[1]]
    return count_elements(row.input_shape) // classes * (3 * classes - 1)


def _adaptive_average(row: ModuleCall) -> int:
    window = prod(before / after for before, after in zip(row.input_shape[2:], row.output_shape[2:], strict=True))
    return int((window + 1) * count_elements(row.output_shape))


def _upsample(row: ModuleCall) -> int:
    for words, each in UPSAMPLING_COSTS.items():
        if any(op.name.startswith(f"aten.upsample_{words}") for op in row.ops):
            return each * count_elements(row.output_shape)
    return 0


def _make_recurrent_rule(gate: Callable[[int, int, int], int]) -> Callable[[ModuleCall], int]:
    def count(row: ModuleCall) -> int:
        s = read_recurrent_sizes(row)
        width = s.hidden * s.directions
        inputs = (s.inputs[0], *(width for _ in s.inputs[1:]))
        biases = 2 * s.hidden if s.bias else 0
        cells = sum(gate(s.hidden, each, biases) * s.directions for each in inputs)
        return cells * s.steps * s.sequences

    return count


def _gate(hidden: int, inputs: int, biases: int) -> int:
    """One gate: both products, their sum and the biases."""
    return hidden * (inputs + hidden) + hidden + biases


_RNN = _make_recurrent_rule(_gate)
_GRU = _make_recurrent_rule(lambda hidden, inputs, biases: 3 * _gate(hidden, inputs, biases) + 4 * hidden)
_LSTM = _make_recurrent_rule(lambda hidden, inputs, biases: 4 * _gate(hidden, inputs, biases) + 4 * hidden)

MODULE_RULES: dict[str, Callable[[ModuleCall], int]] = {
    **{f"{kind}{n}d": _convolution for kind in ("Conv", "ConvTranspose") for n in (1, 2, 3)},
    **{f"{kind}{n}d": _norm for kind in ("BatchNorm", "InstanceNorm") for n in (1, 2, 3)},
    **{f"AvgPool{n}d": lambda row: count_elements(row.output_shape) for n in (1, 2, 3)},
    **{f"AdaptiveAvgPool{n}d": _adaptive_average for n in (1, 2, 3)},
    **dict.fromkeys(("LayerNorm", "SyncBatchNorm"), _norm),
    **dict.fromkeys(("Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"), _upsample),
    **dict.fromkeys(("RNN", "RNNCell"), _RNN),
    **dict.fromkeys(("GRU", "GRUCell"), _GRU),
    **dict.fromkeys(("LSTM", "LSTMCell"), _LSTM),
    "Linear": lambda row: count_elements(row.output_shape) * row.input_shape[-1],
    "PReLU": lambda row: count_elements(row.input_shape),
    "Softmax": _softmax,
}
"""What it counts for one call of a module, by class; a class that is not here is 0."""

CONVENTION = Convention(
    "thop",
    "0.1.1-2209072238",
    "profile(model, inputs)",
    "MACs",
    count_parts,
)
