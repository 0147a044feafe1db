"""fvcore 0.1.5.post20221221, `fvcore.nn.FlopCountAnalysis(model, inputs).total()`.

It prints "flops", which are multiply-adds, and reads a `torch.jit` trace: one node per torch function, before that
becomes aten ops.

* Convolution, `linear`, `addmm`, `mm`, `bmm`, `matmul`, `einsum`: multiply-adds, without bias. `matmul` is the elements
  of its first factor times the last dimension of the second: a factor that is spread over a batch counts once.
* Batch norm 2 per element (1 without weights; 5 and 4 where it takes the batch's own statistics), layer, group and
  instance norm 5 per element (4 without weights).
* `adaptive_avg_pool2d` 1 per input element; `upsample_nearest2d` 1, `upsample_bilinear2d` and `grid_sampler` 4 per
  output element.
* Nothing for `tensordot`, `inner`, `multi_dot`, `matrix_power`, which are nodes of their own.
* Nothing for scaled dot product attention, recurrent layers, `baddbmm`, `mv`, `bilinear`, nor for a convolution
  written with `padding="same"`, which is another node.
"""

from __future__ import annotations

from collections.abc import Iterator

from archprof.analysis.other_tools.products import count_product, find_folded_shape
from archprof.analysis.other_tools.tool_count import CannotCount, Convention, WorkPart
from archprof.analysis.other_tools.tool_view import VECTOR_PRODUCT_OPS, ModuleCall, ToolView, count_elements
from archprof.facts.records import Op

FULLY_COUNTED_OPS = frozenset({"aten.convolution", "aten.addmm", "aten.linear"})

COUNT_PER_OUTPUT_ELEMENT = {
    "aten.upsample_nearest2d": 1,
    "aten.upsample_bilinear2d": 4,
    "aten.grid_sampler_2d": 4,
    "aten.grid_sampler_3d": 4,
}
"""What it counts for each output element."""

GLOBAL_MEAN_ARGS = ((-1, -2), True)
"""How torch writes the mean that a global `adaptive_avg_pool2d` is."""


def count_parts(view: ToolView) -> Iterator[WorkPart]:
    for row in view.module_calls:
        if row.kind.startswith("InstanceNorm"):
            yield _count_norm("instance norm", row.input_shape, affine=bool(row.param_shapes))
            continue
        for op in row.ops:
            yield from _count_op(view, row, op)


def _count_op(view: ToolView, row: ModuleCall, op: Op) -> Iterator[WorkPart]:
    macs = op.macs or 0
    if op.name == "aten.convolution" and row.find_op("constant_pad_nd") and row.kind in ("Conv1d", "Conv2d", "Conv3d"):
        yield WorkPart('convolution with padding="same", another node to it', 0, 0, macs)
    elif op.name in FULLY_COUNTED_OPS:
        yield WorkPart(op.name, macs, macs, macs)
    elif op.name == "aten.bmm" and view.may_be_einsum(op):
        yield _count_einsum(op, macs)
    elif op.name in ("aten.mm", "aten.bmm"):
        yield count_product(view, row, op, macs)
    elif op.name == "aten.mul" and all(view.find_maker(index) == "aten.permute" for index in op.inputs):
        printed = _halve_printed_flops(view.numel(op.outputs[0]))
        yield WorkPart("aten.mul, half of its FLOPs if it was written as einsum", 0, printed)
    elif op.name in VECTOR_PRODUCT_OPS:
        yield _count_vector_product(view, op, macs)
    elif op.name in ("aten.native_batch_norm", "aten._native_batch_norm_legit_no_training", "aten.cudnn_batch_norm"):
        yield _count_batch_norm(view, op)
    elif op.name in ("aten.native_layer_norm", "aten.native_group_norm"):
        words = "layer norm" if "layer" in op.name else "group norm"
        yield _count_norm(words, view.shape(op.inputs[0]), affine=len(op.inputs) > 1)
    elif op.name in COUNT_PER_OUTPUT_ELEMENT:
        amount = COUNT_PER_OUTPUT_ELEMENT[op.name] * view.numel(op.outputs[0])
        yield WorkPart(op.name, amount, amount)
    elif row.kind not in ("AdaptiveAvgPool1d", "AdaptiveAvgPool3d") and _is_adaptive_pool(op):
        amount = view.numel(op.inputs[0])
        yield WorkPart("adaptive average pool, 1 per input element", amount, amount)
    elif macs:
        yield WorkPart(f"{op.name}, counted as nothing", 0, 0, macs)


def _is_adaptive_pool(op: Op) -> bool:
    return op.name == "aten._adaptive_avg_pool2d" or (op.name == "aten.mean" and op.args[1:3] == GLOBAL_MEAN_ARGS)


def _count_vector_product(view: ToolView, op: Op, macs: int) -> WorkPart:
    """`matmul` of a vector by matrices it counts; of a matrix, or a vector, by a vector it does not."""
    shaped = find_folded_shape(view, op)
    if shaped:
        most = view.numel(op.inputs[1]) * shaped[-1]
        return WorkPart(f"{op.name}, nothing unless it was written as torch.matmul", 0, most, macs)
    return WorkPart(f"{op.name}, counted as nothing; if it was written as torch.matmul, fvcore raises", 0, 0, macs)


def _count_einsum(op: Op, macs: int) -> WorkPart:
    """What it reads of NumPy for an `einsum`, and what it would count of a `bmm`."""
    printed = _halve_printed_flops(2 * macs)
    words = op.name if printed == macs else f"{op.name}, in four digits if it was written as einsum"
    return WorkPart(words, min(macs, printed), max(macs, printed), macs)


def _halve_printed_flops(flops: int) -> int:
    """NumPy adds 1 and prints four digits; of these fvcore takes half."""
    return int(float(f"{flops + 1:.3e}") // 2)


def _count_batch_norm(view: ToolView, op: Op) -> WorkPart:
    """Inputs: x, then weight and bias, then the running mean and variance, as far as there are any."""
    others = [view.profile.role_of(i) for i in op.inputs[1:]]
    affine = "parameter" in others or len(others) == 4
    if "buffer" not in others and len(others) < 4:
        return _count_norm("batch norm by the batch's own statistics", view.shape(op.inputs[0]), affine)
    amount = view.numel(op.inputs[0]) * (2 if affine else 1)
    return WorkPart(f"batch norm, {2 if affine else 1} per element", amount, amount)


def _count_norm(words: str, shape: tuple[int, ...], affine: bool) -> WorkPart:
    if not 2 <= len(shape) <= 5:
        raise CannotCount(f"its rule of a {words} raises on an input of {len(shape)} dimensions")
    each = 5 if affine else 4
    return WorkPart(f"{words}, {each} per element", each * count_elements(shape), each * count_elements(shape))


CONVENTION = Convention(
    "fvcore",
    "0.1.5.post20221221",
    "FlopCountAnalysis(model, inputs).total()",
    "flops",
    count_parts,
    limits='A convolution written padding="same" that pads both sides alike is taken for one with a number, which '
    "fvcore counts.",
    unclear="Of an einsum it counts half of the FLOPs that NumPy prints, which have four digits; of tensordot "
    "and other functions that end in a matrix product, nothing.",
)
