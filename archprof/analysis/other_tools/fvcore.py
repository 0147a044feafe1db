"""fvcore 0.1.5.post20221221, `fvcore.nn.FlopCountAnalysis(model, inputs).total()`.

It prints "flops", which are multiply-adds, and reads a `torch.jit` trace: one node a torch function, before that
becomes aten ops.

* Convolution, `linear`, `addmm`, `mm`, `bmm`, `matmul`, `einsum`: multiply-adds, without bias. `matmul` is the elements
  of its first factor times the last dimension of the second: a factor that is spread over a batch counts once.
* Batch norm 2 an element (1 without weights; 5 and 4 where it takes the batch's own statistics), layer, group and
  instance norm 5 an element (4 without weights).
* `adaptive_avg_pool2d` 1 an input element; `upsample_nearest2d` 1, `upsample_bilinear2d` and `grid_sampler` 4 an
  output element.
* Nothing for scaled dot product attention, recurrent layers, `baddbmm`, `mv`, `bilinear`, nor for a convolution
  written with `padding="same"`, which is another node.
"""

from __future__ import annotations

from collections.abc import Iterator

from archprof.analysis.other_tools.tool_count import CannotCount, Convention, Part
from archprof.analysis.other_tools.tool_view import BY_VECTOR, Reading, Row, product
from archprof.facts.records import Op

PRODUCTS = frozenset({"aten.convolution", "aten.addmm", "aten.mm", "aten.linear"})

ELEMENTWISE = {
    "aten.upsample_nearest2d": 1,
    "aten.upsample_bilinear2d": 4,
    "aten.grid_sampler_2d": 4,
    "aten.grid_sampler_3d": 4,
}
"""What it counts for each output element."""

GLOBAL_POOL = ((-1, -2), True)
"""How torch writes the mean that a global `adaptive_avg_pool2d` is."""


def parts(reading: Reading) -> Iterator[Part]:
    for row in reading.rows:
        if row.kind.startswith("InstanceNorm"):
            yield _norm("instance norm", row.x, affine=bool(row.params))
            continue
        for op in row.ops:
            yield from _part(reading, row, op)


def _part(reading: Reading, row: Row, op: Op) -> Iterator[Part]:
    macs = op.macs or 0
    if op.name == "aten.convolution" and row.op("constant_pad_nd") and row.kind in ("Conv1d", "Conv2d", "Conv3d"):
        yield Part('convolution with padding="same", another node to it', 0, 0, macs)
    elif op.name in PRODUCTS:
        yield Part(op.name, macs, macs, macs)
    elif op.name == "aten.bmm":
        yield _batched(reading, op, macs)
    elif op.name in BY_VECTOR:
        yield Part(f"{op.name}, counted as nothing; if it was written as torch.matmul, fvcore raises", 0, 0, macs)
    elif op.name in ("aten.native_batch_norm", "aten._native_batch_norm_legit_no_training", "aten.cudnn_batch_norm"):
        yield _batch_norm(reading, op)
    elif op.name in ("aten.native_layer_norm", "aten.native_group_norm"):
        words = "layer norm" if "layer" in op.name else "group norm"
        yield _norm(words, reading.shape(op.inputs[0]), affine=len(op.inputs) > 1)
    elif op.name in ELEMENTWISE:
        amount = ELEMENTWISE[op.name] * reading.numel(op.outputs[0])
        yield Part(op.name, amount, amount)
    elif row.kind not in ("AdaptiveAvgPool1d", "AdaptiveAvgPool3d") and _pools(op):
        amount = reading.numel(op.inputs[0])
        yield Part("adaptive average pool, 1 an input element", amount, amount)
    elif macs:
        yield Part(f"{op.name}, counted as nothing", 0, 0, macs)


def _pools(op: Op) -> bool:
    return op.name == "aten._adaptive_avg_pool2d" or (op.name == "aten.mean" and op.args[1:3] == GLOBAL_POOL)


def _batched(reading: Reading, op: Op, macs: int) -> Part:
    if reading.by_einsum(op):
        return _by_einsum(op, macs)
    first, second = reading.factors(op)
    counted = product(first) * second[-1]
    words = op.name if counted == macs else f"{op.name} of a factor that is spread over a batch, counted once"
    return Part(words, counted, counted, macs)


def _by_einsum(op: Op, macs: int) -> Part:
    """It takes half of the FLOPs that NumPy prints for an `einsum`, which have four digits."""
    printed = int(float(f"{2 * macs:.3e}") // 2)
    words = op.name if printed == macs else f"{op.name}, in four digits if it was written as einsum"
    return Part(words, min(macs, printed), max(macs, printed), macs)


def _batch_norm(reading: Reading, op: Op) -> Part:
    """Inputs: x, then weight and bias, then the running mean and variance, as far as there are any."""
    others = [reading.profile.storages[reading.profile.tensors[i].storage].role for i in op.inputs[1:]]
    affine = "parameter" in others or len(others) == 4
    if "buffer" not in others and len(others) < 4:
        return _norm("batch norm by the batch's own statistics", reading.shape(op.inputs[0]), affine)
    amount = reading.numel(op.inputs[0]) * (2 if affine else 1)
    return Part(f"batch norm, {2 if affine else 1} an element", amount, amount)


def _norm(words: str, shape: tuple[int, ...], affine: bool) -> Part:
    if not 2 <= len(shape) <= 5:
        raise CannotCount(f"its rule of a {words} raises on an input of {len(shape)} dimensions")
    each = 5 if affine else 4
    return Part(f"{words}, {each} an element", each * product(shape), each * product(shape))


CONVENTION = Convention(
    "fvcore",
    "0.1.5.post20221221",
    "FlopCountAnalysis(model, inputs).total()",
    "flops",
    parts,
    limits='A convolution written padding="same" that pads both sides alike is taken for one with a number, which '
    "fvcore counts; a matmul of two and of more dimensions may be folded so that what it spreads does not show.",
    unclear="Of an einsum it counts half of the FLOPs that NumPy prints, which have four digits.",
)
