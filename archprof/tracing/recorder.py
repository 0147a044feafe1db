"""Writes down ops, tensors and storages while a pass runs.

A tensor is known again by an attribute on the tensor object, which torch keeps alive with the
tensor itself, and a storage by its address, until a weak reference tells of its death: the
interpreter frees the stand-ins at the same points of the program as it would free real tensors.

What is noted of tensors and storages stands in lists side by side. A small object for each would be walked by
every collection of the garbage collector, and a deep model has tens of thousands of them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any, NamedTuple

import torch

from archprof.errors import ArchprofError
from archprof.facts.records import Op, Phase, Role, Status, Storage, Tensor, TensorSpec, Window
from archprof.torchside.tensors import LAZY, dtype_name, storage_of

GATHERS = frozenset({"aten.embedding", "aten.index", "aten.index_select", "aten.gather", "aten._embedding_bag"})
"""Ops that read only the rows they return of their first input."""

OWNED: frozenset[Role] = frozenset(("parameter", "buffer"))
"""What outlives every pass, so that nobody waits for its end."""

Moved = tuple[int, int] | None
"""Bytes that an op reads and writes; `None` for a view, which moves nothing."""

_marks = count()

# What `_make` of each does, without a function of Python in between: they are made by the ten thousand.
new_op: Callable[[Iterable[Any]], Op] = partial(tuple.__new__, Op)
new_tensor: Callable[[Iterable[Any]], Tensor] = partial(tuple.__new__, Tensor)
new_storage: Callable[[Iterable[Any]], Storage] = partial(tuple.__new__, Storage)


class Spec(NamedTuple):
    """What all tensors of one shape and dtype share."""

    spec: TensorSpec
    nbytes: int
    alone: tuple[TensorSpec]


class Fact(NamedTuple):
    """What ops have in common that do the same to tensors of the same layouts: these fields of their `Op`."""

    name: str
    macs: int | None
    flops: int | None
    status: Status
    window: Window | None = None
    args: tuple[Any, ...] = ()


class _Life(weakref.ref[Any]):
    """A weak reference to a storage that knows where it is written down."""

    __slots__ = ("address", "index")
    address: int
    index: int


class Recorder:
    """The facts of one pass, growing. `on` is False outside the pass: nothing is written then."""

    def __init__(self) -> None:
        self.on = True
        self.phase: Phase = "forward"
        self.events: list[Op] = []  # with the row of the call in the place of the layer
        self._specs: dict[tuple[torch.Size, torch.dtype], Spec] = {}
        self._of: list[Spec] = []  # of each tensor
        self._places: list[int] = []  # of each tensor: the index of its storage
        self._mark = f"_archprof_{next(_marks)}"
        self._foreign: dict[int, tuple[Any, int]] = {}  # constants, by id
        self._addresses: dict[int, int] = {}  # of the storages that are alive: their index, by address
        self._kept: list[Any] = []
        self._sizes: list[tuple[int, str]] = []  # bytes and dtype of each storage
        self._roles: list[Role] = []
        self._born: list[int | None] = []
        self._died: dict[int, int] = {}
        self._saved: set[int] = set()
        self._auxiliary: set[int] = set()  # storages of further results that nobody has read yet

    def specs(self, tensors: list[torch.Tensor]) -> tuple[TensorSpec, ...]:
        """Shape and dtype of each tensor, most of them known already."""
        if len(tensors) == 1:
            return self._spec_now(tensors[0]).alone
        return tuple([self._spec_now(tensor).spec for tensor in tensors])

    def _spec_now(self, tensor: torch.Tensor) -> Spec:
        known: int | None = getattr(tensor, self._mark, None)
        if known is not None:
            return self._of[known]
        with torch._C.DisableTorchFunction():  # under a function mode each .shape would be a call to it
            return self.spec(tensor)

    def spec(self, tensor: torch.Tensor) -> Spec:
        """What is known of a shape and dtype; one record for all tensors that are alike."""
        key = (tensor.size(), tensor.dtype)  # a lazy parameter refuses `.shape`
        found = self._specs.get(key)
        if found is None:
            if tensor.is_nested:
                raise ArchprofError("Nested tensors are not traced: how large they are only their values tell.")
            spec = TensorSpec(tuple(key[0]), dtype_name(tensor.dtype))
            found = self._specs[key] = Spec(spec, spec.nbytes, (spec,))
        return found

    def close(self) -> None:
        """The pass is over: nothing more is written, and nothing is kept alive for it."""
        self.on = False
        self._kept.clear()
        self._foreign.clear()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is written down inside."""
        was, self.on = self.on, False
        try:
            yield
        finally:
            self.on = was

    def add(self, tensor: torch.Tensor, role: Role, born: int | None = None) -> int:
        """Give a tensor its index, and its storage one if it is new."""
        spec, storage = self.spec(tensor), storage_of(tensor)
        place = None if storage is None else self._addresses.get(storage._cdata)
        if place is None:
            nbytes = spec.nbytes if storage is None else storage.nbytes()
            place = self._allocate(storage, (nbytes, spec.spec.dtype), role, born)
        if role != "constant" and type(tensor) not in LAZY:
            return self._lies(tensor, spec, place)
        # A constant may be the user's own: our mark stays off it, and it is kept alive instead.
        # A lazy parameter will be another tensor under the same id.
        self._of.append(spec)
        self._places.append(place)
        index = len(self._of) - 1
        if role == "constant":
            self._foreign[id(tensor)] = (tensor, index)
        return index

    def _lies(self, tensor: torch.Tensor, spec: Spec, place: int) -> int:
        """Give the next index to a tensor in a known storage."""
        of = self._of
        index = len(of)
        of.append(spec)
        self._places.append(place)
        setattr(tensor, self._mark, index)
        return index

    def brings(self, tensor: torch.Tensor, spec: Spec, size: tuple[int, str], further: bool) -> int:
        """Give the next indices to a result and its storage, which an op has just made; `further` as in `op`."""
        place = self._allocate(tensor.untyped_storage(), size, self._result_role(), len(self.events))
        if further:
            self._is_further(place)
        return self._lies(tensor, spec, place)

    def shares(self, tensor: torch.Tensor, spec: Spec) -> int:
        """Give the next index to a result that lies in the storage of another tensor."""
        place = self._addresses.get(tensor.untyped_storage()._cdata)
        if place is None:
            return self.add(tensor, self._result_role(), len(self.events))
        return self._lies(tensor, spec, place)

    def _allocate(
        self, storage: torch.UntypedStorage | None, size: tuple[int, str], role: Role, born: int | None
    ) -> int:
        """Write down a storage that was not there before."""
        place = len(self._born)
        if storage is not None:
            address = storage._cdata
            self._addresses[address] = place
            if role in OWNED:
                self._kept.append(storage)
            else:
                life = _Life(storage, self._dies)
                life.address, life.index = address, place
                self._kept.append(life)
        self._sizes.append(size)
        self._roles.append(role)
        self._born.append(born)
        return place

    def _dies(self, life: _Life) -> None:
        self._addresses.pop(life.address, None)
        if self.on:
            self._died[life.index] = len(self.events) - 1
            self._auxiliary.discard(life.index)

    def read(self, inputs: list[torch.Tensor]) -> tuple[int, ...]:
        """The indices of the tensors that an op reads."""
        mark = self._mark
        marks: list[Any] = [getattr(tensor, mark, None) for tensor in inputs]
        return tuple(marks) if None not in marks else tuple(map(self._index, inputs))

    def _index(self, tensor: torch.Tensor) -> int:
        """The index of a tensor that an op reads; one never seen before came from outside the model."""
        known: int | None = getattr(tensor, self._mark, None)
        if known is not None:
            return known
        if id(tensor) in self._foreign:
            return self._foreign[id(tensor)][1]
        return self.add(tensor, "constant")

    def op(self, fact: Fact, layer: int, inputs: list[torch.Tensor], outputs: list[torch.Tensor]) -> Moved:
        """Write down one op; what it moved.

        The first output in a new storage is its result; further ones are auxiliary until something reads them.
        """
        read, first = self.read(inputs), len(self._born)
        written = tuple(map(self.written, outputs))
        made = len(self._born) - first
        for place in range(first + 1, first + made):
            self._is_further(place)
        moved = self.moved(fact.name, read, written) if made or fact.status != "zero" else None
        self.write(fact, layer, read, written, moved)
        return moved

    def written(self, tensor: torch.Tensor) -> int:
        """The index of a tensor that an op returns."""
        known: int | None = getattr(tensor, self._mark, None)
        if known is None and id(tensor) in self._foreign:
            return self._foreign[id(tensor)][1]
        if known is None or self._of[known] is not self.spec(tensor):  # in place, and of another shape than it was
            return self.add(tensor, self._result_role(), len(self.events))
        return known

    def _result_role(self) -> Role:
        return "activation" if self.phase == "forward" else "temporary"

    def _is_further(self, place: int) -> None:
        if self.phase == "forward":
            self._roles[place] = "auxiliary"
            self._auxiliary.add(place)

    def write(self, fact: Fact, layer: int, read: tuple[int, ...], written: tuple[int, ...], moved: Moved) -> None:
        """Write down one op of which all is known."""
        if moved is not None and self._auxiliary:  # a view reads no auxiliary yet
            self._used(read)
        name, macs, flops, status, window, args = fact
        fields = (name, layer, self.phase, read, written, macs, flops, *(moved or (0, 0)), status, window, args)
        self.events.append(new_op(fields))

    def moved(self, name: str, read: tuple[int, ...], written: tuple[int, ...]) -> tuple[int, int]:
        """Bytes that an op reads and writes, of distinct tensors."""
        of = self._of
        out = sum([of[index].nbytes for index in written])
        if name in GATHERS:
            return out + sum([of[index].nbytes for index in read[1:]]), out
        return sum([of[index].nbytes for index in set(read)]), out

    def _used(self, read: tuple[int, ...]) -> None:
        """An auxiliary result that a later op of the forward reads is an activation like any other."""
        if self.phase == "forward":
            for index in read:
                place = self._places[index]
                if place in self._auxiliary:
                    self._auxiliary.discard(place)
                    self._roles[place] = "activation"

    def returned(self, tensors: Iterable[torch.Tensor]) -> None:
        """A module gave these to its caller: none of them is auxiliary."""
        if self._auxiliary:
            self._used(tuple([self._index(tensor) for tensor in tensors]))

    def saves(self, tensor: torch.Tensor) -> torch.Tensor:
        """Autograd keeps this tensor for the backward pass (a pack hook)."""
        index = self._storage_index(tensor)
        if index is not None:
            self._saved.add(index)
        return tensor

    def becomes(self, tensor: torch.Tensor, role: Role) -> None:
        """Give the storage of a tensor its final role."""
        index = self._storage_index(tensor)
        if index is not None:
            self._roles[index] = role

    def _storage_index(self, tensor: torch.Tensor) -> int | None:
        storage = storage_of(tensor)
        return None if storage is None else self._addresses.get(storage._cdata)

    def ops(self, places: list[int]) -> tuple[Op, ...]:
        """What was written down; `places` maps rows to layers."""
        if places == list(range(len(places))):
            return tuple(self.events)
        return tuple([op._replace(layer=places[op.layer]) for op in self.events])

    def tensors(self) -> tuple[Tensor, ...]:
        """Every tensor, in the order in which they were first seen."""
        return tuple(map(new_tensor, zip([spec.spec for spec in self._of], self._places, strict=True)))

    def storages(self) -> tuple[Storage, ...]:
        """Every allocation, in the order in which they were first seen."""
        died, saved = self._died.get, self._saved
        facts = zip(self._sizes, self._roles, self._born, strict=True)
        return tuple(
            [
                new_storage((nbytes, dtype, role, born, died(index), index in saved))
                for index, ((nbytes, dtype), role, born) in enumerate(facts)
            ]
        )
