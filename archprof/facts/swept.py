"""What a sweep asks and finds: a cell is one pass of one model, a row what came of it. Pure Python."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from archprof.errors import ArchprofError
from archprof.facts.fits import MOST

Status = Literal["ok", "time limit", "out of memory", "does not run", "error"]
STATUSES: tuple[Status, ...] = get_args(Status)

KEY_DIGITS = 20

Number = TypeVar("Number", int, float)


class SweptFileError(ArchprofError):
    """A file that holds no sweep, or a damaged one."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One pass that is asked for.

    Attributes:
        model: a name, as `archprof.profile` takes it.
        inputs: in the grammar of `--input`; none: the model's own default.
        batch, dtype, train, optimizer, amp: as in `archprof.facts.request.PassRequest`.
        lengths: of the default input of a transformers model.
        device: of the catalogue, or a file of `archprof calibrate`: on which its time is predicted; "": on none.
        measure: where it is run, "cpu" or "cuda"; "": nowhere.
        channels_last, compiled: how it is run or predicted.
    """

    model: str
    inputs: tuple[str, ...] = ()
    batch: int = 1
    dtype: str | None = None
    train: bool = False
    optimizer: str | None = None
    amp: str | None = None
    lengths: tuple[tuple[str, int], ...] = ()
    device: str = ""
    measure: str = ""
    channels_last: bool = False
    compiled: bool = False

    def make_key(self, made_by: Mapping[str, str]) -> str:
        """What this cell is known by: all that is asked, and the versions of what answers."""
        said = json.dumps([self.to_record(), dict(sorted(made_by.items()))], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:KEY_DIGITS]

    def to_record(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}


def read_cell(record: Mapping[str, Any]) -> Cell:
    """The cell of a record that came through JSON, where tuples are lists."""
    lengths = tuple((key, length) for key, length in record["lengths"])
    return Cell(**{**record, "inputs": tuple(record["inputs"]), "lengths": lengths})


@dataclass(frozen=True)
class SweptRow:
    """What came of a cell; the fields are the columns of every output, in base units, `None` where not known.

    Attributes:
        mode: "forward" or "train".
        dtype: of the pass; where it did not come to that, as asked for.
        activation_bytes: in the dtype of the pass.
        live_bytes, allocated_bytes, device_used_bytes: peaks of memory as `archprof memory` predicts them.
        predicted_seconds, predicted_low, predicted_high, standing: on `device`; see `facts.predicted.Standing`.
        measured_seconds, measured_low, measured_high: median of the rounds, and the least and greatest of them.
        measured_peak_bytes: above what there was before the pass.
        measured_on: what the device calls itself.
        top5_error: published, on ImageNet, in percent.
        complete: the counts are exact; otherwise they are lower bounds.
        why: in a sentence, where the status is not "ok".
        note: what else must be known, such as that it was done again.
        took_seconds: for this cell, the start of its process not among them.
        limit_seconds: that it might take.
        engine, worker: by what it was run, and on which host, in which process.
        tries: how often it was begun.
        source: by what the model was made: a version, or the hash of a file.
        key: see `Cell.make_key`.
        extra: columns of the file that are not ours.
    """

    model: str
    batch: int
    dtype: str | None
    mode: str
    optimizer: str | None
    amp: str | None
    inputs: str | None
    device: str | None
    measure: str | None
    channels_last: bool
    compiled: bool
    params: int | None = None
    trainable_params: int | None = None
    macs: int | None = None
    flops: int | None = None
    activation_bytes: int | None = None
    live_bytes: int | None = None
    allocated_bytes: int | None = None
    device_used_bytes: int | None = None
    predicted_seconds: float | None = None
    predicted_low: float | None = None
    predicted_high: float | None = None
    standing: str | None = None
    measured_seconds: float | None = None
    measured_low: float | None = None
    measured_high: float | None = None
    measured_peak_bytes: int | None = None
    measured_on: str | None = None
    top5_error: float | None = None
    status: Status = "error"
    complete: bool = False
    why: str | None = None
    note: str | None = None
    took_seconds: float | None = None
    limit_seconds: float | None = None
    engine: str | None = None
    worker: str | None = None
    tries: int = 1
    archprof: str | None = None
    torch: str | None = None
    source: str | None = None
    key: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        """By column, the foreign ones last."""
        return {**{name: getattr(self, name) for name in COLUMNS}, **self.extra}


COLUMNS = tuple(each.name for each in fields(SweptRow) if each.name != "extra")


def start_row(cell: Cell, key: str, made_by: Mapping[str, str]) -> SweptRow:
    """The row of a cell of which nothing is known yet."""
    lengths = [f"{name}={length}" for name, length in cell.lengths]
    return SweptRow(
        cell.model, cell.batch, cell.dtype, "train" if cell.train else "forward", cell.optimizer, cell.amp,
        " ".join([*cell.inputs, *lengths]) or None, cell.device or None, cell.measure or None, cell.channels_last,
        cell.compiled, archprof=made_by.get("archprof"), torch=made_by.get("torch"), source=made_by.get("source"),
        key=key,
    )  # fmt: skip


def fail_row(row: SweptRow, status: Status, why: str, **more: Any) -> SweptRow:
    """The row of a cell that has no numbers; a sentence of several lines becomes one."""
    return replace(row, status=status, why=" ".join(why.split()), **more)


def count_statuses(rows: Iterable[SweptRow]) -> dict[str, int]:
    """How many rows there are of each status that occurs."""
    seen = [row.status for row in rows]
    return {status: seen.count(status) for status in STATUSES if status in seen}


@cache
def column_types() -> dict[str, tuple[type, bool]]:
    """The type of each column, and whether it may be missing."""
    hints = get_type_hints(SweptRow)
    return {name: _take_apart(hints[name]) for name in COLUMNS}


def _take_apart(hint: Any) -> tuple[type, bool]:
    if get_origin(hint) is Literal:
        return str, False
    kinds = get_args(hint) or (hint,)
    return next(kind for kind in kinds if kind is not NoneType), NoneType in kinds


def read_row(record: Mapping[str, Any]) -> SweptRow:
    """The row of a record as a file held it: numbers may be texts, and what is missing "" or not a number.

    Raises:
        SweptFileError: a value is not what its column holds, in words that begin with the column.
    """
    known = {name: _read_value(name, record[name]) for name in COLUMNS if name in record}
    missing = [name for name in ("model", "batch", "mode", "status", "key") if known.get(name) is None]
    if missing:
        raise SweptFileError(f"{missing[0]} is missing")
    if known["status"] not in STATUSES:
        raise SweptFileError(f"status is {known['status']!r}, which is none of {', '.join(STATUSES)}")
    defaults = {"dtype": None, "optimizer": None, "amp": None, "inputs": None, "device": None, "measure": None}
    kept = {name: value for name, value in known.items() if value is not None}
    extra = {name: value for name, value in record.items() if name not in COLUMNS}
    return SweptRow(**{**defaults, "channels_last": False, "compiled": False, **kept, "extra": extra})


def _read_value(name: str, value: Any) -> Any:
    kind, _ = column_types()[name]
    if value is None or value == "" or value != value:  # NaN, and NaT of pandas
        return None
    try:
        return _READERS[kind](value)
    except (TypeError, ValueError, ArithmeticError):
        raise SweptFileError(f"{name} is {str(value)[:80]!r}, which is no {_KINDS[kind]}") from None


def _read_whole(value: Any) -> int:
    """A whole number, also where pandas made a float or text of it."""
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
        return _check_range(int(value))
    number = float(value)
    if isinstance(value, bool) or not number.is_integer() or abs(number) > 2**53:
        return _refuse() if isinstance(value, bool | str | float) else _check_range(int(value))
    return int(number)


def _read_number(value: Any) -> float:
    return _refuse() if isinstance(value, bool) else _check_range(float(value))


def _check_range(number: Number) -> Number:
    """No count or time is as large, and sums and ratios of what is smaller stay within what a float can hold."""
    return number if abs(number) < MOST else _refuse()


def _read_truth(value: Any) -> bool:
    said = str(value).strip().lower()
    return said == "true" if said in ("true", "false") else _refuse()


def _refuse() -> Any:
    raise ValueError


_READERS: dict[type, Any] = {int: _read_whole, float: _read_number, bool: _read_truth, str: str}
_KINDS = {int: "whole number", float: "number", bool: "true or false", str: "text"}
