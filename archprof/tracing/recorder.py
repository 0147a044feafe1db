"""Writes down ops, tensors and storages while a pass runs.

A tensor is known again by an attribute on the tensor object, which torch keeps alive with the
tensor itself.

What is noted of tensors and storages stands in lists side by side. A small object for each would be walked by
every collection of the garbage collector, and a deep model has tens of thousands of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

import torch

from archprof.facts.ops import OpCounts, OpLabel
from archprof.facts.records import Op, Phase, Role, Signature, Tensor, TensorSpec
from archprof.torchside.private import DisableTorchFunction, find_address, next_sequence_number
from archprof.torchside.tensors import LAZY_KINDS, storage_of
from archprof.tracing.kept import SavedTensor, add_kept, detach_unseen, new_op
from archprof.tracing.shared_specs import SharedSpec, make_shared_spec, share_specs
from archprof.tracing.storages import NO_STORAGE, StorageBook, StorageLife

_recorder_numbers = count()

# What `_make` of each does, without a function of Python in between: they are made by the ten thousand.
new_signature: Callable[[Iterable[Any]], Signature] = partial(tuple.__new__, Signature)
new_tensor: Callable[[Iterable[Any]], Tensor] = partial(tuple.__new__, Tensor)


class Recorder(StorageBook):
    """The facts of one pass, growing. `on` is False outside the pass: nothing is written then."""

    def __init__(self) -> None:
        super().__init__()
        self.phase: Phase = "forward"
        self.last_node_number = -1  # of autograd, when the last op was recorded
        self.specs = share_specs()
        self._signatures: dict[Any, Signature] = {}
        self._recounted: dict[tuple[int, int], Signature] = {}
        self._tensor_specs: list[SharedSpec] = []  # of each tensor
        self._tensor_storages: list[int] = []  # of each tensor: the index of its storage
        self._index_attribute = f"_archprof_{next(_recorder_numbers)}"
        self._saved_tensors: list[SavedTensor] = []
        self.made_lives: list[StorageLife] = []  # of what was alive as the pass was over

    def find_specs(self, tensors: list[torch.Tensor]) -> tuple[TensorSpec, ...]:
        """The layout of each tensor, most of them known already."""
        if len(tensors) == 1:
            return self._find_spec_unwatched(tensors[0]).as_tuple
        return tuple([self._find_spec_unwatched(tensor).tensor_spec for tensor in tensors])

    def _find_spec_unwatched(self, tensor: torch.Tensor) -> SharedSpec:
        known: int | None = getattr(tensor, self._index_attribute, None)
        if known is not None:
            return self._tensor_specs[known]
        with DisableTorchFunction():  # under a function mode each .shape would be a call to it
            return self.find_spec(tensor)

    def find_spec(self, tensor: torch.Tensor) -> SharedSpec:
        """What is known of a layout; one record for all tensors that are alike."""
        try:
            strides: tuple[int, ...] | None = tensor.stride()
        except RuntimeError:  # sparse, or nested
            strides = None
        key = (tensor.size(), strides, tensor.dtype)  # a lazy parameter refuses `.shape`
        found = self.specs.get(key)
        if found is None:
            found = self.specs[key] = make_shared_spec(tensor, *key)
        return found

    def close(self) -> None:
        """The pass is over: nothing more is written, and nothing is kept alive for it."""
        self.recording = False
        self.made_lives = self.list_made()
        self._kept_alive.clear()
        self.constants.close()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is written down inside."""
        was, self.recording = self.recording, False
        try:
            yield
        finally:
            self.recording = was

    def add_tensor(self, tensor: torch.Tensor, role: Role, born: int | None = None) -> int:
        """Give a tensor its index, and its storage one if it is new; a sparse one holds tensors of their own."""
        spec, storage = self.find_spec(tensor), storage_of(tensor)
        place = None if storage is None else self._index_by_address.get(find_address(storage))
        if place is None:
            nbytes = storage.nbytes() if storage is not None else spec.nbytes * (tensor.layout is torch.strided)
            place = self._add_storage(storage, (nbytes, spec.tensor_spec.dtype), role, born)
        if role != "constant" and type(tensor) not in LAZY_KINDS:
            return self._index_in_storage(tensor, spec, place)
        # A lazy parameter will be another tensor under the same id.
        self._tensor_specs.append(spec)
        self._tensor_storages.append(place)
        index = len(self._tensor_specs) - 1
        if role == "constant":
            self.constants.add(tensor, index, place, len(self.recorded_ops))
        return index

    def _index_in_storage(self, tensor: torch.Tensor, spec: SharedSpec, place: int) -> int:
        """Give the next index to a tensor in a known storage."""
        of = self._tensor_specs
        index = len(of)
        of.append(spec)
        self._tensor_storages.append(place)
        setattr(tensor, self._index_attribute, index)
        return index

    def add_new_storage(self, tensor: torch.Tensor, spec: SharedSpec, size: tuple[int, str], further: bool) -> int:
        """Give the next indices to a result and its storage, which an op has just made; `further` as in `op`."""
        place = self._add_storage(tensor.untyped_storage(), size, self._result_role(), len(self.recorded_ops))
        if further:
            self._mark_auxiliary(place)
        return self._index_in_storage(tensor, spec, place)

    def add_view(self, tensor: torch.Tensor, spec: SharedSpec) -> int:
        """Give the next index to a result that lies in the storage of another tensor."""
        place = self._index_by_address.get(find_address(tensor.untyped_storage()))
        if place is None:
            return self.add_tensor(tensor, self._result_role(), len(self.recorded_ops))
        return self._index_in_storage(tensor, spec, place)

    def add_moved(self, moved: torch.Tensor, source: torch.Tensor) -> None:
        """`moved` is `source` where it goes on without values: one tensor in one storage, which lives as long."""
        index, storage = self._index_input(source), moved.untyped_storage()
        setattr(moved, self._index_attribute, index)
        storage.archprof_source = source.untyped_storage()  # type: ignore[attr-defined]
        self._watch_storage(storage, self._tensor_storages[index], NO_STORAGE)

    def index_inputs(self, inputs: list[torch.Tensor]) -> tuple[int, ...]:
        """The indices of the tensors that an op reads."""
        mark = self._index_attribute
        marks: list[Any] = [getattr(tensor, mark, None) for tensor in inputs]
        return tuple(marks) if None not in marks else tuple(map(self._index_input, inputs))

    def _index_input(self, tensor: torch.Tensor) -> int:
        """The index of a tensor that an op reads; one never seen before came from outside the model."""
        known: int | None = getattr(tensor, self._index_attribute, None)
        if known is not None:
            return known
        known = self.constants.find(tensor, self._find_storage(tensor))
        return self.add_tensor(tensor, "constant") if known is None else known

    def add_op(
        self, label: OpLabel, cost: OpCounts, call: int, inputs: list[torch.Tensor], outputs: list[torch.Tensor]
    ) -> tuple[Signature, bool]:
        """Write down one op; its signature, and whether it moves data, as a view does not.

        The first output in a new storage is its result; further ones are auxiliary until something reads them.
        """
        read, first = self.index_inputs(inputs), len(self._born)
        written = tuple(map(self.index_result, outputs))
        made = len(self._born) - first
        for place in range(first + 1, first + made):
            self._mark_auxiliary(place)
        macs, flops, status, window, gathers = cost
        moves = bool(made) or status != "zero"
        into, out = self.count_moved_bytes(read, written, gathers) if moves else (0, 0)
        spec_of = self._tensor_specs.__getitem__
        came, left = list(map(spec_of, read)), list(map(spec_of, written))
        key = (label, *map(id, came), macs, *map(id, left), into)  # equal layouts are one object
        signature = self._signatures.get(key)
        if signature is None:
            layouts = tuple([spec.tensor_spec for spec in came]), tuple([spec.tensor_spec for spec in left])
            costs = (macs, flops, into, out, status, window, None, None)
            signature = self._signatures[key] = new_signature((*label, *layouts, *costs))
        self.append_op(signature, call, read, written, moves)
        return signature, moves

    def index_result(self, tensor: torch.Tensor) -> int:
        """The index of a tensor that an op returns."""
        known: int | None = getattr(tensor, self._index_attribute, None)
        if known is None and self.constants:
            constant = self.constants.find(tensor, self._find_storage(tensor))
            if constant is not None:
                return constant
        if known is None or self._tensor_specs[known] is not self.find_spec(tensor):
            # new, or changed in place, and of another shape than it was
            return self.add_tensor(tensor, self._result_role(), len(self.recorded_ops))
        return known

    def _result_role(self) -> Role:
        return "activation" if self.phase == "forward" else "temporary"

    def _mark_auxiliary(self, place: int) -> None:
        if self.phase == "forward":
            self._roles[place] = "auxiliary"
            self._auxiliary.add(place)

    def append_op(
        self, signature: Signature, call: int, read: tuple[int, ...], written: tuple[int, ...], moves: bool
    ) -> None:
        """Write down one op of which all is known."""
        if moves and self._auxiliary:  # a view reads no auxiliary yet
            self._mark_used(read)
        self.recorded_ops.append(new_op((signature, call, self.phase, read, written)))

    def count_moved_bytes(self, read: tuple[int, ...], written: tuple[int, ...], gathers: bool) -> tuple[int, int]:
        """Bytes that an op reads and writes, of distinct tensors; `gathers` as in `OpCounts`."""
        of = self._tensor_specs
        out = sum([of[index].nbytes for index in written])
        if gathers:
            return out + sum([of[index].nbytes for index in read[1:]]), out
        return sum([of[index].nbytes for index in set(read)]), out

    def recount(
        self, signature: Signature, read: tuple[int, ...], written: tuple[int, ...], gathers: bool
    ) -> Signature:
        """The signature of an op whose inputs are the same tensors more or less often than when it was learnt."""
        into, out = self.count_moved_bytes(read, written, gathers)
        key = (id(signature), into)
        found = self._recounted.get(key)
        if found is None:
            found = self._recounted[key] = signature._replace(bytes_read=into, bytes_written=out)
        return found

    def _mark_used(self, read: tuple[int, ...]) -> None:
        """An auxiliary result that a later op of the forward reads is an activation like any other."""
        if self.phase == "forward":
            for index in read:
                place = self._tensor_storages[index]
                if place in self._auxiliary:
                    self._auxiliary.discard(place)
                    self._roles[place] = "activation"

    def note_returned(self, tensors: Iterable[torch.Tensor]) -> None:
        """A module gave these to its caller: none of them is auxiliary."""
        if self._auxiliary:
            self._mark_used(tuple(map(self._index_input, tensors)))

    def note_saved(self, tensor: torch.Tensor) -> torch.Tensor:
        """Autograd keeps this tensor for the backward pass (a pack hook)."""
        index = self._find_storage(tensor)
        if index is not None:
            self._saved.add(index)
        known: int | None = getattr(tensor, self._index_attribute, None)
        if known is None:
            return tensor
        of_next = next_sequence_number() - 1 > self.last_node_number
        self._saved_tensors.append(SavedTensor(len(self.recorded_ops), of_next, known))
        return tensor if of_next else detach_unseen(tensor, self._index_attribute)

    def find_loose_parameters(self) -> list[tuple[torch.Tensor, int]]:
        """Those that no module has and that were there before, each with the row of the first op that read it."""
        found = self.constants.parameters
        wanted = {index: tensor for tensor, index in found if self._born[self._tensor_storages[index]] is None}
        rows: dict[int, int] = {}
        for op in self.recorded_ops if wanted else ():
            for index in op.inputs:
                if index in wanted:
                    rows.setdefault(index, op.call)
        return [(wanted[index], row) for index, row in rows.items()]

    def find_place(self, tensor: torch.Tensor | int) -> tuple[SharedSpec, int | None]:
        """The layout of a tensor, or of that index, and the index of its storage; `None` where it was never seen."""
        if isinstance(tensor, int):
            return self._tensor_specs[tensor], self._tensor_storages[tensor]
        known: int | None = getattr(tensor, self._index_attribute, None)
        if known is None:
            return self.find_spec(tensor), self._find_storage(tensor)
        return self._tensor_specs[known], self._tensor_storages[known]

    def build_ops(self, *, watched: bool) -> tuple[Op, ...]:
        """What was written down; `watched`: it was seen what autograd keeps, which is then part of each signature."""
        return add_kept(self.recorded_ops, self._saved_tensors) if watched else tuple(self.recorded_ops)

    def build_tensors(self) -> tuple[Tensor, ...]:
        """Every tensor, in the order in which they were first seen."""
        specs = [spec.tensor_spec for spec in self._tensor_specs]
        return tuple(map(new_tensor, zip(specs, self._tensor_storages, strict=True)))
