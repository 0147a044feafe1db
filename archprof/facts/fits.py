"""Whether what a file held is what its records say: types, ranges and nesting, with the place where it is not.

The annotations of the records are the rules. They are held against a profile once, where it is read from a file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from archprof.facts.measured import Difference

MOST = 2**100
"""No count is as large: sums of counts and their ratios stay within what a float can hold."""

DEEPEST = 32
"""Lists in lists among the arguments of an op; no op has more than a few."""

Check = Callable[[Any], None]
"""Raises `Misfit` for a value that does not fit."""


class Misfit(ValueError):
    """A value that its record cannot have: where it stands, from the outside in, and what it is."""

    def __init__(self, what: str, place: str = "") -> None:
        super().__init__(f"{place} is {what}")
        self.what, self.place = what, place

    def inside(self, part: str) -> Misfit:
        """The same, seen from what holds it."""
        joint = "." if self.place and not self.place.startswith("[") else ""
        return Misfit(self.what, f"{part}{joint}{self.place}")


def check_record(record: Any) -> None:
    """Raise `Misfit` for the first field of a record, or of the records in it, that has a value it cannot have."""
    _Rules().find(type(record))(record)


class _Rules:
    """The check of every type that records are made of, each made once; what several records share is seen once."""

    def __init__(self) -> None:
        self.made: dict[Any, Check] = {
            Any: _check_plain, int: _check_count, float: _check_number, Difference: _check_difference,
        }  # fmt: skip
        self.fitting: dict[int, Any] = {}  # by id: they are held here, so no other has their number

    def find(self, hint: Any) -> Check:
        if hint not in self.made:
            self.made[hint] = self._make(hint)
        return self.made[hint]

    def _make(self, hint: Any) -> Check:
        origin, parts = get_origin(hint), get_args(hint)
        if origin in (Union, UnionType):
            return partial(_check_any_of, [self.find(part) for part in parts])
        if origin is Literal:
            return partial(_check_one_of, parts)
        if origin is tuple:
            checks = [self.find(part) for part in parts if part is not ...]
            return partial(_check_items if ... in parts else _check_each, checks)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return partial(_check_mapping, *map(self.find, parts))
        if getattr(hint, "_is_protocol", False):
            return lambda value: self.find(type(value))(value)
        if is_dataclass(hint) or hasattr(hint, "_fields"):
            return partial(self._check_fields, hint, self._list_fields(hint))
        return partial(_check_type, hint)

    def _list_fields(self, record: Any) -> list[tuple[str, Check]]:
        hints = get_type_hints(record, include_extras=True)
        names = [field.name for field in fields(record)] if is_dataclass(record) else record._fields
        return [(name, self.find(hints[name])) for name in names]

    def _check_fields(self, record: type, checks: list[tuple[str, Check]], value: Any) -> None:
        if id(value) in self.fitting:
            return
        _check_type(record, value)
        name = ""
        try:
            for name, check in checks:
                check(getattr(value, name))
        except Misfit as misfit:
            raise misfit.inside(name) from None
        self.fitting[id(value)] = value


def _check_type(allowed: type, value: Any) -> None:
    if type(value) is not allowed:
        raise Misfit(_describe(value))


def _check_count(value: Any) -> None:
    if type(value) is not int or not 0 <= value < MOST:
        raise Misfit(_describe(value))


def _check_difference(value: Any) -> None:
    if type(value) is not int or not -MOST < value < MOST:
        raise Misfit(_describe(value))


def _check_number(value: Any) -> None:
    if type(value) not in (int, float) or not abs(value) < MOST:
        raise Misfit(_describe(value))


def _check_plain(value: Any, depth: int = 0) -> None:
    """An argument of an op: a number, a text, nothing, or a list of such."""
    if type(value) is tuple and depth < DEEPEST:
        for item in value:
            _check_plain(item, depth + 1)
    elif type(value) not in (bool, int, float, str, NoneType) or (type(value) is float and not math.isfinite(value)):
        raise Misfit(_describe(value))


def _check_any_of(checks: list[Check], value: Any) -> None:
    misfits = [misfit for check in checks if (misfit := _find_misfit(check, value))]
    if len(misfits) == len(checks):
        raise max(misfits, key=lambda misfit: len(misfit.place))  # what fits best says most


def _find_misfit(check: Check, value: Any) -> Misfit | None:
    try:
        check(value)
    except Misfit as misfit:
        return misfit
    return None


def _check_one_of(allowed: tuple[Any, ...], value: Any) -> None:
    if value not in allowed:
        raise Misfit(f"{_describe(value)}, and none of {', '.join(map(str, allowed))}")


def _check_each(checks: list[Check], value: Any) -> None:
    if type(value) is not tuple or len(value) != len(checks):
        raise Misfit(_describe(value))
    for check, item in zip(checks, value, strict=True):
        check(item)


def _check_items(checks: list[Check], value: Any) -> None:
    _check_type(tuple, value)
    (check,) = checks
    fitting = 0
    try:
        for item in value:
            check(item)
            fitting += 1
    except Misfit as misfit:
        raise misfit.inside(f"[{fitting}]") from None


def _check_mapping(check_key: Check, check_value: Check, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise Misfit(_describe(value))
    key = None
    try:
        for key, item in value.items():
            check_key(key)
            check_value(item)
    except Misfit as misfit:
        raise misfit.inside(f"[{key!r}]") from None


def _describe(value: Any) -> str:
    """In words what it is; numbers as they are, as far as they can be read."""
    if type(value) in (int, float):
        return f"{value:.3g}" if abs(value) < MOST else "a number out of range"
    words = {str: "a text", bool: "true or false", NoneType: "null", tuple: "a list", list: "a list"}
    return words.get(type(value), "an object")
