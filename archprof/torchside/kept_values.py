"""Values that code changes in place, as they were: containers, arrays, streams, random states and small tensors."""

from __future__ import annotations

import functools
import io
import operator
import random
import threading
import types
from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from archprof.torchside.private import count_writes
from archprof.torchside.tensors import has_values

MOST_ITEMS = 100_000
"""Of all containers together: a data set that the code names is not walked through."""

SMALL = 2**16
"""Elements up to which an array or a tensor is copied."""

UNCOPIED_KINDS = (threading.local, io.BytesIO, io.StringIO, memoryview, types.GeneratorType)
"""What a copy of a module shares with it, and no other thread."""

Restore = Callable[[], None]


def is_cached(value: Any) -> bool:
    """Whether it is a function behind an `lru_cache`."""
    return isinstance(value, type(functools.lru_cache(len)))


class KeptValues:
    """What was kept so far. `is_own` says of which classes objects are looked into."""

    def __init__(self, is_own: Callable[[Any], bool]) -> None:
        self.is_own = is_own
        self.seen: dict[int, Any] = {}
        self.restores: list[Restore] = []
        self.generators: list[tuple[str, types.GeneratorType[Any, Any, Any], Any]] = []
        self.left = MOST_ITEMS

    def keep(self, value: Any, name: str) -> None:
        """Remember the content of a value, and of what it holds."""
        if id(value) in self.seen or self.left <= 0:
            return
        self.seen[id(value)] = value  # alive, so that no other gets its id
        self.left -= 1
        if isinstance(value, types.GeneratorType):
            self.generators.append((name, value, _tell_place(value)))
        elif isinstance(value, nn.Module):
            for tensor in [*value.parameters(), *value.buffers()]:
                self.keep(tensor, name)
        elif restore := _find_restore(value):
            self.restores.append(restore)
            self._keep_parts(value, name)
        elif self._is_looked_into(value):
            self.restores.append(_keep_mapping(vars(value)))
            for item in list(vars(value).values()):
                self.keep(item, name)

    def _is_looked_into(self, value: Any) -> bool:
        """Whether it is an object of the user's own; one that is copied by its own rule is as shared as that says."""
        kind = type(value)
        return hasattr(value, "__dict__") and self.is_own(kind) and not hasattr(kind, "__deepcopy__")

    def _keep_parts(self, value: Any, name: str) -> None:
        items = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list | deque) else ()
        for item in list(items)[: max(0, self.left)]:
            self.keep(item, name)

    def restore(self) -> None:
        """Put everything back."""
        for restore in self.restores:
            restore()

    def list_lost(self) -> list[str]:
        """What has gone on, and cannot be set back."""
        return [name for name, generator, place in self.generators if _tell_place(generator) != place]


def _tell_place(generator: types.GeneratorType[Any, Any, Any]) -> Any:
    """Where it stands, and with which values."""
    frame = generator.gi_frame
    return None if frame is None else (frame.f_lasti, {name: id(value) for name, value in frame.f_locals.items()})


def _find_restore(value: Any) -> Restore | None:
    """What puts the content of a value back; `None` where it has none that is known."""
    for kinds, keep in KEEPERS:
        if isinstance(value, kinds):
            return keep(value)
    kind = f"{type(value).__module__}.{type(value).__name__}"
    return KEEPERS_BY_NAME[kind](value) if kind in KEEPERS_BY_NAME else None


def _nothing() -> None:
    pass


def _keep_items(
    copy: Callable[[Any], Any], is_same: Callable[[Any, Any], bool], refill: str
) -> Callable[[Any], Restore]:
    """For a kind of container: what it held goes in again, by that method, where it holds something else."""

    def keep(value: Any) -> Restore:
        held = copy(value) if len(value) <= MOST_ITEMS else None

        def restore() -> None:
            if held is not None and not (len(value) == len(held) and is_same(value, held)):
                value.clear()
                getattr(value, refill)(held)

        return restore

    return keep


_keep_list = _keep_items(list, lambda value, held: all(map(operator.is_, value, held)), "extend")
_keep_mapping = _keep_items(
    dict, lambda value, held: all(value.get(key, value) is item for key, item in held.items()), "update"
)
_keep_set = _keep_items(set, operator.eq, "update")


def _keep_bytes(value: Any) -> Restore:
    held = bytes(value) if len(value) <= SMALL else None

    def restore() -> None:
        if held is not None and bytes(value) != held:
            value[:] = held

    return restore if not getattr(value, "readonly", False) else _nothing


def _keep_stream(value: Any) -> Restore:
    held, place = value.getvalue(), value.tell()

    def restore() -> None:
        if value.getvalue() != held:
            value.seek(0)
            value.truncate()
            value.write(held)
        value.seek(place)

    return restore


def _keep_local(value: threading.local) -> Restore:
    restores = [_keep_mapping(vars(value)), *filter(None, map(_find_restore, vars(value).values()))]

    def restore() -> None:
        for each in restores:
            each()

    return restore


def _keep_tensor(value: torch.Tensor) -> Restore:
    """Its content, and its gradient: a backward adds to that of each leaf."""
    gradient = value.grad if value.is_leaf else None
    restores = [_keep_content(value), *([] if gradient is None else [_keep_content(gradient)])]

    def restore() -> None:
        if value.is_leaf and value.grad is not gradient:
            value.grad = gradient
        for each in restores:
            each()

    return restore


def _keep_content(value: torch.Tensor) -> Restore:
    try:
        if value.is_meta or value.numel() > SMALL or not has_values(value):
            return _nothing
        held, version = value.detach().clone(), count_writes(value)
    except (RuntimeError, NotImplementedError):
        return _nothing

    def restore() -> None:
        if count_writes(value) != version or not torch.equal(value.detach(), held):
            with torch.no_grad():
                value.copy_(held)

    return restore


def _keep_array(value: Any) -> Restore:
    if value.size > SMALL or not value.flags.writeable:
        return _nothing
    held = value.copy()
    return lambda: value.__setitem__(..., held)


def _keep_state(get: str, put: str) -> Callable[[Any], Restore]:
    def keep(value: Any) -> Restore:
        held = getattr(value, get)()
        return lambda: getattr(value, put)(held)

    return keep


def _keep_bit_generator(value: Any) -> Restore:
    held = value.bit_generator.state
    return lambda: setattr(value.bit_generator, "state", held)


KEEPERS: tuple[tuple[Any, Callable[[Any], Restore]], ...] = (
    (dict, _keep_mapping), ((list, deque), _keep_list), (set, _keep_set), ((bytearray, memoryview), _keep_bytes),
    ((io.BytesIO, io.StringIO), _keep_stream), (threading.local, _keep_local),
    (torch.Tensor, _keep_tensor),
    (torch.Generator, _keep_state("get_state", "set_state")), (random.Random, _keep_state("getstate", "setstate")),
)  # fmt: skip

KEEPERS_BY_NAME: dict[str, Callable[[Any], Restore]] = {
    "numpy.ndarray": _keep_array, "numpy.random._generator.Generator": _keep_bit_generator,
    "numpy.random.mtrand.RandomState": _keep_state("get_state", "set_state"),
}  # fmt: skip
"""Of numpy, which is not imported for it."""
