"""DeepSpeed 0.19.8, `deepspeed.profiling.flops_profiler.get_model_profile`, of which the MACs.

It replaces functions of torch while the model runs. MACs are counted for `F.linear`, `F.conv*`, `F.conv_transpose*`,
`matmul` (also as `@`), `mm`, `bmm`, `addmm`, `baddbmm` and `F.scaled_dot_product_attention`; `einsum`, recurrent
layers, norms, pools and activations have FLOPs there, and 0 MACs. `matmul` is the elements of its first factor times
the last dimension of the second. A convolution with `padding="same"` is sized as if both sides were padded alike: one
position short a dimension where they are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from archprof.analysis.other_tools.tool_count import Convention, Part
from archprof.analysis.other_tools.tool_view import BY_VECTOR, Reading, Row, product
from archprof.facts.records import Op

PRODUCTS = frozenset({"aten.addmm", "aten.mm", "aten.linear", "aten.baddbmm", "aten.scaled_dot_product_attention"})
CELLS = frozenset({"LSTMCell", "GRUCell", "RNNCell"})


def parts(reading: Reading) -> Iterator[Part]:
    for row in reading.rows:
        for op in row.ops:
            if not op.macs:
                continue
            if row.kind in CELLS:
                yield Part("recurrent cell, 0 MACs there", 0, 0, op.macs)
            elif op.name == "aten.convolution":
                yield _convolution(reading, row, op, op.macs)
            elif op.name == "aten.bmm":
                yield _batched(reading, op, op.macs)
            elif op.name in PRODUCTS:
                yield Part(op.name, op.macs, op.macs, op.macs)
            elif op.name in BY_VECTOR:
                most = product(reading.shape(op.inputs[0])) * reading.numel(op.inputs[1])
                yield Part(f"{op.name}, 0 MACs there unless it was written as matmul", 0, most, op.macs)
            else:
                yield Part(f"{op.name}, 0 MACs there", 0, 0, op.macs)


def _convolution(reading: Reading, row: Row, op: Op, macs: int) -> Part:
    padded = row.op("constant_pad_nd")
    if padded is None or row.kind not in ("Conv1d", "Conv2d", "Conv3d"):
        return Part(op.name, macs, macs, macs)
    grown = zip(reading.shape(padded.inputs[0])[2:], reading.shape(padded.outputs[0])[2:], strict=True)
    outputs = reading.shape(op.outputs[0])[2:]
    short = prod(size - (after > before) for size, (before, after) in zip(outputs, grown, strict=True))
    counted = macs // prod(outputs) * short
    return Part('convolution with padding="same", sized one short', counted, counted, macs)


def _batched(reading: Reading, op: Op, macs: int) -> Part:
    if reading.by_einsum(op):
        return Part("aten.bmm, 0 MACs there if it was written as einsum", 0, macs, macs)
    first, second = reading.factors(op)
    counted = product(first) * second[-1]
    words = op.name if counted == macs else f"{op.name} of a factor that is spread over a batch, counted once"
    return Part(words, counted, counted, macs)


CONVENTION = Convention(
    "deepspeed",
    "0.19.8",
    "get_model_profile(model, args=inputs)",
    "MACs",
    parts,
    limits="Functions of torch under other names (torch.conv2d, torch.relu) are not seen there.",
    unclear="A profile does not always tell torch.einsum and torch.mv, which have 0 MACs there, from torch.matmul.",
)
