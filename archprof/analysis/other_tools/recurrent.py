"""The sizes of a recurrent layer, read from the weights that its op took."""

from __future__ import annotations

from typing import NamedTuple

from archprof.analysis.other_tools.tool_count import CannotCount
from archprof.analysis.other_tools.tool_view import ModuleCall

GATE_COUNTS = {"RNN": 1, "LSTM": 4, "GRU": 3}
RECURRENT_LAYERS = frozenset(GATE_COUNTS)
RECURRENT_CELLS = frozenset(f"{kind}Cell" for kind in GATE_COUNTS)
RECURRENT_KINDS = RECURRENT_LAYERS | RECURRENT_CELLS


class RecurrentSizes(NamedTuple):
    """Of one recurrent layer or cell.

    Attributes:
        inputs: input features of each layer of the stack.
        hidden, bias, directions: as its constructor takes them.
        state: features of the hidden state: `proj_size` where there is one.
        sequences, steps: of the pass; for an input without a batch dimension, whatever stands in those places.
    """

    inputs: tuple[int, ...]
    hidden: int
    state: int
    bias: bool
    directions: int
    sequences: int
    steps: int


def read_recurrent_sizes(row: ModuleCall) -> RecurrentSizes:
    """Of a row whose kind is one of `RECURRENT_KINDS`."""
    gates = GATE_COUNTS[row.kind.removesuffix("Cell")]
    if row.kind in RECURRENT_CELLS:
        matrices = [shape for shape in row.param_shapes if len(shape) == 2]
        return RecurrentSizes(
            (row.input_shape[-1],),
            row.output_shape[-1],
            row.output_shape[-1],
            len(row.param_shapes) > len(matrices),
            1,
            row.input_shape[0],
            1,
        )
    op = row.find_op("lstm", "gru", "rnn_tanh", "rnn_relu")
    if op is None:
        raise CannotCount(f"{row.layer.path or 'the model'} ({row.kind}) ran as other ops, which do not show its sizes")
    if _is_packed(row):
        raise CannotCount(f"{row.layer.path or 'the model'} ({row.kind}) took a packed sequence")
    first, recurrent = row.param_shapes[0], row.param_shapes[1]
    hidden, state = first[0] // gates, recurrent[1]
    each = 2 + (2 if any(len(shape) == 1 for shape in row.param_shapes) else 0) + (state != hidden)
    directions = row.output_shape[-1] // state
    stack = row.param_shapes[:: each * directions]
    return RecurrentSizes(
        tuple(shape[1] for shape in stack), hidden, state, each > 3, directions, row.input_shape[0], row.input_shape[1]
    )


def _is_packed(row: ModuleCall) -> bool:
    return len(row.layer.inputs) > 1 and row.layer.inputs[1].dtype == "int64"
