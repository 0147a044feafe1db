"""The sizes of a recurrent layer, read from the weights that its op took."""

from __future__ import annotations

from typing import NamedTuple

from archprof.analysis.other_tools.tool_count import CannotCount
from archprof.analysis.other_tools.tool_view import Row

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
LAYERS = frozenset(GATES)
CELLS = frozenset(f"{kind}Cell" for kind in GATES)
KINDS = LAYERS | CELLS


class Sizes(NamedTuple):
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


def sizes(row: Row) -> Sizes:
    """Of a row whose kind is one of `KINDS`."""
    gates = GATES[row.kind.removesuffix("Cell")]
    if row.kind in CELLS:
        matrices = [shape for shape in row.params if len(shape) == 2]
        return Sizes((row.x[-1],), row.y[-1], row.y[-1], len(row.params) > len(matrices), 1, row.x[0], 1)
    op = row.op("lstm", "gru", "rnn_tanh", "rnn_relu")
    if op is None:
        raise CannotCount(f"{row.layer.path or 'the model'} ({row.kind}) ran as other ops, which do not show its sizes")
    if _packed(row):
        raise CannotCount(f"{row.layer.path or 'the model'} ({row.kind}) took a packed sequence")
    first, recurrent = row.params[0], row.params[1]
    hidden, state = first[0] // gates, recurrent[1]
    each = 2 + (2 if any(len(shape) == 1 for shape in row.params) else 0) + (state != hidden)
    directions = row.y[-1] // state
    stack = row.params[:: each * directions]
    return Sizes(tuple(shape[1] for shape in stack), hidden, state, each > 3, directions, row.x[0], row.x[1])


def _packed(row: Row) -> bool:
    return len(row.layer.inputs) > 1 and row.layer.inputs[1].dtype == "int64"
