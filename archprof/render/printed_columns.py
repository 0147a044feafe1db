"""What a cell says, in every format that people read; the formats differ only in their marks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, cast

from archprof.analysis.table import Column, Row, Shapes, Table, Value
from archprof.units import MISSING_MARK, UnitScale


class CellMarks(NamedTuple):
    """How a format writes what is not a number, and how it escapes what users named."""

    escape: Callable[[str], str]
    missing: str = "–"
    at_least: str = "≥ "
    times: str = "×"


@dataclass(frozen=True)
class PrintedColumn:
    """One printed column: its cells from top to bottom, and the cell of the total (`None` without one)."""

    column: Column
    header: str
    symbol: str
    cells: list[str]
    total: str | None

    @property
    def headed(self) -> str:
        """Its header with its unit."""
        return f"{self.header} [{self.symbol}]" if self.symbol else self.header

    @cached_property
    def right_aligned(self) -> bool:
        """Numbers stand at the right, and so do texts that are nothing but numbers."""
        return self.column.numeric or (
            self.column.unit == "text"
            and any(_NUMBER.fullmatch(cell) for cell in self.cells)
            and all(_NUMBER.fullmatch(cell) or cell == MISSING_MARK for cell in self.cells)
        )


_NUMBER = re.compile(r"\*?[\d.,]+([x-][\d.,]+)*")


def to_printed_columns(table: Table, marks: CellMarks) -> list[PrintedColumn]:
    """The table by printed columns; call numbers are left out, for the name of the row shows them."""
    return [
        PrintedColumn(
            column=column,
            header=marks.escape(column.header),
            symbol=marks.escape(scale.symbol) if scale else "",
            cells=[_cell(row, i, column, scale, marks) for row in table.rows],
            total=None if table.total is None else _cell(table.total, i, column, scale, marks, total=True),
        )
        for i, (column, scale) in enumerate(zip(table.columns, table.scales(), strict=True))
        if column.unit != "call"
    ]


def _cell(row: Row, i: int, column: Column, scale: UnitScale | None, marks: CellMarks, total: bool = False) -> str:
    if i == 0 and row.name is not None:
        return marks.escape(row.name)
    if scale is None:
        return _words(row.cells[i], column, marks, missing="" if total else marks.missing)
    text = _number(cast("float | None", row.cells[i]), scale, marks, row.half_intervals.get(column.key, 0.0))
    if column.key in row.below_resolution:
        return marks.escape(f"<{scale.format(row.below_resolution[column.key]).lstrip('<')}")
    return f"{marks.at_least}{text}" if column.key in row.bounds else text


def _number(value: float | None, scale: UnitScale, marks: CellMarks, within: float) -> str:
    return marks.missing if value is None else marks.escape(scale.format(value, within))


def _words(value: Value, column: Column, marks: CellMarks, missing: str) -> str:
    if value is None:
        return missing
    return show_shapes(cast(Shapes, value), marks) if column.unit == "shapes" else marks.escape(str(value))


def show_shapes(value: Shapes, marks: CellMarks) -> str:
    """The first shape, and how many there are beside it: `1×64×56×56 +1`."""
    if not value:
        return marks.missing
    more = f" +{len(value) - 1}" if len(value) > 1 else ""
    return (marks.times.join(map(str, value[0])) or "scalar") + more
