"""Writes down ops, tensors and storages while a pass runs.

A tensor is known again by an attribute on the tensor object, which torch keeps alive with the
tensor itself, and a storage's death by a weak reference to it: the interpreter frees the stand-ins
at the same points of the program as it would free real tensors.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple

import torch
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy

from archprof.records import ITEM_BYTES, Op, Phase, Role, Status, Storage, Tensor, TensorSpec, Window

GATHERS = frozenset({"aten.embedding", "aten.index", "aten.index_select", "aten.gather", "aten._embedding_bag"})
"""Ops that read only the rows they return of their first input."""

_DTYPE_NAMES: dict[torch.dtype, str] = {}
_marks = count()


def dtype_name(dtype: torch.dtype) -> str:
    """`torch.float32` -> "float32"."""
    name = _DTYPE_NAMES.get(dtype)
    if name is None:
        name = _DTYPE_NAMES[dtype] = str(dtype).removeprefix("torch.")
        ITEM_BYTES.setdefault(name, dtype.itemsize)
    return name


def tensors_in(tree: Any) -> list[torch.Tensor]:
    """The tensors of nested lists, tuples, dicts and dataclass-like objects, in order."""
    if isinstance(tree, torch.Tensor):
        return [tree]
    if type(tree) is tuple and len(tree) == 1 and isinstance(tree[0], torch.Tensor):
        return [tree[0]]
    found: list[torch.Tensor] = []
    _collect(tree, found)
    return found


def _collect(tree: Any, found: list[torch.Tensor]) -> None:
    if isinstance(tree, torch.Tensor):
        found.append(tree)
    elif isinstance(tree, list | tuple | set):
        for item in tree:
            _collect(item, found)
    elif isinstance(tree, dict):
        for item in tree.values():
            _collect(item, found)
    elif hasattr(tree, "__dataclass_fields__") and not isinstance(tree, type):
        for name in tree.__dataclass_fields__:
            _collect(getattr(tree, name, None), found)


def _storage_of(tensor: torch.Tensor) -> torch.UntypedStorage | None:
    """`None` for sparse and other layouts without one storage, and for a lazy parameter before its first call."""
    try:
        return None if is_lazy(tensor) else tensor.untyped_storage()
    except NotImplementedError:
        return None


class _Event(NamedTuple):
    """An op as seen while the pass runs; made into an `Op` at its end."""

    name: str
    layer: int
    phase: Phase
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    macs: int | None
    flops: int | None
    status: Status
    window: Window | None
    args: tuple[Any, ...]
    alias: bool


class _Allocation:
    """A `Storage` while the pass runs."""

    __slots__ = ("born", "died", "dtype", "index", "nbytes", "role", "saved")

    def __init__(self, index: int, nbytes: int, dtype: str, role: Role, born: int | None) -> None:
        self.index, self.nbytes, self.dtype, self.role, self.born = index, nbytes, dtype, role, born
        self.died: int | None = None
        self.saved = False


class _Life(weakref.ref[Any]):
    """A weak reference to a storage that knows what was written down of it."""

    __slots__ = ("allocation",)
    allocation: _Allocation


class Recorder:
    """The facts of one pass, growing. `on` is False outside the pass: nothing is written then."""

    def __init__(self) -> None:
        self.on = True
        self.phase: Phase = "forward"
        self.events: list[_Event] = []
        self.tensors: list[Tensor] = []
        self._specs: dict[tuple[torch.Size, torch.dtype], TensorSpec] = {}
        self._mark = f"_archprof_{next(_marks)}"
        self._foreign: dict[int, tuple[Any, int]] = {}  # constants and their storages, by id
        self._allocations: list[_Allocation] = []
        self._lives: list[_Life] = []
        self._auxiliary: set[int] = set()  # storages of further results that nobody has read yet

    def spec(self, tensor: torch.Tensor) -> TensorSpec:
        """Shape and dtype of a tensor; one record for all that are alike."""
        key = (tensor.size(), tensor.dtype)  # a lazy parameter refuses `.shape`
        spec = self._specs.get(key)
        if spec is None:
            spec = self._specs[key] = TensorSpec(tuple(key[0]), dtype_name(tensor.dtype))
        return spec

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
        spec = self.spec(tensor)
        index = len(self.tensors)
        self.tensors.append(Tensor(spec, self._storage(tensor, spec, role, born)))
        self._know(tensor, index, role)
        return index

    def _know(self, thing: torch.Tensor | torch.UntypedStorage, index: int, role: Role) -> None:
        """Mark it; a constant may be the user's own, so that our mark stays off it and it is kept alive instead."""
        if role == "constant":
            self._foreign[id(thing)] = (thing, index)
        elif not isinstance(
            thing, UninitializedParameter | UninitializedBuffer
        ):  # that will be another tensor under the same id
            setattr(thing, self._mark, index)

    def _known(self, thing: torch.Tensor | torch.UntypedStorage) -> int | None:
        known: int | None = getattr(thing, self._mark, None)
        if known is None and id(thing) in self._foreign:
            return self._foreign[id(thing)][1]
        return known

    def _storage(self, tensor: torch.Tensor, spec: TensorSpec, role: Role, born: int | None) -> int:
        storage = _storage_of(tensor)
        known = None if storage is None else self._known(storage)
        if known is not None:
            return known
        nbytes = spec.nbytes if storage is None else storage.nbytes()
        allocation = _Allocation(len(self._allocations), nbytes, spec.dtype, role, born)
        self._allocations.append(allocation)
        if storage is not None:
            self._know(storage, allocation.index, role)
            life = _Life(storage, self._dies)
            life.allocation = allocation
            self._lives.append(life)
        return allocation.index

    def _dies(self, life: _Life) -> None:
        if self.on:
            life.allocation.died = len(self.events) - 1
            self._auxiliary.discard(life.allocation.index)

    def index(self, tensor: torch.Tensor) -> int:
        """The index of a tensor that an op reads; one never seen before came from outside the model."""
        known = self._known(tensor)
        return self.add(tensor, "constant") if known is None else known

    def op(
        self,
        name: str,
        layer: int,
        inputs: Iterable[torch.Tensor],
        outputs: Iterable[torch.Tensor],
        macs: int | None,
        flops: int | None,
        status: Status,
        window: Window | None = None,
        args: tuple[Any, ...] = (),
    ) -> None:
        """Write down one op. The first output is its result; further ones are auxiliary until something reads them."""
        now = len(self.events)
        read = tuple([self.index(tensor) for tensor in inputs])
        before = len(self._allocations)
        role: Role = "activation" if self.phase == "forward" else "temporary"
        written = []
        for tensor in outputs:
            known = self._known(tensor)
            if known is None:
                known = self.add(tensor, role, now)
            written.append(known)
        if role == "activation":
            for extra in self._allocations[before + 1 :]:
                extra.role = "auxiliary"
                self._auxiliary.add(extra.index)
        alias = len(self._allocations) == before and status == "zero"
        if self._auxiliary and not alias:  # a view of it reads nothing yet
            self._used(read)
        self.events.append(
            _Event(name, layer, self.phase, read, tuple(written), macs, flops, status, window, args, alias)
        )

    def _used(self, read: tuple[int, ...]) -> None:
        """An auxiliary result that a later op of the forward reads is an activation like any other."""
        if self.phase == "forward":
            for index in read:
                storage = self.tensors[index].storage
                if storage in self._auxiliary:
                    self._auxiliary.discard(storage)
                    self._allocations[storage].role = "activation"

    def returned(self, tensors: Iterable[torch.Tensor]) -> None:
        """A module gave these to its caller: none of them is auxiliary."""
        if self._auxiliary:
            self._used(tuple([self.index(tensor) for tensor in tensors]))

    def saves(self, tensor: torch.Tensor) -> torch.Tensor:
        """Autograd keeps this tensor for the backward pass (a pack hook)."""
        index = self._storage_index(tensor)
        if index is not None:
            self._allocations[index].saved = True
        return tensor

    def becomes(self, tensor: torch.Tensor, role: Role) -> None:
        """Give the storage of a tensor its final role."""
        index = self._storage_index(tensor)
        if index is not None:
            self._allocations[index].role = role

    def _storage_index(self, tensor: torch.Tensor) -> int | None:
        storage = _storage_of(tensor)
        return None if storage is None else self._known(storage)

    def ops(self, places: list[int]) -> tuple[Op, ...]:
        """What was written down, with the bytes each op moved; `places` maps rows to layers."""
        sizes = [tensor.spec.nbytes for tensor in self.tensors]
        return tuple([_finished(event, places, sizes) for event in self.events])

    def storages(self) -> tuple[Storage, ...]:
        """Every allocation, in the order in which they were first seen."""
        return tuple([Storage(a.nbytes, a.dtype, a.role, a.born, a.died, a.saved) for a in self._allocations])


def _finished(event: _Event, places: list[int], sizes: list[int]) -> Op:
    name, layer, phase, inputs, outputs, macs, flops, status, window, args, alias = event
    if alias:
        read = written = 0
    else:
        written = sum([sizes[i] for i in outputs])
        if name in GATHERS:
            read = written + sum([sizes[i] for i in inputs[1:]])
        else:
            read = sum([sizes[i] for i in (inputs if len(inputs) < 2 else set(inputs))])
    return Op(name, places[layer], phase, inputs, outputs, macs, flops, read, written, status, window, args)
