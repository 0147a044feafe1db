"""Bringing a tensor from one layout to another, op by op as torch's DTensor does it.

Shares are padded to equal length before they are sent, and what is gathered or scattered along another dimension than
the first is copied into order: that is memory, for as long as it takes.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from archprof.facts.records import Op, Phase, Role, Signature, Storage, TensorSpec
from archprof.predicting.sharding.edit import Place, StepEditor
from archprof.predicting.sharding.layout import Cut, Layout, Ranks, is_plain, localize
from archprof.predicting.sharding.mesh import Axis
from archprof.predicting.sharding.ranks import Collective, CollectiveKind


class Spot(NamedTuple):
    """Where ops are put in: before the old op at a position, or behind it; whose they are."""

    position: int
    behind: bool
    call: int
    phase: Phase


class Exchanged(NamedTuple):
    """The tensor in its new layout, and the places of the first and the last op that brought it there."""

    tensor: int
    first: Place
    last: Place


class Exchange:
    """One change of layout: the tensor on its way, and the ops put into a step so far."""

    def __init__(self, editor: StepEditor, ranks: Ranks, axis: Axis, spot: Spot, tensor: int) -> None:
        self.editor, self.ranks, self.axis, self.spot, self.tensor = editor, ranks, axis, spot, tensor
        self.source = editor.storages[editor.tensors[tensor].storage]
        self.made: list[int] = []  # storages, in order
        self.first: Place | None = None
        self.last: Place = (spot.position, 0, 0)

    def change(
        self, full: TensorSpec, old: Layout, new: Layout, *, in_place: bool = False, role: Role | None = None
    ) -> Exchanged:
        """The tensor, whose spec on one device is `full`, in another layout; of another role, where one is given."""
        if old.is_partial:
            self._scatter(new.cut) if new.cut else self._reduce(in_place)
        elif old.cut and new.cut:
            self._deal(localize(full, new))
        elif old.cut:
            self._gather(old.cut)
        elif new.cut:
            self._put("aten.clone.default", _plain(localize(full, new)))
        if self.made:
            at = self.made[-1]
            self.editor.storages[at] = self.editor.storages[at]._replace(role=role or self.source.role)
        return Exchanged(self.tensor, self.first or self.last, self.last)

    @property
    def spec(self) -> TensorSpec:
        return self.editor.tensors[self.tensor].spec

    def _reduce(self, in_place: bool) -> None:
        """A sum over ranks, on each."""
        if in_place:
            self._lay_out()
            self._collect("all-reduce", "c10d.allreduce_.default", None, self.spec.nbytes)
        else:
            self._collect("all-reduce", "_c10d_functional.all_reduce.default", _plain(self.spec), self.spec.nbytes)

    def _gather(self, cut: Cut) -> None:
        """All shares side by side."""
        count, exact = self.ranks.number, cut.outer * cut.whole * cut.inner
        most = cut.outer * self.ranks.chunk_most(cut.whole) * cut.inner
        if cut.size < most:
            self._put("aten.constant_pad_nd.default", _resize(self.spec, cut.dim, most))
        self._lay_out()
        padded, ordered = self.spec, _resize(self.spec, cut.dim, most * count)
        stacked = _resize(padded, 0, padded.shape[0] * count)
        self._collect("all-gather", "_c10d_functional.all_gather_into_tensor.default", stacked, stacked.nbytes)
        if prod(padded.shape[: cut.dim]) == 1:
            self._see(ordered)
        else:
            self._put("aten.cat.default", ordered)
        if exact < most * count:
            self._narrow(cut.dim, exact, copied=True)

    def _scatter(self, cut: Cut) -> None:
        """A share of a sum."""
        count, exact = self.ranks.number, cut.outer * cut.whole * cut.inner
        most = self.ranks.chunk_most(exact)
        chunks = None
        if exact < most * count:
            self._put("aten.cat.default", _resize(self.spec, cut.dim, most * count))
            chunks = self._add_chunks(cut.dim, most, exact)
        self._lay_out()
        if cut.dim:
            self._put("aten.cat.default", _plain(self.spec))
        share = _resize(self.spec, cut.dim, most)
        name = "_c10d_functional.reduce_scatter_tensor.default"
        self._collect("reduce-scatter", name, share, self.spec.nbytes)
        if chunks is not None:
            self.editor.move_death(chunks, self.last)
        if cut.size < most:
            self._narrow(cut.dim, cut.size, copied=False)

    def _add_chunks(self, dim: int, most: int, exact: int) -> int:
        """The shares, padded and each for itself, before they are put together; along the first dimension all but the
        padded ones are views."""
        spec = self.spec if dim else _resize(self.spec, 0, most * (self.ranks.number - exact // most))
        made = Storage(spec.nbytes, spec.dtype, "communication", None, None)
        return self.editor.add_storage(made, self.last, None)

    def _deal(self, local: TensorSpec) -> None:
        """From a cut along one dimension to one along another, to each rank its part."""
        self._lay_out()
        self._collect("all-to-all", "_dtensor.shard_dim_alltoall.default", _plain(local), self.spec.nbytes)

    def _lay_out(self) -> None:
        """Row by row, as what is sent has to be."""
        if not is_plain(self.spec):
            self._put("aten.clone.default", _plain(self.spec))

    def _narrow(self, dim: int, size: int, *, copied: bool) -> None:
        """Without the padding."""
        spec = _resize(self.spec, dim, size)
        if copied and prod(spec.shape[:dim]) != 1:
            self._put("aten.clone.default", spec)
        else:
            self._see(spec)

    def _see(self, spec: TensorSpec) -> None:
        """Another view of the same."""
        self.tensor = self.editor.add_tensor(spec, self.editor.tensors[self.tensor].storage)

    def _put(self, name: str, spec: TensorSpec) -> None:
        self._run(name, spec, None)

    def _collect(self, kind: CollectiveKind, name: str, spec: TensorSpec | None, nbytes: int) -> None:
        self._run(name, spec, Collective(kind, self.axis, self.ranks.number, nbytes, self.spot.position))

    def _run(self, name: str, spec: TensorSpec | None, collective: Collective | None) -> None:
        """An op on the tensor as it is; what it makes takes its place, without a spec it stays."""
        old = self.tensor
        if spec is not None:
            made = Storage(spec.nbytes, spec.dtype, "communication", None, None, self.source.saved)
            self.tensor = self.editor.add_tensor(spec, self.editor.add_storage(made, None, None))
        specs = [self.editor.tensors[at].spec for at in (old, self.tensor)]
        signature = Signature(
            name, inputs=(specs[0],), outputs=(specs[1],), status="zero",
            bytes_read=specs[0].nbytes, bytes_written=specs[1].nbytes,
        )  # fmt: skip
        op = Op(signature, self.spot.call, self.spot.phase, (old,), (self.tensor,))
        self.last = self.editor.put(op, self.spot.position, behind=self.spot.behind, collective=collective)
        self.first = self.first or self.last
        if spec is not None:
            if self.made:
                self.editor.move_death(self.made[-1], self.last)
            self.made.append(self.editor.tensors[self.tensor].storage)
            self.editor.move_birth(self.made[-1], self.last)


def _plain(spec: TensorSpec) -> TensorSpec:
    return spec._replace(strides=None)


def _resize(spec: TensorSpec, dim: int, size: int) -> TensorSpec:
    """Another length of one dimension, laid out row by row."""
    return spec._replace(shape=(*spec.shape[:dim], size, *spec.shape[dim + 1 :]), strides=None)
