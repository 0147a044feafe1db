"""A `Table` as a table of the page: raw numbers behind the printed ones, a bar in each cell, ids to link to."""

from __future__ import annotations

from collections.abc import Sequence

from archprof.analysis.table import Row, Table
from archprof.render.page.markup import escape_text, tag, void_tag
from archprof.render.printed_columns import CellMarks, PrintedColumn, to_printed_columns

MANY_ROWS = 1000
"""From so many rows on, the browser lays a table out only when it comes near the window."""


def render_html_table(table: Table, id: str, title: str = "") -> str:
    """The table with its tools, which a script wakes; row number n has the id `<id>-<n>`."""
    columns = to_printed_columns(table, CellMarks(escape_text))
    largest = [_largest(table, printed) for printed in columns]
    raw = [i for i, column in enumerate(table.columns) if column.unit != "call"]
    head = tag("tr", "".join(_head(printed) for printed in columns))
    body = "".join(
        _row(n, row, parent, columns, raw, largest, f"{id}-{n}")
        for n, (row, parent) in enumerate(zip(table.rows, _parents(table.rows), strict=True))
    )
    foot = "" if table.total is None else tag("tfoot", tag("tr", "".join(map(_total, columns))))
    caption = tag("caption", escape_text(title or table.title))
    inner = tag("table", caption + tag("thead", head) + tag("tbody", body) + foot)
    scroll = tag("div", inner, class_="scroll")
    notes = (
        tag("ul", "".join(tag("li", escape_text(note)) for note in table.notes), class_="note") if table.notes else ""
    )
    return tag(
        "div",
        _tools(table, id) + scroll + notes,
        class_="sheet many" if len(table.rows) > MANY_ROWS else "sheet",
        id=id,
    )


def _tools(table: Table, id: str) -> str:
    """What a script needs; without one it stays hidden."""
    button = [("fold", "Fold all"), ("unfold", "Unfold all")] if any(row.depth for row in table.rows) else []
    button += [("reset", "Original order"), ("csv", "Copy CSV"), ("md", "Copy Markdown")]
    search = void_tag("input", type="search", placeholder="Filter rows", aria_label=f"Filter rows of {table.title}")
    buttons = "".join(tag("button", text, type="button", data_do=do) for do, text in button)
    return tag("div", search + buttons + tag("output", "", aria_live="polite"), class_="tools", hidden=True)


def _head(printed: PrintedColumn) -> str:
    unit = f" {tag('small', printed.symbol)}" if printed.symbol else ""
    kind = "n" if printed.column.numeric else None
    said = {"data_k": printed.column.key, "title": printed.column.meaning}
    return tag("th", printed.header + unit, scope="col", class_=kind, **said)


def _largest(table: Table, printed: PrintedColumn) -> float:
    """What the longest bar of a column stands for: the largest value of a row that is no subtotal."""
    if not printed.column.numeric or printed.column.is_ratio:
        return 0
    at = table.columns.index(printed.column)
    values = [row.cells[at] for row in table.rows if not row.subtotal]
    return max((value for value in values if isinstance(value, int | float)), default=0)


def _row(
    n: int, row: Row, parent: Row | None, columns: list[PrintedColumn], raw: list[int], largest: list[float], id: str
) -> str:
    full, short = row.name, row.short
    first = tag(
        "th",
        escape_text(short) if short is not None else columns[0].cells[n],
        data_n=None if short is None or full == _derived(row, parent) else full,
    )
    cells = [
        _cell(printed.cells[n], row.cells[at], printed, top, row.subtotal)
        for printed, at, top in zip(columns[1:], raw[1:], largest[1:], strict=True)
    ]
    kind = "sub" if row.subtotal else None
    return tag("tr", first + "".join(cells), id=id, data_d=row.depth or None, class_=kind)


def _parents(rows: Sequence[Row]) -> list[Row | None]:
    """The row that each row is indented under."""
    above: list[Row] = []
    parents: list[Row | None] = []
    for row in rows:
        del above[row.depth :]
        parents.append(above[-1] if above else None)
        above.append(row)
    return parents


def _derived(row: Row, parent: Row | None) -> str | None:
    """The full name as the script works it out where none is given: that of the parent, and the row's own."""
    if parent is None or row.short is None:
        return row.short
    return f"{parent.name}{' ' if row.short.startswith('(') else '.'}{row.short}"


def _cell(text: str, value: object, printed: PrintedColumn, largest: float, subtotal: bool) -> str:
    if not printed.column.numeric or not isinstance(value, int | float):
        return tag("td", text, class_=None if printed.column.numeric else "t")
    length = 0 if subtotal or not largest else round(100 * value / largest)
    return tag(
        "td",
        text,
        class_=f"b{length}" if length > 0 else None,
        data_v=None if text == "0" else f"{value:.6g}" if isinstance(value, float) else value,
    )


def _total(printed: PrintedColumn) -> str:
    return tag("td", printed.total or "", class_=None if printed.column.numeric else "t")
