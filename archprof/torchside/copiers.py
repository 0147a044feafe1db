"""How containers, functions and references are copied for a stand-in, so that they hold what is its own."""

from __future__ import annotations

import functools
import types
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from archprof.torchside.private import unwrap_compiled_function


class Copies(Protocol):
    """The copies made so far, by the id of the original, and the way to the next."""

    memo: dict[int, Any]

    def copy_value(self, value: Any) -> Any: ...


def _copy_sequence(copies: Copies, value: Any) -> Any:
    return type(value)([copies.copy_value(item) for item in value])


def _copy_mapping(copies: Copies, value: Any) -> Any:
    new = copies.memo[id(value)] = type(value)()
    for key, item in value.items():
        new[copies.copy_value(key)] = copies.copy_value(item)
    return new


def _copy_list(copies: Copies, value: list[Any]) -> list[Any]:
    new: list[Any] = []
    copies.memo[id(value)] = new
    new.extend(copies.copy_value(item) for item in value)
    return new


def _copy_method(copies: Copies, value: types.MethodType) -> types.MethodType:
    return types.MethodType(value.__func__, copies.copy_value(value.__self__))


def _copy_builtin_method(copies: Copies, value: Any) -> Any:
    """A method of a tensor or a list, such as `weight.mul_`: that of its twin, or the original's would change."""
    owner = value.__self__
    if owner is None or isinstance(owner, (types.ModuleType, type)):
        return value
    twin = copies.copy_value(owner)
    return value if twin is owner else getattr(twin, value.__name__)


def _copy_cached(copies: Copies, value: Any) -> Any:
    """An `lru_cache` around a function: with the twin's function in it, and a cache of its own."""
    return functools.lru_cache(**value.cache_parameters())(copies.copy_value(value.__wrapped__))


def _copy_partial(copies: Copies, value: functools.partial[Any]) -> functools.partial[Any]:
    arguments = {key: copies.copy_value(item) for key, item in value.keywords.items()}
    return functools.partial(copies.copy_value(value.func), *map(copies.copy_value, value.args), **arguments)


def _copy_weakref(copies: Copies, value: weakref.ref[Any]) -> weakref.ref[Any]:
    """To the twin, where there is one that somebody else holds."""
    known = copies.memo.get(id(value()))
    return value if known is None else weakref.ref(known)


def _copy_function(copies: Copies, value: types.FunctionType) -> Any:
    """A hook or a replaced forward: what it holds of the model, the copy holds of the twin."""
    compiled = unwrap_compiled_function(value)
    if compiled is not None:
        return copies.copy_value(compiled)
    closure, defaults, keywords = value.__closure__ or (), value.__defaults__ or (), value.__kwdefaults__ or {}
    if not (closure or defaults or keywords):
        return value
    cells = tuple(types.CellType() for _ in closure)
    new = types.FunctionType(value.__code__, value.__globals__, value.__name__, None, cells)
    new.__dict__.update(value.__dict__)
    copies.memo[id(value)] = new
    for cell, old in zip(cells, closure, strict=True):
        if old != types.CellType():  # an empty one: a name that was never given a value
            cell.cell_contents = copies.copy_value(old.cell_contents)
    new.__defaults__ = tuple(map(copies.copy_value, defaults)) or None
    new.__kwdefaults__ = {name: copies.copy_value(item) for name, item in keywords.items()} or None
    if _held_ids(new) == _held_ids(value):  # torch's own functions hold plain values, and code knows them by identity
        copies.memo[id(value)] = value
    return copies.memo[id(value)]


def _held_ids(function: types.FunctionType) -> list[int]:
    """The ids of what a function closes over and of its defaults."""
    cells = [cell.cell_contents for cell in function.__closure__ or () if cell != types.CellType()]
    return [id(item) for item in (*cells, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())]


COPIER_BY_KIND: dict[type, Callable[[Copies, Any], Any]] = {
    list: _copy_list,
    dict: _copy_mapping,
    OrderedDict: _copy_mapping,
    tuple: _copy_sequence,
    set: _copy_sequence,
    frozenset: _copy_sequence,
    types.FunctionType: _copy_function,
    types.MethodType: _copy_method,
    types.BuiltinMethodType: _copy_builtin_method,
    types.MethodWrapperType: _copy_builtin_method,
    type(functools.lru_cache(len)): _copy_cached,
    functools.partial: _copy_partial,
    weakref.ref: _copy_weakref,
}
