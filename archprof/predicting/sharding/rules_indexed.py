"""How a cut goes through the ops that pick rows by index, and through the products of experts."""

from __future__ import annotations

from collections.abc import Sequence

from archprof.facts.ops import TENSOR_ARGUMENT
from archprof.facts.records import Signature
from archprof.predicting.sharding.layout import PARTIAL, WHOLE, Cut, Layout, have_same_share
from archprof.predicting.sharding.rules import Unfollowed, rule


@rule("index index_select gather take_along_dim")
def follow_index(signature: Signature, ins: Sequence[Layout]) -> Layout:
    """Rows, of which each is cut; the indices are whole."""
    source, *indices = ins
    if any(one.cut or one.is_partial for one in indices):
        raise Unfollowed("its indices are cut")
    if source.cut is None:
        return source
    return Layout(_move_behind_rows(signature, source.cut, len(signature.inputs[0].shape)))


def _move_behind_rows(signature: Signature, cut: Cut, rank: int) -> Cut:
    """Where the cut is in what was picked: dimensions that are picked from come first."""
    out = len(signature.outputs[0].shape)
    picked = _count_picked(signature)
    if picked is None or cut.dim < picked:
        raise Unfollowed("it picks along the cut")
    return cut._replace(dim=cut.dim + out - rank)


def _count_picked(signature: Signature) -> int | None:
    """How many dimensions in front an op picks from; `None`: others."""
    given = signature.args[1] if len(signature.args) > 1 else ()
    if isinstance(given, tuple) and given and all(one == TENSOR_ARGUMENT for one in given):
        return len(given)
    return 1 if given == 0 else None


@rule("index_put index_add index_copy _index_put_impl")
def follow_index_put(signature: Signature, ins: Sequence[Layout]) -> Layout:
    """Rows that are put or added into a tensor of the same cut."""
    target, *indices, values = ins
    if any(one.cut or one.is_partial for one in indices):
        raise Unfollowed("its indices are cut")
    if target.cut is None and values.cut is None:
        return PARTIAL if target.is_partial or values.is_partial else WHOLE
    if target.cut is None or values.cut is None or not have_same_share(target.cut, values.cut):
        raise Unfollowed("what it puts is cut in another way")
    if target.cut.dim - len(signature.inputs[0].shape) != values.cut.dim - len(signature.inputs[-1].shape):
        raise Unfollowed("it puts along the cut")
    return target


@rule("new_zeros new_empty new_full new_ones new_empty_strided")
def follow_new(signature: Signature, ins: Sequence[Layout]) -> Layout:
    """A tensor beside another one is cut where that is, counted from behind, if it is as long there."""
    layout, spec, out = ins[0], signature.inputs[0], signature.outputs[0]
    if layout.cut is None:
        return layout
    dim = layout.cut.dim - len(spec.shape) + len(out.shape)
    if dim < 0 or out.shape[dim] != spec.shape[layout.cut.dim]:
        raise Unfollowed("it makes a tensor of another shape beside one that is cut")
    return Layout(layout.cut._replace(dim=dim))


@rule("_grouped_mm")
def follow_experts(signature: Signature, ins: Sequence[Layout]) -> Layout:
    """Rows in groups, each times the matrix of its expert: [tokens, k] x [experts, k, n], or for the gradient of that
    [m, tokens] x [tokens, n]."""
    left, right = signature.inputs[:2]
    one, two = ins[0].cut, ins[1].cut
    if ins[0].is_partial or ins[1].is_partial:
        return PARTIAL
    if any(layout.cut for layout in ins[2:]):
        raise Unfollowed("its groups are cut")
    rows, columns, out = len(left.shape) - 1, len(right.shape) - 2, len(signature.outputs[0].shape)
    if one and one.dim == rows and two and two.dim == columns and have_same_share(one, two):
        return PARTIAL
    if two and not one and two.dim == columns + 1:
        return Layout(two._replace(dim=out - 1))
    if one and not two and one.dim == rows - 1 and len(right.shape) == 2:
        return Layout(one._replace(dim=out - 2))
    raise Unfollowed("its operands are cut in different ways")
