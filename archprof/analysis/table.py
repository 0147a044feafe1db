"""What every question is answered with: named columns of raw values, rows, a total and notes.

A table holds base units and `None`; how that is printed is the renderers' business.
"""

from __future__ import annotations

import shutil
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

from archprof import units
from archprof.units import Unit

Shapes: TypeAlias = tuple[tuple[int, ...], ...]
Value: TypeAlias = "int | float | str | Shapes | None"


@dataclass(frozen=True, slots=True)
class Column:
    """What one column holds.

    Attributes:
        key: its name in `--columns`, in JSON and in CSV.
        header: its name for a reader, without the unit.
        unit: of the raw values. "call" is a call number, which a printed table shows with the path.
        meaning: one line for the help and the documentation.
        rank: the highest is the first to go when the page is too narrow; 0 always stays.
        family: columns of one family print with the same prefix; "" = a family of its own.
        is_ratio: it sets other columns against each other.
        is_sum: its values add up to its total, so that each is a share of that.
    """

    key: str
    header: str
    unit: Unit
    meaning: str
    rank: int = 1
    family: str = ""
    is_ratio: bool = False
    is_sum: bool = False

    @property
    def numeric(self) -> bool:
        return self.unit in units.UNIT_LADDERS


@dataclass(frozen=True, slots=True)
class Row:
    """One line.

    Attributes:
        cells: raw values, in the order of the columns.
        name: what a reader sees in the first column; `None` = the first cell itself.
        short: the same where the rows above show what it belongs to.
        depth: how far to indent it.
        subtotal: it sums the deeper rows under it, so it is no part of the column's sum.
        bounds: keys of the columns whose value here is a lower bound.
        half_intervals: what a measured value is right within, by column key: no digit below it is printed.
        below_resolution: by column key, what can be told at least, where the value here is less: that is printed
            behind a "<".
        stages: the names of the stages of models that stand in it beside each other.
    """

    cells: tuple[Value, ...]
    name: str | None = None
    short: str | None = None
    depth: int = 0
    subtotal: bool = False
    bounds: frozenset[str] = frozenset()
    half_intervals: Mapping[str, float] = field(default_factory=dict)
    below_resolution: Mapping[str, float] = field(default_factory=dict)
    stages: tuple[str, ...] = ()


class OutlinedRow(NamedTuple):
    """A row of a table that opens and closes: see `archprof.analysis.tables.fold.OutlineRow`."""

    row: Row
    at: int | None
    hidden: bool = False
    small: bool = False
    times: int = 1


class Legend(str):
    """A note of sentences that each explain a column, by its key: one that has no room takes its sentence along."""

    sentences: Mapping[str, str]

    @classmethod
    def of(cls, sentences: Mapping[str, str]) -> Legend:
        """The sentences in one note."""
        made = cls(" ".join(sentences.values()))
        made.sentences = sentences
        return made


def explain_shown(note: str, dropped: Container[str]) -> str:
    """What the note says where the columns with these keys are not shown."""
    if not isinstance(note, Legend):
        return note
    return " ".join(text for key, text in note.sentences.items() if key not in dropped)


@dataclass(frozen=True)
class Table:
    """The answer to one question. `notes` are the lines to print under it.

    The rows that are no subtotals add up to `total`; only they go into data formats (CSV, JSON, a frame),
    so that the sum of a column there is its total.

    Attributes:
        folded: what a reader sees in place of many `rows`: equal ones told once. They add up to `total` too.
        outline: the rows as they open and close on a page, with the sums that close them away; none: as they are.
        fold_notes: the lines that then stand under it.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    total: Row | None = None
    notes: tuple[str, ...] = ()
    folded: tuple[Row, ...] = ()
    outline: tuple[OutlinedRow, ...] = ()
    fold_notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """No value is a lower bound."""
        return not any(row.bounds for row in self.lines())

    @property
    def shown(self) -> Table:
        """The table as a reader first sees it."""
        if not self.folded:
            return self
        return replace(self, rows=self.folded, folded=(), notes=(*self.fold_notes, *self.notes))

    def unfolded(self) -> Table:
        """The table with every row, for a reader too."""
        return replace(self, folded=())

    def lines(self) -> Iterator[Row]:
        """Every row, then the total."""
        yield from self.rows
        if self.total is not None:
            yield self.total

    def names(self) -> list[str]:
        """The fields of `records()`: the keys of the columns and `complete`."""
        return [*(column.key for column in self.columns), "complete"]

    def records(self) -> list[dict[str, Value]]:
        """The rows that add up, raw, by column key; `complete` is false where a value is a lower bound."""
        return [self.record(row) for row in self.rows if not row.subtotal]

    def record(self, row: Row) -> dict[str, Value]:
        return dict(zip(self.names(), (*row.cells, not row.bounds), strict=True))

    def scales(self) -> list[units.UnitScale | None]:
        """How each column prints, `None` for one that holds no numbers: one prefix for rows and total."""
        values: dict[str, list[Any]] = {}
        totals: dict[str, list[Any]] = {}
        lines = list(self.lines())
        for i, column in enumerate(self.columns):
            family = column.family or column.key
            values.setdefault(family, []).extend([row.below_resolution.get(column.key, row.cells[i]) for row in lines])
            totals.setdefault(family, []).append(self.total.cells[i] if self.total and column.is_sum else None)
        return [self._scale(column, values, totals) if column.numeric else None for column in self.columns]

    def _scale(self, column: Column, values: dict[str, list[Any]], totals: dict[str, list[Any]]) -> units.UnitScale:
        """By the largest total of its family, where what it holds adds up."""
        family = column.family or column.key
        largest = max((total for total in totals[family] if total), default=None)
        if largest is None or column.unit not in ("count", "bytes"):
            return units.choose_unit_scale(values[family], column.unit)
        return units.choose_total_scale(largest, column.unit)

    def to_frame(self) -> Any:
        """The rows that add up as a pandas DataFrame, raw; shapes are tuples, and what is missing stays `None`."""
        from archprof.analysis.frame import make_frame

        return make_frame(self.records(), self.names())

    def to_text(self, width: int | None = None) -> str:
        """Plain text, as wide as it needs to be or at most `width`."""
        from archprof.analysis.printing import formats

        return formats.table_text(self, width)

    def to_csv(self) -> str:
        return self._rendered("csv")

    def to_markdown(self) -> str:
        return self._rendered("md")

    def to_json(self) -> str:
        return self._rendered("json")

    def to_latex(self) -> str:
        return self._rendered("latex")

    def _repr_html_(self) -> str:
        return self._rendered("notebook")

    def _rendered(self, form: str) -> str:
        from archprof.analysis.printing import formats

        return formats.table_as(form, self)

    def __str__(self) -> str:
        """Plain text that fits the terminal, where there is one."""
        return self.to_text(shutil.get_terminal_size((0, 0)).columns or None)
