"""Tokens on their way to the ranks of their experts and back, op by op as transformers does it.

Each rank sends one row for each expert that a token has chosen. The results come back to where the token is, are put
in order, weighted, and summed; in the backward pass the gradients go the same ways.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from archprof.facts.records import Op, Role, Signature, Storage, TensorSpec
from archprof.predicting.sharding.edit import Place, StepEditor
from archprof.predicting.sharding.exchange import Exchange, Exchanged, Spot
from archprof.predicting.sharding.layout import Layout, Ranks
from archprof.predicting.sharding.mesh import Axis
from archprof.predicting.sharding.ranks import Collective

SEND = "_c10d_functional.all_to_all_single.default"


class Routing(NamedTuple):
    """What a module of experts is given.

    Attributes:
        tokens: the rows, and their width.
        weights: of the experts that each row has chosen.
        experts: of all ranks.
        kept: storages that the backward needs, of each of its calls.
    """

    tokens: TensorSpec
    weights: TensorSpec
    experts: int
    kept: list[int]

    @property
    def rows(self) -> TensorSpec:
        """One for each choice."""
        return self.tokens._replace(shape=(prod(self.weights.shape), self.tokens.shape[-1]), strides=None)

    @property
    def weighted(self) -> TensorSpec:
        """Rows times weights, in the wider dtype of the two."""
        dtype = max((self.tokens, self.weights), key=lambda spec: spec.nbytes / max(spec.numel, 1)).dtype
        return TensorSpec((*self.weights.shape, self.tokens.shape[-1]), dtype)


class TokenExchange(Exchange):
    """One way of the tokens of one call."""

    def __init__(self, editor: StepEditor, ranks: Ranks, axis: Axis, spot: Spot, tensor: int, routing: Routing) -> None:
        super().__init__(editor, ranks, axis, spot, tensor)
        self.routing = routing

    def change(
        self, full: TensorSpec, old: Layout, new: Layout, *, in_place: bool = False, role: Role | None = None
    ) -> Exchanged:
        """To the experts where `new` is cut, else back."""
        if self.spot.phase == "forward":
            self._dispatch() if new.cut else self._combine()
        elif new.cut:
            self._split_gradient()
        else:
            self._return_gradient()
        at = self.made[-1]
        self.editor.storages[at] = self.editor.storages[at]._replace(role=self.source.role)
        return Exchanged(self.tensor, self.first or self.last, self.last)

    def _dispatch(self) -> None:
        """How many rows come from where, and the rows."""
        rows = self.routing.rows
        self._put("aten.index.Tensor", rows)
        self._exchange_counts()
        self._collect("all-to-all", SEND, rows, rows.nbytes)

    def _exchange_counts(self) -> None:
        spec = TensorSpec((self.routing.experts,), "int64")
        made = Storage(spec.nbytes, spec.dtype, "communication", None, None)
        tensors = [self.editor.add_tensor(spec, self.editor.add_storage(made, None, None)) for _ in range(2)]
        collective = Collective("all-to-all", self.axis, self.ranks.number, spec.nbytes, self.spot.position)
        signature = Signature(
            "c10d.alltoall_base_.default", inputs=(spec, spec), outputs=(spec,), status="zero",
            bytes_read=spec.nbytes, bytes_written=spec.nbytes,
        )  # fmt: skip
        op = Op(signature, self.spot.call, self.spot.phase, tuple(tensors), (tensors[0],))
        place = self.editor.put(op, self.spot.position, behind=self.spot.behind, collective=collective)
        for tensor in tensors:
            self.editor.move_birth(self.editor.tensors[tensor].storage, place)
            self.editor.move_death(self.editor.tensors[tensor].storage, place)

    def _combine(self) -> None:
        """The rows in their order, weighted and summed; they are kept for the gradient of the weights."""
        rows, weighted = self.routing.rows, self.routing.weighted
        self._collect("all-to-all", SEND, rows, rows.nbytes)
        self._put("aten.index_put_.default", rows)
        self.routing.kept.append(self.made[-1])
        ordered = self.made[-1]
        self._put("aten.mul.Tensor", weighted)
        self._put("aten.sum.dim_IntList", self.routing.tokens._replace(dtype=weighted.dtype, strides=None))
        if weighted.dtype != self.routing.tokens.dtype:
            self._put("aten._to_copy.default", self.routing.tokens._replace(strides=None))
        self.editor.move_death(ordered, None)
        self.editor.storages[ordered] = self.editor.storages[ordered]._replace(role="activation", saved=True)

    def _split_gradient(self) -> None:
        """The gradients of weights and rows."""
        rows, weighted = self.routing.rows, self.routing.weighted
        if weighted.dtype != self.routing.tokens.dtype:
            self._put("aten._to_copy.default", self.routing.tokens._replace(dtype=weighted.dtype, strides=None))
        self._put("aten.mul.Tensor", weighted)
        beside = self._add_beside(weighted)
        if weighted.dtype != rows.dtype:
            self._put("aten._to_copy.default", weighted._replace(dtype=rows.dtype))
        self._end(beside)
        self._put("aten.index.Tensor", rows)
        if self.routing.kept:
            self._end(self.routing.kept.pop())
        self._collect("all-to-all", SEND, rows, rows.nbytes)

    def _return_gradient(self) -> None:
        """Rows of one token are added up again."""
        rows = self.routing.rows
        self._collect("all-to-all", SEND, rows, rows.nbytes)
        tokens = self.routing.tokens._replace(strides=None)
        self._put("aten.index_put.default", tokens)
        self._end(self._add_beside(tokens))

    def _add_beside(self, spec: TensorSpec) -> int:
        """A second storage that the last op makes."""
        return self.editor.add_storage(Storage(spec.nbytes, spec.dtype, "temporary", None, None), self.last, None)

    def _end(self, storage: int, place: Place | None = None) -> None:
        self.editor.move_death(storage, place or self.last)
