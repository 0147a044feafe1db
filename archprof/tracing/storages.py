"""Writes down the storages of a pass: what made each, and after which op it was gone.

A storage is known again by its address, until a weak reference tells of its death: the interpreter frees the stand-ins
at the same points of the program as it would free real tensors.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch

from archprof.facts.records import Op, Role, Storage
from archprof.torchside.private import find_address
from archprof.torchside.tensors import storage_of
from archprof.tracing.constants import Constants

NO_STORAGE = -1
"""In the place of an index: nothing is freed."""

MADE_ROLES: frozenset[Role] = frozenset(("activation", "auxiliary", "temporary", "constant"))

# What `_make` does, without a function of Python in between: they are made by the ten thousand.
new_storage: Callable[[Iterable[Any]], Storage] = partial(tuple.__new__, Storage)


class StorageLife(weakref.ref[Any]):
    """A weak reference to a storage that knows where it is written down."""

    __slots__ = ("address", "index")
    address: int
    index: int


class StorageBook:
    """The storages of one pass, in the order in which they were first seen, in lists side by side."""

    def __init__(self) -> None:
        self.recording = True
        self.recorded_ops: list[Op] = []
        self.constants = Constants()
        self._index_by_address: dict[int, int] = {}  # of those that are alive: their index, by address
        self._kept_alive: list[Any] = []
        self._storage_sizes: list[tuple[int, str]] = []  # bytes and dtype of each storage
        self._roles: list[Role] = []
        self._born: list[int | None] = []
        self._died: dict[int, int] = {}
        self._saved: set[int] = set()
        self._auxiliary: set[int] = set()  # storages of further results that nobody has read yet

    def _watch_storage(self, storage: torch.UntypedStorage, place: int, dies: int) -> None:
        """Know a storage again as that at `place`, until it is freed; with it dies what is written down at `dies`."""
        life = StorageLife(storage, self._note_death)
        life.address, life.index = find_address(storage), dies
        self._index_by_address[life.address] = place
        self._kept_alive.append(life)

    def _add_storage(
        self, storage: torch.UntypedStorage | None, size: tuple[int, str], role: Role, born: int | None
    ) -> int:
        """Write down a storage that was not there before; it is watched last, lest Ctrl-C leave one without a role."""
        place = len(self._born)
        self._storage_sizes.append(size)
        self._roles.append(role)
        self._born.append(born)
        if storage is not None and role == "parameter":  # it outlives every pass, so that nobody waits for its end
            self._index_by_address[find_address(storage)] = place
            self._kept_alive.append(storage)
        elif storage is not None:
            self._watch_storage(storage, place, place)
        return place

    def _note_death(self, life: StorageLife) -> None:
        self._index_by_address.pop(life.address, None)
        if self.recording:
            self._died[life.index] = len(self.recorded_ops) - 1
            self._auxiliary.discard(life.index)

    def set_role(self, tensor: torch.Tensor, role: Role) -> None:
        """Give the storage of a tensor its final role."""
        index = self._find_storage(tensor)
        if index is not None:
            self._roles[index] = role

    def _find_storage(self, tensor: torch.Tensor) -> int | None:
        storage = storage_of(tensor)
        return None if storage is None else self._index_by_address.get(find_address(storage))

    def add_carried(self, storage: torch.UntypedStorage) -> int:
        """Write down what the pass before left in the model."""
        return self._add_storage(storage, (storage.nbytes(), "uint8"), "carried", None)

    def list_made(self) -> list[StorageLife]:
        """Of what the pass made and did not let go, but for gradients, weights and the optimizer's state."""
        lives = [life for life in self._kept_alive if isinstance(life, StorageLife)]
        return [
            life
            for life in lives
            if life.index not in self._died
            and life.index != NO_STORAGE
            and self._roles[life.index] in MADE_ROLES
            and self.find_birth(life.index) is not None
        ]

    def find_birth(self, place: int) -> int | None:
        """The op that made a storage; `None` where it was there before."""
        if self._roles[place] != "constant":
            return self._born[place]
        return self.constants.find_birth(place, self._died, self.recorded_ops)

    def find_death(self, place: int) -> int | None:
        """The op after which it was gone; `None` where it was there to the end."""
        return self._died.get(place)

    def find_nbytes(self, place: int) -> int:
        """Its size."""
        return self._storage_sizes[place][0]

    def build_storages(self) -> tuple[Storage, ...]:
        """Every allocation, in the order in which they were first seen."""
        died, saved = self._died.get, self._saved
        roles = self._roles
        births = [self.find_birth(at) if roles[at] == "constant" else born for at, born in enumerate(self._born)]
        facts = zip(self._storage_sizes, roles, births, strict=True)
        return tuple(
            [
                new_storage((nbytes, dtype, role, born, died(index), index in saved, False))
                for index, ((nbytes, dtype), role, born) in enumerate(facts)
            ]
        )
