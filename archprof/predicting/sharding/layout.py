"""How a tensor lies over the ranks of one axis of the mesh: whole on each, cut along a dimension, or to be summed."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from archprof.facts.records import TensorSpec


class Cut(NamedTuple):
    """One dimension of a tensor that is dealt over ranks: outer x whole x inner, of which the rank has `part`.

    Heads that were flattened into features are cut as `whole` heads of `inner` features; two weights packed into one
    are `outer` = 2 weights, each cut.
    """

    dim: int
    outer: int
    whole: int
    part: int
    inner: int = 1

    @property
    def size(self) -> int:
        """The local length of the dimension."""
        return self.outer * self.part * self.inner


class Layout(NamedTuple):
    """How a tensor lies over the ranks.

    Attributes:
        cut: along which dimension, and how; `None`: each rank has all of it.
        is_partial: each rank has its share of a sum.
        is_lost: an op before it could not be followed, so that nobody knows.
    """

    cut: Cut | None = None
    is_partial: bool = False
    is_lost: bool = False


WHOLE = Layout()
PARTIAL = Layout(is_partial=True)
LOST = Layout(is_lost=True)


class Ranks(NamedTuple):
    """The ranks along one axis, and which of them this is."""

    number: int
    rank: int

    def chunk(self, size: int) -> int:
        """This rank's share of a length, as `torch.chunk` deals it: the last ranks have less, or none."""
        most = self.chunk_most(size)
        return max(0, min(size, most * (self.rank + 1)) - most * self.rank)

    def chunk_most(self, size: int) -> int:
        """The largest share."""
        return -(-size // self.number)

    def cut(self, shape: tuple[int, ...], dim: int, outer: int = 1) -> Layout:
        """A tensor of that shape, cut along a dimension that may be counted from behind."""
        dim %= len(shape)
        whole = shape[dim] // outer
        return Layout(Cut(dim, outer, whole, self.chunk(whole)))


def localize(spec: TensorSpec, layout: Layout) -> TensorSpec:
    """The spec of what the rank has."""
    cut = layout.cut
    if cut is None or spec.shape[cut.dim] == cut.size:
        return spec
    shape = (*spec.shape[: cut.dim], cut.size, *spec.shape[cut.dim + 1 :])
    return spec._replace(shape=shape, strides=spec.strides and _localize_strides(spec, shape, cut))


def _localize_strides(spec: TensorSpec, shape: tuple[int, ...], cut: Cut) -> tuple[int, ...] | None:
    """Whatever lies outside the dimension is stepped over in smaller steps."""
    assert spec.strides is not None
    step, count = spec.strides[cut.dim], cut.outer * cut.whole * cut.inner
    strides = tuple(
        [one * cut.size // count if step and one > step and one >= step * cut.whole else one for one in spec.strides]
    )
    return None if strides == find_plain_strides(shape) else strides


def find_plain_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a tensor that lies row by row."""
    return tuple([max(1, prod(shape[at + 1 :])) for at in range(len(shape))])


def is_plain(spec: TensorSpec) -> bool:
    """Whether it lies row by row, wherever a dimension has more than one index."""
    if spec.strides is None or 0 in spec.shape:
        return True
    plain = find_plain_strides(spec.shape)
    return all(size == 1 or one == two for size, one, two in zip(spec.shape, spec.strides, plain, strict=True))


def carry_over(cut: Cut, shape: tuple[int, ...], new: tuple[int, ...]) -> Cut | None:
    """The cut after the tensor is seen in another shape; `None` where a part is no whole number of new rows."""
    left, right = prod(shape[: cut.dim]) * cut.outer, cut.inner * prod(shape[cut.dim + 1 :])
    before = 1
    for dim, size in enumerate(new):
        if size == 1 or left % before:
            before *= size
            continue
        outer, behind = left // before, prod(new[dim + 1 :])
        if size % outer == 0 and size > outer:
            return _carry_into(cut, dim, size // outer, outer, right, behind)
        before *= size
    return None


def _carry_into(cut: Cut, dim: int, rows: int, outer: int, right: int, behind: int) -> Cut | None:
    """The cut in a dimension of `outer` x `rows`, each row of `behind` elements."""
    if right % behind == 0 and rows * behind == cut.whole * right:
        return Cut(dim, outer, cut.whole, cut.part, right // behind)
    if behind % right == 0 and rows * behind == cut.whole * right and cut.part % (behind // right) == 0:
        return Cut(dim, outer, rows, cut.part // (behind // right))
    return None


def have_same_share(one: Cut, two: Cut) -> bool:
    """Whether the parts are of the same features, however these are grouped into heads."""
    return one.outer == two.outer and one.whole * one.inner == two.whole * two.inner and one.size == two.size


def lie_alike(one: Layout, two: Layout) -> bool:
    """Whether nothing has to be sent from one layout to the other."""
    if one.cut is None or two.cut is None:
        return one == two
    return one.cut.dim == two.cut.dim and have_same_share(one.cut, two.cut)
