"""Recurrent layers: LSTM, GRU and plain RNN, fused or as torch's one function call.

A row is one step of one sequence. MACs: rows × elements of all weight matrices (projection included); the first
step's product with the initial state is counted even where that state is zero.
FLOPs: 2 × MACs, 1 per row for each element of each bias, and for each row, layer and direction with H hidden units
* LSTM 13 H: 4 H join the two products, 4 H gate functions, 3 H new cell state, 2 H output;
* GRU 10 H: 2 H join the products of two gates, 2 H gate functions, 3 H new candidate, 3 H blend with the old state;
* RNN 2 H: join the products, activation.
Dropout between layers in training: 2 per element it is applied to.

Backward: twice the forward, since each weight matrix stands in two products, one for the gradient of its input and
one for its own. The gradient of the first layer's input is counted even where nobody asks for it.

Until its backward a layer keeps its weights, its input and its output, and what torch's fused cells keep: the gates and
the new cell state of an LSTM (5 H per row), the gates, the candidate, its recurrent part and the old state of a GRU
(5 H). cuDNN says only on a GPU how much it reserves; it is at least that.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from archprof.facts.records import TensorSpec
from archprof.tracing.ops.costs.registry import CostRule, KeepRule, KeptForBackward, OpCost, aten_names, cost_rule
from archprof.tracing.ops.costs.tensors import numel

if TYPE_CHECKING:
    from torch import Tensor


class RecurrentCell(NamedTuple):
    """One kind of cell: rows of its input weight matrix, FLOPs between its products, numbers that it keeps for its
    backward beside its output; each per hidden unit."""

    gate_count: int
    flops_per_unit: int
    kept_per_unit: int


LSTM, GRU, RNN = RecurrentCell(4, 13, 5), RecurrentCell(3, 10, 5), RecurrentCell(1, 2, 0)
CELL_BY_MODE = (RNN, RNN, LSTM, GRU)
"""By the number that `_cudnn_rnn` and `mkldnn_rnn_layer` are given as `mode`: ReLU, tanh, LSTM, GRU."""


def _rule_of_function(cell: RecurrentCell) -> CostRule:
    """The rule of torch.lstm, gru, rnn_tanh or rnn_relu; a packed sequence has its batch sizes as second argument."""

    def count(result: Any, /, x: Tensor, *args: Any, **_: Any) -> OpCost:
        weights, layers, dropout = _read_function_args(args)
        return _count_layers(cell, numel(x) // x.shape[-1], weights, layers, dropout)

    return count


def _read_function_args(args: Sequence[Any]) -> tuple[Sequence[Tensor], int, float]:
    """Weights, layers and the share that is dropped, of what follows the input."""
    packed = isinstance(args[2], (list, tuple))
    weights, _has_biases, layers, dropout, train, *_ = args[2:] if packed else args[1:]
    return weights, layers, dropout if train else 0.0


def _keep_rule(cell: RecurrentCell) -> KeepRule:
    """What a function keeps: its output, what each cell keeps, and the output of every layer but the last."""

    def keep(result: Any, /, x: Tensor, *args: Any, **_: Any) -> KeptForBackward:
        weights, layers, _dropout = _read_function_args(args)
        shapes = [weight.shape for weight in weights]
        gates = shapes[0][0]
        cells = sum(len(shape) == 2 and shape[0] == gates for shape in shapes) // 2
        each = len(shapes) // layers
        inner = sum(shape[1] for shape in shapes[each::each])
        per_row = cells * (gates // cell.gate_count) * cell.kept_per_unit + inner
        elements = numel(x) // x.shape[-1] * per_row
        return KeptForBackward(
            (0,), (TensorSpec((elements,), str(x.dtype).removeprefix("torch.")),) if elements else ()
        )

    return keep


def _count_layers(cell: RecurrentCell, rows: int, weights: Sequence[Tensor], layers: int, dropout: float) -> OpCost:
    """All layers and directions; `weights` holds each layer's in turn, its input weight matrix first."""
    shapes = [weight.shape for weight in weights]
    matrices = [shape for shape in shapes if len(shape) == 2]
    macs = rows * sum(map(prod, matrices))
    biases = rows * sum(prod(shape) for shape in shapes if len(shape) == 1)
    gates = shapes[0][0]
    cells = sum(shape[0] == gates for shape in matrices) // 2
    pointwise = rows * cells * (gates // cell.gate_count) * cell.flops_per_unit
    if dropout:
        each = len(shapes) // layers
        pointwise += 2 * rows * sum(shape[1] for shape in shapes[each::each])
    return OpCost(macs, 2 * macs + biases + pointwise)


def backward_rule(forward: CostRule) -> CostRule:
    """The rule of a backward that takes its forward's arguments."""

    def count(result: Any, /, *args: Any, **named: Any) -> OpCost | None:
        found = forward(result, *args, **named)
        return found and OpCost(2 * found.macs, 2 * found.flops)

    return count


def _backward_rule_of_function(cell: RecurrentCell) -> CostRule:
    """Of the function's own backward: the gradients of its weights are left out where the result has none of them."""
    forward = _rule_of_function(cell)

    def count(result: Any, /, *args: Any, **named: Any) -> OpCost | None:
        weights, _layers, _dropout = _read_function_args(args[1:])
        found = forward(result, *args, **named)
        none = result is not None and not any(tensor is not None for tensor in result[-len(weights) :])
        passes = 1 if none else 2
        return found and OpCost(passes * found.macs, passes * found.flops)

    return count


for _name, _cell in {"lstm": LSTM, "gru": GRU, "rnn_tanh": RNN, "rnn_relu": RNN}.items():
    cost_rule(f"aten.{_name}", keeps=_keep_rule(_cell))(_rule_of_function(_cell))
    cost_rule(f"aten.{_name}_backward")(_backward_rule_of_function(_cell))


def _cudnn_rule(at: int) -> CostRule:
    """The rule of cuDNN's op, which takes its mode at that place and its other options from there."""

    def count(result: Any, /, x: Tensor, weights: Sequence[Tensor], *args: Any, **_: Any) -> OpCost:
        mode, _hidden, _projection, layers, _batch_first, dropout, train = args[at - 2 : at + 5]
        return _count_layers(CELL_BY_MODE[mode], numel(x) // x.shape[-1], weights, layers, dropout if train else 0.0)

    return count


def _mkldnn_rule(at: int) -> CostRule:
    """The rule of oneDNN's op, one layer in one direction, which takes its mode at that place."""

    def count(result: Any, /, x: Tensor, *args: Any, **_: Any) -> OpCost:
        mode, _hidden, _layers, has_biases = args[at - 1 : at + 3]
        weights = args[:4] if has_biases else args[:2]
        return _count_layers(CELL_BY_MODE[mode], numel(x) // x.shape[-1], weights, 1, 0.0)

    return count


cost_rule("aten._cudnn_rnn")(_cudnn_rule(6))
cost_rule("aten._cudnn_rnn_backward")(backward_rule(_cudnn_rule(10)))
cost_rule("aten.mkldnn_rnn_layer")(_mkldnn_rule(9))
cost_rule("aten.mkldnn_rnn_layer_backward")(backward_rule(_mkldnn_rule(14)))


@cost_rule(*aten_names("_thnn_fused_lstm_cell"))
def lstm_cell(
    result: Any,
    /,
    input_gates: Tensor,
    hidden_gates: Tensor,
    cx: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    **_: Any,
) -> OpCost:
    return _count_cell(LSTM, cx, b_ih)


@cost_rule(*aten_names("_thnn_fused_gru_cell"))
def gru_cell(
    result: Any,
    /,
    input_gates: Tensor,
    hidden_gates: Tensor,
    hx: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    **_: Any,
) -> OpCost:
    return _count_cell(GRU, hx, b_ih)


def _count_cell(cell: RecurrentCell, state: Tensor, bias: Tensor | None) -> OpCost:
    """What a cell does between its products, which are ops of their own here; there are two biases or none."""
    return OpCost(0, numel(state) * (cell.flops_per_unit + (2 * cell.gate_count if bias is not None else 0)))


@cost_rule(*aten_names("_thnn_fused_lstm_cell_backward_impl _thnn_fused_lstm_cell_backward"))
def lstm_cell_backward(result: Any, /, grad_hy: Any, grad_cy: Any, cx: Tensor, *_: Any, **__: Any) -> OpCost:
    return OpCost(0, 2 * LSTM.flops_per_unit * numel(cx))


@cost_rule(*aten_names("_thnn_fused_gru_cell_backward"))
def gru_cell_backward(result: Any, /, grad_hy: Tensor, *_: Any, **__: Any) -> OpCost:
    return OpCost(0, 2 * GRU.flops_per_unit * numel(grad_hy))
