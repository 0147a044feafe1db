"""A `Table` as a table of the page: raw numbers behind the printed ones, a bar in each cell, ids to link to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from archprof.analysis.table import OutlinedRow, Row, Table
from archprof.render.page.markup import escape_sentence, escape_text, tag, void_tag
from archprof.render.printed_columns import CellMarks, PrintedColumn, to_printed_columns
from archprof.units import MISSING_MARK

MANY_ROWS = 1000
"""From so many rows on, the browser lays a table out only when it comes near the window."""

MAX_NAME_CHARACTERS = 48
"""A longer name is cut by the style, and stands whole in its title."""

UNLINKED_TABLES = ("layers", "summary", "changes")
"""To whose rows nothing leads; in a page of many rows their names weigh."""

FILTER_HELP = "Filter: path kind:Conv2d >1%"


def render_html_table(table: Table, id: str, title: str = "", switch: str = "", filter_help: str = FILTER_HELP) -> str:
    """The table with its tools, which a script wakes; row number n has the id `<id>-<n>`.

    Rows that an outline closes away are hidden, and behind a row that a script opens. `switch`: what chooses columns;
    `filter_help`: what can be asked.
    """
    outline = table.outline or tuple(OutlinedRow(row, at) for at, row in enumerate(table.rows))
    drawn = replace(table, rows=tuple(one.row for one in outline), folded=(), outline=())
    columns = to_printed_columns(drawn, CellMarks(escape_text))
    cells = [i for i, column in enumerate(table.columns) if column.unit != "call"]
    wholes = [_whole(drawn, i) for i in cells]
    whole_names = _has_whole_names(drawn.rows)
    parents = [None] * len(outline) if whole_names else _parents(drawn.rows)
    body = "".join(
        _row(n, one, parent, columns, cells, wholes, id)
        for n, (one, parent) in enumerate(zip(outline, parents, strict=True))
    )
    foot = "" if table.total is None else tag("tfoot", tag("tr", "".join(map(_total, columns))))
    caption = tag("caption", escape_text(title or table.title))
    scales = drawn.scales()
    head = tag("tr", "".join(map(_head, columns, wholes, [scales[i] for i in cells])))
    texts = " ".join(f"t{n}" for n, one in enumerate(columns, 1) if n > 1 and not one.right_aligned)
    inner = caption + tag("thead", head) + tag("tbody", body) + foot
    inner = tag("table", inner, class_=texts or None, data_n=whole_names)
    notes = "".join(tag("li", escape_sentence(note)) for note in table.notes)
    return tag(
        "div",
        _tools(drawn, outline, filter_help)
        + switch
        + tag("div", inner, class_="scroll")
        + (tag("ul", notes, class_="note") if notes else ""),
        class_="sheet many" if len(outline) > MANY_ROWS else "sheet",
        id=id,
    )


def write_column_style(markup: str) -> str:
    """What sets columns of text to the left: a table says once which they are, for it has thousands of cells."""
    classes = re.findall(r'<table class=(?:"([t\d ]+)"|(t\d+))', markup)
    columns = sorted({int(word[1:]) for either in classes for word in "".join(either).split()})
    return f"{','.join(f'.t{n} td:nth-child({n})' for n in columns)}{{text-align:left}}" if columns else ""


def _tools(table: Table, outline: Sequence[OutlinedRow], filter_help: str) -> str:
    """What a script needs; without one it stays hidden."""
    button = [("fold", "Fold all"), ("unfold", "Unfold all")] if any(row.depth for row in table.rows) else []
    button += [("reset", "As at first"), ("csv", "Copy CSV"), ("md", "Copy Markdown")]
    search = void_tag("input", type="search", placeholder=filter_help, aria_label=f"Filter rows of {table.title}")
    buttons = "".join(tag("button", text, type="button", data_do=do) for do, text in button)
    said = tag("output", "", aria_live="polite")
    closed = sum(one.hidden for one in outline)
    if closed:
        said += tag("span", f"{sum(one.at is not None for one in outline):,} rows, folded", class_="folded")
    return tag("div", search + buttons + said, class_="tools", hidden=True)


def _head(printed: PrintedColumn, whole: float, scale: object) -> str:
    """With what a script needs to add up rows: the whole, and how its numbers print."""
    unit = f" {tag('small', printed.symbol)}" if printed.symbol else ""
    said = {"data_k": printed.column.key, "title": printed.column.meaning}
    if printed.column.is_sum and whole:
        said |= {"data_sum": f"{whole:.10g}", "data_f": f"{getattr(scale, 'factor', 1):.10g}"}
        said |= {"data_g": str(getattr(scale, "digits", 0))}
    header = f"{printed.header} A" if printed.column.key.endswith("_ratio") else printed.header
    kinds = ("n" if printed.right_aligned else "", "" if printed.column.numeric else "t")
    return tag("th", header + unit, scope="col", class_=" ".join(filter(None, kinds)), **said)


def _whole(table: Table, at: int) -> float:
    """What a full bar of a column stands for: its total, or else its largest value; 0: it has no bars."""
    column = table.columns[at]
    if not column.numeric or column.is_ratio:
        return 0
    whole = table.total.cells[at] if table.total and column.is_sum else None
    if isinstance(whole, int | float):
        return float(whole)
    family = [i for i, one in enumerate(table.columns) if i == at or (column.family and one.family == column.family)]
    values = [row.cells[i] for row in table.rows for i in family]
    return float(max((value for value in values if isinstance(value, int | float)), default=0))


def _row(
    n: int,
    one: OutlinedRow,
    parent: Row | None,
    columns: list[PrintedColumn],
    raw: list[int],
    wholes: list[float],
    id: str,
) -> str:
    row = one.row
    name = row.name or ""
    first = tag(
        "th",
        escape_text(row.short) if row.short is not None else columns[0].cells[n],
        data_n=None if row.short is None or name == _derived(row, parent) else (name if name != row.short else True),
        title=name if len(name) > MAX_NAME_CHARACTERS else None,
    )
    cells = [
        _cell(printed.cells[n], row.cells[at], printed, whole)
        for printed, at, whole in zip(columns[1:], raw[1:], wholes[1:], strict=True)
    ]
    kinds = [word for word, is_so in (("sub", row.subtotal), ("made", one.at is None)) if is_so]
    place = f"{id}-{one.at}" if one.at is not None and id not in UNLINKED_TABLES else None
    said = {"data_d": row.depth or None, "class_": " ".join(kinds) or None, "hidden": one.hidden, "data_s": one.small}
    return tag("tr", first + "".join(cells), id=place, **said)


def _has_whole_names(rows: Sequence[Row]) -> bool:
    """Whether rows that are indented print the names that they have anywhere."""
    return any(row.depth for row in rows) and all(row.short in (None, row.name) for row in rows)


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


def _cell(text: str, value: object, printed: PrintedColumn, whole: float) -> str:
    if not printed.column.numeric or not isinstance(value, int | float):
        return tag("td", "" if text == MISSING_MARK else text)  # the style writes the mark
    length = min(round(100 * value / whole), 100) if whole else 0
    return tag(
        "td",
        text,
        class_=f"b{length}" if length > 0 else None,
        data_v=None if text == "0" else _raw(value, printed.column.unit),
    )


def _raw(value: float, unit: str) -> object:
    """What a script reads: of a time everything, for a ratio divides it; of what is only sorted what is to be seen."""
    return (f"{value:.15g}" if unit == "seconds" else f"{value:.6g}") if isinstance(value, float) else value


def _total(printed: PrintedColumn) -> str:
    return tag("td", printed.total or "")
