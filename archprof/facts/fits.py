"""Whether what a file held is what its records say: types, ranges and nesting, with the place where it is not.

The annotations of the records are the rules. They are held against a profile once, where it is read from a file: a
check is given all values of one kind at once, field by field, and goes through them one by one only to find the place
of a misfit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache, partial
from itertools import chain
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from archprof.facts.measured import Difference

MOST = 2**100
"""No count is as large: sums of counts and their ratios stay within what a float can hold."""

DEEPEST = 32
"""Lists in lists among the arguments of an op; no op has more than a few."""

Values = Sequence[Any]

Check = Callable[[Values], None]
"""Raises `Misfit` for the first of these values that does not fit."""


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
    _Rules().find(type(record))([record])


class _Rules:
    """The check of every type that records are made of, each made once; what several records share is seen once."""

    def __init__(self) -> None:
        self.made: dict[Any, Check] = {
            Any: _check_plain,
            int: partial(_check_all, partial(_are_numbers, {int}, 0)),
            float: partial(_check_all, partial(_are_numbers, {int, float}, 1 - MOST)),
            Difference: partial(_check_all, partial(_are_numbers, {int}, 1 - MOST)),
        }
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
            return partial(_check_items, checks[0]) if ... in parts else partial(_check_each, checks)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            key, item = parts
            return partial(_check_mapping, self.find(key), self.find(item))
        if getattr(hint, "_is_protocol", False):
            return self._check_own_types
        if is_dataclass(hint) or hasattr(hint, "_fields"):
            return partial(self._check_fields, hint, self._list_fields(hint))
        return partial(_check_all, partial(_are_of, hint))

    def _list_fields(self, record: Any) -> list[tuple[str, Check]]:
        return [(name, self.find(hint)) for name, hint in _read_hints(record)]

    def _check_own_types(self, values: Values) -> None:
        for value in values:
            self.find(type(value))([value])

    def _check_fields(self, record: type, checks: list[tuple[str, Check]], values: Values) -> None:
        new = dict(zip(map(id, values), values, strict=True))
        if not self.fitting.keys().isdisjoint(new):
            new = {number: value for number, value in new.items() if number not in self.fitting}
        if not new:
            return
        _check_all(partial(_are_of, record), list(new.values()))
        name = ""
        try:
            for name, check in checks:
                check([*map(attrgetter(name), new.values())])
        except Misfit as misfit:
            raise misfit.inside(name) from None
        self.fitting |= new


@cache
def _read_hints(record: Any) -> list[tuple[str, Any]]:
    """The fields of a record, which are evaluated from text."""
    hints = get_type_hints(record, include_extras=True)
    names = [field.name for field in fields(record)] if is_dataclass(record) else record._fields
    return [(name, hints[name]) for name in names]


def _check_all(fit: Callable[[Values], bool], values: Values) -> None:
    if not fit(values):
        raise Misfit(_describe(next(value for value in values if not fit([value]))))


def _are_of(allowed: type, values: Values) -> bool:
    return {*map(type, values)} <= {allowed}


def _are_numbers(types: set[type], least: int, values: Values) -> bool:
    """Of these types, within `least` and what is allowed at most, and no NaN, for which comparisons tell nothing."""
    found = {*map(type, values)}
    if not found <= types or not values or not (least <= min(values) and max(values) < MOST):
        return not values
    return float not in found or all(map(math.isfinite, values))


def _are_plain(values: Values) -> bool:
    """Numbers, texts, nothing, or lists of such, level by level."""
    for _ in range(DEEPEST + 1):
        found = {*map(type, values)}
        if not found <= {bool, int, float, str, NoneType, tuple}:
            return False
        if float in found and not all(math.isfinite(value) for value in values if type(value) is float):
            return False
        if tuple not in found:
            return True
        values = [item for value in values if type(value) is tuple for item in value]
    return False


def _check_plain(values: Values) -> None:
    """Arguments of ops."""
    if not _are_plain(values):
        value = next(value for value in values if not _are_plain([value]))
        while type(value) is tuple and (inner := [item for item in value if not _are_plain([item])]):
            value = inner[0]
        raise Misfit(_describe(value))


def _check_any_of(checks: list[Check], values: Values) -> None:
    """Values of one type are tried together, and one by one where no alternative holds for all of them."""
    kinds = dict.fromkeys(map(type, values))
    for kind in kinds:
        group = values if len(kinds) == 1 else [value for value in values if type(value) is kind]
        if all(_find_misfit(check, group) for check in checks):
            for value in group:
                misfits = [misfit for check in checks if (misfit := _find_misfit(check, [value]))]
                if len(misfits) == len(checks):
                    raise max(misfits, key=lambda misfit: len(misfit.place))  # what fits best says most


def _find_misfit(check: Check, values: Values) -> Misfit | None:
    try:
        check(values)
    except Misfit as misfit:
        return misfit
    return None


def _check_one_of(allowed: tuple[Any, ...], values: Values) -> None:
    for value in dict.fromkeys(values) if {*map(type, values)} == {str} else values:
        if value not in allowed:
            raise Misfit(f"{_describe(value)}, and none of {', '.join(map(str, allowed))}")


def _check_each(checks: list[Check], values: Values) -> None:
    """Tuples of as many items as there are checks."""
    _check_all(lambda some: _are_of(tuple, some) and {*map(len, some)} <= {len(checks)}, values)
    for check, items in zip(checks, zip(*values, strict=True), strict=False):
        check(items)


def _check_items(check: Check, values: Values) -> None:
    """Tuples of any number of items that are alike."""
    _check_all(partial(_are_of, tuple), values)
    if _find_misfit(check, [*chain.from_iterable(values)]):
        for value in values:
            for index, item in enumerate(value):
                if misfit := _find_misfit(check, [item]):
                    raise misfit.inside(f"[{index}]")


def _check_mapping(check_key: Check, check_value: Check, values: Values) -> None:
    for value in values:
        if not isinstance(value, Mapping):
            raise Misfit(_describe(value))
        for key, item in value.items():
            for check, part in ((check_key, key), (check_value, item)):
                if misfit := _find_misfit(check, [part]):
                    raise misfit.inside(f"[{key!r}]")


def _describe(value: Any) -> str:
    """In words what it is; numbers as they are, as far as they can be read."""
    if type(value) in (int, float):
        return f"{value:.3g}" if abs(value) < MOST else "a number out of range"
    words = {str: "a text", bool: "true or false", NoneType: "null", tuple: "a list", list: "a list"}
    return words.get(type(value), "an object")
