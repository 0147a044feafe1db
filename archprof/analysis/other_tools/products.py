"""Matrix products that a tool counts by the function they were written as, which a profile tells only by its traces.

`torch.matmul`, `mm` and `F.linear` are counted; `torch.tensordot`, `inner`, `linalg.multi_dot`, `matrix_power` and
`cov` end in the same ops, and are not. Where the ops around a product are those of such a function, it may be one.
"""

from __future__ import annotations

from archprof.analysis.other_tools.tool_count import WorkPart
from archprof.analysis.other_tools.tool_view import ModuleCall, Shape, ToolView, count_elements
from archprof.facts.records import Op


def count_product(view: ToolView, row: ModuleCall, op: Op, macs: int) -> WorkPart:
    """An `mm` or a `bmm` that is no einsum.

    `matmul` counts the elements of its first factor times the last dimension of the second: a factor that is spread
    over a batch counts once.
    """
    unseen = None if row.kind == "Linear" else _find_unseen_function(view, op)
    if unseen:
        return WorkPart(f"{op.name}, counted as nothing if it was written as {unseen}", 0, macs, macs)
    if op.name == "aten.bmm":
        first, second = view.find_factor_shapes(op)
        counted = count_elements(first) * second[-1]
        words = op.name if counted == macs else f"{op.name} of a factor that is spread over a batch, counted once"
        return WorkPart(words, counted, counted, macs)
    folded = None if row.kind == "Linear" else find_folded_shape(view, op)
    if folded and view.is_used_by(op, "_unsafe_view", "transpose"):
        counted = count_elements(view.shape(op.inputs[1])) * folded[-2]
        return WorkPart(f"{op.name}, its spread factor counted once if it was written so", counted, macs, macs)
    return WorkPart(op.name, macs, macs, macs)


def find_folded_shape(view: ToolView, op: Op) -> Shape | None:
    """How a product is shaped that may be `matmul(a, b)` with a batch in `b` alone: torch then computes b.mT times a.T.

    `None`: it is none. The batch and the last dimension of `b` lie in one dimension of the product.
    """
    shaped = view.find_user(op.outputs[0])
    if shaped is None or shaped.name != "aten._unsafe_view" or view.find_origin(op.inputs[0]) != "aten.transpose":
        return None
    return view.shape(shaped.outputs[0])


def _find_unseen_function(view: ToolView, op: Op) -> str | None:
    """A function that tools do not see, of which the ops around a product may be."""
    if _may_be_tensordot(view, op):
        return "torch.tensordot or inner"
    if _may_be_multi_dot(view, op):
        return "torch.linalg.multi_dot"
    if op.outputs[0] in view.powers:
        return "torch.linalg.matrix_power"
    return "torch.cov" if _may_be_cov(view, op) else None


def _may_be_tensordot(view: ToolView, op: Op) -> bool:
    """It permutes and reshapes both factors, and reshapes what comes out."""
    permuted = all(view.find_origin(index, viewed=True) == "aten.permute" for index in op.inputs)
    return op.name == "aten.mm" and permuted and view.is_used_by(op, "view")


def _may_be_multi_dot(view: ToolView, op: Op) -> bool:
    """It views its last product as the shape it has, or without dimensions of 1 that it gave to vectors."""
    after = op if op.name == "aten.mm" else None
    while after is not None and after.name == "aten.mm":
        made = after.outputs[0]
        after = view.find_user(made)
    return (
        after is not None
        and after.name == "aten.view"
        and [n for n in view.shape(made) if n > 1] == [n for n in view.shape(after.outputs[0]) if n > 1]
    )


def _may_be_cov(view: ToolView, op: Op) -> bool:
    """The product of what is left without the mean with itself transposed, divided."""
    centred = op.name == "aten.mm" and view.find_maker(op.inputs[0]) == "aten.sub"
    return centred and view.find_maker(op.inputs[1]) == "aten.t" and view.is_used_by(op, "div")
