"""How a cut goes through the ops that show a tensor in another shape, or put several together."""

from __future__ import annotations

from collections.abc import Sequence

from archprof.facts.records import Signature
from archprof.predicting.sharding.layout import PARTIAL, WHOLE, Cut, Layout, carry_over, have_same_share, lie_alike
from archprof.predicting.sharding.rules import Indivisible, Unfollowed, rule


@rule("view _unsafe_view reshape _reshape_alias flatten unflatten squeeze unsqueeze")
def follow_view(signature: Signature, ins: Sequence[Layout]) -> Layout:
    """Heads that are flattened into features, or taken apart again."""
    (spec, *_), (out, *_), layout = signature.inputs, signature.outputs, ins[0]
    if layout.cut is None:
        return layout
    cut = carry_over(layout.cut, spec.shape, out.shape)
    if cut is None:
        raise Indivisible(
            f"{layout.cut.part} of {layout.cut.whole} along dimension {layout.cut.dim} of {spec.shape} are no whole "
            f"number of rows of {out.shape}"
        )
    return Layout(cut)


@rule("t transpose permute movedim swapaxes")
def follow_order(signature: Signature, ins: Sequence[Layout]) -> Layout:
    """Another order of the dimensions."""
    if ins[0].cut is None:
        return ins[0]
    rank, args = len(signature.inputs[0].shape), signature.args[1:]
    order = list(range(rank))
    if len(args) == 2:
        order[args[0]], order[args[1]] = order[args[1]], order[args[0]]
    elif args:
        order = [dim % rank for dim in args[0]]
    else:
        order.reverse()
    return Layout(ins[0].cut._replace(dim=order.index(ins[0].cut.dim)))


@rule("expand broadcast_to expand_as")
def follow_expand(signature: Signature, ins: Sequence[Layout]) -> Layout:
    """Dimensions more in front, or one repeated."""
    if ins[0].cut is None:
        return ins[0]
    more = len(signature.outputs[0].shape) - len(signature.inputs[0].shape)
    return Layout(ins[0].cut._replace(dim=ins[0].cut.dim + more))


@rule("slice narrow split split_with_sizes chunk slice_backward as_strided_scatter diagonal constant_pad_nd")
def follow_slice(signature: Signature, ins: Sequence[Layout]) -> Sequence[Layout]:
    """A piece along another dimension, or whole ones of the weights that are packed in one."""
    layout, spec = ins[0], signature.inputs[0]
    if layout.cut is None:
        return [layout] * len(signature.outputs)
    return [Layout(_slice_cut(layout.cut, spec.shape, out.shape)) for out in signature.outputs]


def _slice_cut(cut: Cut, shape: tuple[int, ...], new: tuple[int, ...]) -> Cut:
    if len(shape) == len(new) and shape[cut.dim] == new[cut.dim]:
        return cut
    block = cut.whole * cut.inner
    if len(shape) != len(new) or new[cut.dim] % block or not new[cut.dim]:
        raise Unfollowed(f"it takes {new} of {shape}, of which dimension {cut.dim} is cut")
    return cut._replace(outer=new[cut.dim] // block)


@rule("select unbind select_backward")
def follow_select(signature: Signature, ins: Sequence[Layout]) -> Sequence[Layout]:
    """A dimension less, or one more in a backward."""
    cut, spec, out = ins[0].cut, signature.inputs[0], signature.outputs[0]
    if cut is None:
        return [ins[0]] * len(signature.outputs)
    numbers = [one for one in signature.args[1:] if isinstance(one, int)]
    gone = (numbers[0] if numbers else 0) % max(len(spec.shape), len(out.shape))
    if len(out.shape) > len(spec.shape):
        return [Layout(cut._replace(dim=cut.dim + (gone <= cut.dim)))]
    if gone == cut.dim:
        raise Unfollowed("it takes one of what is cut")
    return [Layout(cut._replace(dim=cut.dim - (gone < cut.dim)))] * len(signature.outputs)


@rule("cat")
def follow_cat(signature: Signature, ins: Sequence[Layout]) -> Layout:
    """Parts side by side, along another dimension or as weights packed in one."""
    pairs = [(spec, one.cut) for spec, one in zip(signature.inputs, ins, strict=True) if spec.shape != (0,)]
    cuts = [cut for _, cut in pairs if cut]
    if not cuts:
        return PARTIAL if any(one.is_partial for one in ins) else WHOLE
    dim = signature.args[1] % len(signature.outputs[0].shape) if len(signature.args) > 1 else 0
    for spec, cut in pairs:
        if cut is None and spec.strides is not None and spec.strides[cuts[0].dim] == 0:
            continue  # the same all along the cut
        if cut is None or not _fit_together(cut, cuts[0], dim):
            raise Unfollowed("what it puts together is cut in different ways")
    return Layout(cuts[0] if dim != cuts[0].dim else cuts[0]._replace(outer=sum(cut.outer for cut in cuts)))


def _fit_together(one: Cut, two: Cut, dim: int) -> bool:
    """Whether cut tensors can stand side by side along a dimension: along the cut, as weights packed in one."""
    if dim == one.dim:
        one, two = one._replace(outer=1), two._replace(outer=1)
    return one.dim == two.dim and have_same_share(one, two)


@rule("view_as_complex view_as_real")
def follow_complex(signature: Signature, ins: Sequence[Layout]) -> Layout:
    """Two numbers along the last dimension are one, or one is two."""
    if ins[0].cut is not None and ins[0].cut.dim >= len(signature.inputs[0].shape) - 1:
        raise Unfollowed("it is along the cut")
    return ins[0]


@rule("stack")
def follow_stack(signature: Signature, ins: Sequence[Layout]) -> Layout:
    """A dimension more."""
    cut = ins[0].cut
    if cut is None and all(one == ins[0] for one in ins):
        return ins[0]
    if cut is None or not all(lie_alike(one, ins[0]) for one in ins):
        raise Unfollowed("what it puts together is cut in different ways")
    dim = (signature.args[1] if len(signature.args) > 1 else 0) % len(signature.outputs[0].shape)
    return Layout(cut._replace(dim=cut.dim + (dim <= cut.dim)))
