"""DeepSpeed 0.19.8, `deepspeed.profiling.flops_profiler.get_model_profile`, of which the MACs.

It replaces functions of torch while the model runs. MACs are counted for `F.linear`, `F.conv*`, `F.conv_transpose*`,
`matmul` (also as `@`), `mm`, `bmm`, `addmm`, `baddbmm` and `F.scaled_dot_product_attention`; `einsum`, recurrent
layers, norms, pools and activations have FLOPs there, and 0 MACs. `matmul` is the elements of its first factor times
the last dimension of the second. A convolution with `padding="same"` is sized as if both sides were padded alike: one
position short per dimension where they are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from archprof.analysis.other_tools.products import count_product
from archprof.analysis.other_tools.tool_count import Convention, WorkPart
from archprof.analysis.other_tools.tool_view import VECTOR_PRODUCT_OPS, ModuleCall, ToolView, count_elements
from archprof.facts.records import Op

FULLY_COUNTED_OPS = frozenset({"aten.addmm", "aten.linear", "aten.baddbmm", "aten.scaled_dot_product_attention"})
CELL_KINDS = frozenset({"LSTMCell", "GRUCell", "RNNCell"})


def count_parts(view: ToolView) -> Iterator[WorkPart]:
    for row in view.module_calls:
        for op in row.ops:
            if not op.macs:
                continue
            if row.kind in CELL_KINDS:
                yield WorkPart("recurrent cell, 0 MACs there", 0, 0, op.macs)
            elif op.name == "aten.convolution":
                yield _count_convolution(view, row, op, op.macs)
            elif op.name == "aten.bmm" and view.may_be_einsum(op):
                yield WorkPart("aten.bmm, 0 MACs there if it was written as einsum", 0, op.macs, op.macs)
            elif op.name in ("aten.mm", "aten.bmm"):
                yield count_product(view, row, op, op.macs)
            elif op.name in FULLY_COUNTED_OPS:
                yield WorkPart(op.name, op.macs, op.macs, op.macs)
            elif op.name in VECTOR_PRODUCT_OPS:
                most = count_elements(view.shape(op.inputs[0])) * view.numel(op.inputs[1])
                yield WorkPart(f"{op.name}, 0 MACs there unless it was written as matmul", 0, most, op.macs)
            else:
                yield WorkPart(f"{op.name}, 0 MACs there", 0, 0, op.macs)


def _count_convolution(view: ToolView, row: ModuleCall, op: Op, macs: int) -> WorkPart:
    padded = row.find_op("constant_pad_nd")
    if padded is None or row.kind not in ("Conv1d", "Conv2d", "Conv3d"):
        return WorkPart(op.name, macs, macs, macs)
    grown = zip(view.shape(padded.inputs[0])[2:], view.shape(padded.outputs[0])[2:], strict=True)
    outputs = view.shape(op.outputs[0])[2:]
    short = prod(size - (after > before) for size, (before, after) in zip(outputs, grown, strict=True))
    counted = macs // prod(outputs) * short
    return WorkPart('convolution with padding="same", sized one short', counted, counted, macs)


CONVENTION = Convention(
    "deepspeed",
    "0.19.8",
    "get_model_profile(model, args=inputs)",
    "MACs",
    count_parts,
    limits="Functions of torch under other names (torch.conv2d, torch.linalg.matmul) are not seen there.",
    unclear="A profile does not always tell einsum, tensordot and mv, which have 0 MACs there, from torch.matmul.",
)
