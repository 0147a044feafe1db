"""Tensors that come to an op from nowhere: the model or its code holds them, or a forward made them without an op."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import nn

from archprof.facts.records import Op
from archprof.torchside.tensors import storage_of

FRESH_OP = "aten.lift_fresh.default"
"""What torch calls with a tensor that it has just made of data."""


class _Known(NamedTuple):
    """What stands under an id.

    Attributes:
        number, place: the index of the tensor, and of its storage.
        kept: the tensor itself, where it is kept alive; of any other a later tensor may have the id.
    """

    number: int
    place: int
    kept: torch.Tensor | None


class Constants:
    """The constants of a pass. They may be the user's own, so that no mark is put on them: they are known by their id.

    Attributes:
        parameters: those that no module has, each with its index.
        of_library: one of several floating values lies in memory of another library.
    """

    def __init__(self) -> None:
        self.parameters: list[tuple[nn.Parameter, int]] = []
        self.of_library = False
        self._by_id: dict[int, _Known] = {}
        self._first_reads: dict[int, int] = {}  # by storage: the number of the op

    def __bool__(self) -> bool:
        return bool(self._by_id)

    def add(self, tensor: torch.Tensor, index: int, place: int, read_by: int) -> None:
        """Know a tensor again, which the op of this number is the first to read."""
        kept = None if storage_of(tensor) is not None else tensor
        if isinstance(tensor, nn.Parameter):
            self.parameters.append((tensor, index))
            kept = tensor
        self._by_id[id(tensor)] = _Known(index, place, kept)
        self._first_reads.setdefault(place, read_by)
        self.of_library = self.of_library or _is_of_library(tensor)

    def find(self, tensor: torch.Tensor, place: int | None) -> int | None:
        """The index of a tensor whose storage is at `place`; `None` where it is none of these."""
        known = self._by_id.get(id(tensor))
        return known.number if known is not None and (known.kept is not None or known.place == place) else None

    def find_birth(self, place: int, died: Collection[int], ops: Sequence[Op]) -> int | None:
        """The op that was the first to read what the forward made; `None` of what may have been there before it."""
        first = self._first_reads.get(place)
        if first is None or first >= len(ops):
            return None
        return first if place in died or ops[first].signature.name == FRESH_OP else None

    def forget(self, tensor: torch.Tensor) -> None:
        """Its layout and storage are others from now on."""
        self._by_id.pop(id(tensor), None)
        self.parameters = [one for one in self.parameters if one[0] is not tensor]

    def close(self) -> None:
        """Nothing more comes: no tensor is kept alive."""
        self._by_id.clear()
        self.parameters.clear()


def _is_of_library(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds several floating values in memory of another library."""
    storage = storage_of(tensor)
    if storage is None or tensor.is_meta or storage.resizable():
        return False
    return tensor.numel() > 1 and (tensor.is_floating_point() or tensor.is_complex())
