"""How records become tables of a JSON file, read back by the names of their columns."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from itertools import chain
from typing import Any, Generic, TypeVar

from archprof.facts.ran import Ran
from archprof.facts.records import CacheTensor, Decoding
from archprof.facts.tensors import TensorSpec

Record = Any
"""An instance of a named tuple."""

Item = TypeVar("Item", bound=Hashable)

RAN_KEYS = frozenset(field.name for field in fields(Ran)) - {"versions"}


class Distinct(Generic[Item]):
    """Numbers for items, equal ones the same, in the order in which they come."""

    def __init__(self) -> None:
        self._numbers: dict[Item, int] = {}

    def index(self, item: Item) -> int:
        return self._numbers.setdefault(item, len(self._numbers))

    @property
    def found(self) -> list[Item]:
        return list(self._numbers)


def write_table(record: type[Record], rows: Iterable[Any]) -> dict[str, Any]:
    """A table of these records, or of tuples with as many fields."""
    return {"columns": record._fields, "rows": list(rows)}


def read_table(record: type[Record], table: Mapping[str, Any], **named: Sequence[Any]) -> list[Any]:
    """The records of a table: a column of another name is left out, one that is missing has its default.

    `named`: by the name of a column, the items that its numbers, or lists of numbers, are the indices of.
    """
    columns, known, rows = table["columns"], record._fields, table["rows"]
    if not rows:
        return []
    found = {
        name: read_column(column, named.get(name))
        for name, column in zip(columns, zip(*rows, strict=True), strict=True)
        if name in known
    }
    values = zip(*found.values(), strict=True)
    if tuple(found) == known[: len(found)]:
        rest = tuple(map(record._field_defaults.__getitem__, known[len(found) :]))
        return list(map(partial(tuple.__new__, record), [(*row, *rest) for row in values] if rest else values))
    return [record(**dict(zip(found, row, strict=True))) for row in values]


def read_column(values: Sequence[Any], items: Sequence[Any] | None = None) -> Sequence[Any]:
    """Lists as tuples; a whole column at once where it has none, or none that hold others."""
    kinds = {*map(type, values)}
    if list not in kinds:
        return values if items is None else [*map(items.__getitem__, values)]
    if items is not None:
        return [tuple([items[index] for index in value]) for value in values]
    if kinds == {list} and list not in {*map(type, chain.from_iterable(values))}:
        return [*map(tuple, values)]
    return [*map(to_tuples, values)]


def take_fields(record: Any) -> dict[str, Any]:
    """The fields of a record by name, as they are."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def to_tuples(value: Any) -> Any:
    """Lists as tuples, all the way down."""
    if type(value) is not list:
        return value
    return tuple([to_tuples(item) if type(item) is list else item for item in value])


def write_ran(ran: Ran) -> dict[str, Any]:
    """What is known, flat: versions under their own names."""
    known = {name: getattr(ran, name) for name in sorted(RAN_KEYS)}
    return {**ran.versions, **{name: value for name, value in known.items() if value not in (None, "", {})}}


def read_ran(data: Mapping[str, Any]) -> Ran:
    known = {name: value for name, value in data.items() if name in RAN_KEYS}
    return Ran(**known, versions={name: text for name, text in data.items() if name not in RAN_KEYS})


def write_decoding(decoding: Decoding) -> dict[str, Any]:
    """The fields by name; a tensor of the cache is its layer, its name and [shape, dtype]."""
    cache = [
        (tensor.layer, tensor.name, tensor.spec[:2] if tensor.spec[2:] == (None, None) else tensor.spec)
        for tensor in decoding.cache
    ]
    return decoding._asdict() | {"cache": cache}


def read_decoding(data: Mapping[str, Any]) -> Decoding:
    """The phase of a decoder, from its fields by name."""
    cache = (CacheTensor(layer, name, TensorSpec(*spec)) for layer, name, spec in to_tuples(data["cache"]))
    return Decoding(data["phase"], data["context"], tuple(cache), data["growth"])
