"""Writes down ops, tensors and storages while a pass runs.

A tensor is known again by an attribute on the tensor object, which torch keeps alive with the
tensor itself, and a storage by its address, until a weak reference tells of its death: the
interpreter frees the stand-ins at the same points of the program as it would free real tensors.

What is noted of a storage stands in lists side by side. A small object for each would be walked by
every collection of the garbage collector, and a deep model has tens of thousands of them.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple

import torch
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from archprof.errors import ArchprofError
from archprof.records import ITEM_BYTES, Op, Phase, Role, Status, Storage, Tensor, TensorSpec, Window

GATHERS = frozenset({"aten.embedding", "aten.index", "aten.index_select", "aten.gather", "aten._embedding_bag"})
"""Ops that read only the rows they return of their first input."""

OWNED: frozenset[Role] = frozenset(("parameter", "buffer"))
"""What outlives every pass, so that nobody waits for its end."""

LAZY = (UninitializedParameter, UninitializedBuffer)

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
    if type(tensor) in LAZY:
        return None
    try:
        return tensor.untyped_storage()
    except NotImplementedError:
        return None


class _Spec(NamedTuple):
    """What all tensors of one shape and dtype share."""

    spec: TensorSpec
    nbytes: int
    alone: tuple[TensorSpec]


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
        self.tensors: list[Tensor] = []
        self._specs: dict[tuple[torch.Size, torch.dtype], _Spec] = {}
        self._of: list[_Spec] = []  # of each tensor
        self._mark = f"_archprof_{next(_marks)}"
        self._foreign: dict[int, tuple[Any, int]] = {}  # constants, by id
        self._addresses: dict[int, int] = {}  # of the storages that are alive: their index, by address
        self._kept: list[Any] = []
        self._nbytes: list[int] = []
        self._dtypes: list[str] = []
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

    def _spec_now(self, tensor: torch.Tensor) -> _Spec:
        known: int | None = getattr(tensor, self._mark, None)
        if known is not None:
            return self._of[known]
        with torch._C.DisableTorchFunction():  # under a function mode each .shape would be a call to it
            return self._spec(tensor)

    def _spec(self, tensor: torch.Tensor) -> _Spec:
        """What is known of a shape and dtype; one record for all tensors that are alike."""
        key = (tensor.size(), tensor.dtype)  # a lazy parameter refuses `.shape`
        found = self._specs.get(key)
        if found is None:
            if tensor.is_nested:
                raise ArchprofError("Nested tensors are not traced: how large they are only their values tell.")
            spec = TensorSpec(tuple(key[0]), dtype_name(tensor.dtype))
            found = self._specs[key] = _Spec(spec, spec.nbytes, (spec,))
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
        spec = self._spec(tensor)
        index = len(self._of)
        self._of.append(spec)
        storage = _storage_of(tensor)
        place = len(self._born)
        if storage is not None:
            place = self._addresses.setdefault(storage._cdata, place)
        if place == len(self._born):
            self._allocate(storage, spec, role, born)
        self.tensors.append(Tensor(spec.spec, place))
        if role == "constant":  # it may be the user's own: our mark stays off it, and it is kept alive instead
            self._foreign[id(tensor)] = (tensor, index)
        elif type(tensor) not in LAZY:  # that will be another tensor under the same id
            setattr(tensor, self._mark, index)
        return index

    def _allocate(self, storage: torch.UntypedStorage | None, spec: _Spec, role: Role, born: int | None) -> None:
        """Write down a storage that was not there before."""
        if storage is not None:
            if role in OWNED:
                self._kept.append(storage)
            else:
                life = _Life(storage, self._dies)
                life.address, life.index = storage._cdata, len(self._born)
                self._kept.append(life)
        self._nbytes.append(spec.nbytes if storage is None else storage.nbytes())
        self._dtypes.append(spec.spec.dtype)
        self._roles.append(role)
        self._born.append(born)

    def _dies(self, life: _Life) -> None:
        self._addresses.pop(life.address, None)
        if self.on:
            self._died[life.index] = len(self.events) - 1
            self._auxiliary.discard(life.index)

    def _index(self, tensor: torch.Tensor) -> int:
        """The index of a tensor that an op reads; one never seen before came from outside the model."""
        known: int | None = getattr(tensor, self._mark, None)
        if known is not None:
            return known
        if id(tensor) in self._foreign:
            return self._foreign[id(tensor)][1]
        return self.add(tensor, "constant")

    def op(
        self,
        name: str,
        layer: int,
        inputs: list[torch.Tensor],
        outputs: list[torch.Tensor],
        macs: int | None,
        flops: int | None,
        status: Status,
        window: Window | None = None,
        args: tuple[Any, ...] = (),
    ) -> None:
        """Write down one op. The first output is its result; further ones are auxiliary until something reads them."""
        now, mark = len(self.events), self._mark
        marks: list[Any] = [getattr(tensor, mark, None) for tensor in inputs]
        read: tuple[int, ...] = tuple(marks) if None not in marks else tuple(map(self._index, inputs))
        first = len(self._born)
        role: Role = "activation" if self.phase == "forward" else "temporary"
        indices = []
        for tensor in outputs:
            known = getattr(tensor, mark, None)
            if known is None:
                known = self._foreign[id(tensor)][1] if id(tensor) in self._foreign else self.add(tensor, role, now)
            elif self._of[known] is not self._spec(tensor):  # written in place, and of another shape than it was
                known = self.add(tensor, role, now)
            indices.append(known)
        written = tuple(indices)
        made = len(self._born) - first
        if not made and status == "zero":  # a view: it moves nothing, and reads no auxiliary yet
            moved = (0, 0)
        else:
            moved = self._moved(name, read, written)
            if self._auxiliary:
                self._used(read)
        if made > 1 and role == "activation":
            for extra in range(first + 1, first + made):
                self._roles[extra] = "auxiliary"
                self._auxiliary.add(extra)
        self.events.append(Op(name, layer, self.phase, read, written, macs, flops, *moved, status, window, args))

    def _moved(self, name: str, read: tuple[int, ...], written: tuple[int, ...]) -> tuple[int, int]:
        """Bytes that an op reads and writes, of distinct tensors."""
        of = self._of
        out = of[written[0]].nbytes if len(written) == 1 else sum([of[index].nbytes for index in written])
        if name in GATHERS:
            return out + sum([of[index].nbytes for index in read[1:]]), out
        if len(read) == 1:
            return of[read[0]].nbytes, out
        return sum([of[index].nbytes for index in set(read)]), out

    def _used(self, read: tuple[int, ...]) -> None:
        """An auxiliary result that a later op of the forward reads is an activation like any other."""
        if self.phase == "forward":
            for index in read:
                storage = self.tensors[index].storage
                if storage in self._auxiliary:
                    self._auxiliary.discard(storage)
                    self._roles[storage] = "activation"

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
        storage = _storage_of(tensor)
        return None if storage is None else self._addresses.get(storage._cdata)

    def ops(self, places: list[int]) -> tuple[Op, ...]:
        """What was written down; `places` maps rows to layers."""
        if places == list(range(len(places))):
            return tuple(self.events)
        return tuple([op._replace(layer=places[op.layer]) for op in self.events])

    def storages(self) -> tuple[Storage, ...]:
        """Every allocation, in the order in which they were first seen."""
        facts = zip(self._nbytes, self._dtypes, self._roles, self._born, strict=True)
        return tuple([Storage(*fact, self._died.get(i), i in self._saved) for i, fact in enumerate(facts)])
