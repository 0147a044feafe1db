"""Tables for other programs: CSV and JSON with raw values, Markdown for documents, a cell in a notebook.

Data formats hold only the rows that add up; formats for readers also hold the subtotals.
"""

from __future__ import annotations

import csv as csv_module
import html
import io
import json as json_module
import re
from collections.abc import Iterable

from archprof.analysis.table import Column, Row, Table, Value
from archprof.render.printed_columns import CellMarks, PrintedColumn, to_printed_columns
from archprof.wording import guard_formula, make_visible, show_shape


def render_csv(table: Table) -> str:
    """One header line of keys, one line per row; shapes as 1x64x56x56 with a blank between two, empty where missing.

    Texts are visible, and none is a formula of a spreadsheet.
    """
    out = io.StringIO()
    writer = csv_module.writer(out, lineterminator="\n")
    writer.writerow(map(_raw, table.names()))
    writer.writerows([_raw(value) for value in record.values()] for record in table.records())
    return out.getvalue()


def _raw(value: Value) -> str | int | float | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return " ".join(show_shape(shape, "") for shape in value)
    return guard_formula(make_visible(value)) if isinstance(value, str) else value


def render_json(table: Table) -> str:
    """One object, schema 1: title, columns, rows and total by column key, notes; every value in base units."""
    document = {
        "schema": 1,
        "title": table.title,
        "columns": [_column(column) for column in table.columns],
        "rows": table.records(),
        "total": None if table.total is None else table.record(table.total),
        "complete": table.complete,
        "notes": list(table.notes),
    }
    return json_module.dumps(document, indent=2, allow_nan=False) + "\n"


def _column(column: Column) -> dict[str, str]:
    return {"key": column.key, "header": column.header, "unit": column.unit, "meaning": column.meaning}


def render_markdown(table: Table) -> str:
    """A GitHub table with the unit in the header, aligned in its source too; the notes as a list below."""
    table, columns = table.shown, []
    for printed in to_printed_columns(table, CellMarks(escape_markdown)):
        total = [] if printed.total is None else [f"**{printed.total}**" if printed.total else ""]
        cells = [printed.headed, *printed.cells, *total]
        width = max(3, *map(len, cells))
        rule = "-" * (width - 1) + ":" if printed.column.numeric else "-" * width
        padded = [cell.rjust(width) if printed.column.numeric else cell.ljust(width) for cell in cells]
        columns.append([padded[0], rule, *padded[1:]])
    lines = [f"| {' | '.join(cells)} |" for cells in zip(*columns, strict=True)]
    notes = [f"- {escape_markdown(note)}" for note in table.notes]
    return _joined([f"**{escape_markdown(table.title)}**", "", *lines, *([""] if notes else []), *notes])


def render_notebook_cell(table: Table) -> str:
    """A small HTML table for a notebook cell, with its tree and bars; of styles it has only alignment and those."""
    table = table.shown
    columns = to_printed_columns(table, CellMarks(_html))
    aligns = ["right" if printed.column.numeric else "left" for printed in columns]
    head = _head_row(aligns, [printed.headed for printed in columns])
    body = "".join(_notebook_row(row, n, columns, aligns, table) for n, row in enumerate(table.rows))
    total = _head_row(aligns, [printed.total or "" for printed in columns]) if table.total is not None else ""
    notes = "<br>".join(map(_html, table.notes))
    return (
        f"<table><caption>{_html(table.title)}</caption><thead>{head}</thead><tbody>{body}</tbody>"
        f"<tfoot>{total}</tfoot></table><small>{notes}</small>"
    )


def _notebook_row(row: Row, n: int, columns: list[PrintedColumn], aligns: list[str], table: Table) -> str:
    first = columns[0].cells[n] if row.short is None else _html(row.short)
    cells = ["&nbsp;" * (4 * row.depth) + first, *(printed.cells[n] for printed in columns[1:])]
    share = next((i for i, column in enumerate(table.columns) if column.unit == "share"), None)
    at = next((i for i, printed in enumerate(columns) if printed.column.unit == "share"), None)
    styles = [f"text-align:{align};white-space:nowrap" for align in aligns]
    whole = None if share is None else row.cells[share]
    if at is not None and isinstance(whole, int | float) and whole > 0:
        styles[at] += f";background:linear-gradient(90deg,#9cc4e4 {100 * min(whole, 1):.0f}%,transparent 0)"
    inner = "".join(f'<td style="{style}">{cell}</td>' for style, cell in zip(styles, cells, strict=True))
    return f"<tr>{inner}</tr>"


def _joined(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


_MARKDOWN = re.compile(r"[\\`*\[\]|$~]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")


def escape_markdown(text: str) -> str:
    """Text that GitHub prints as it is; an underscore inside a word needs no escape there."""
    return html.escape(_MARKDOWN.sub(r"\\\g<0>", make_visible(text)), quote=False)


def _html(text: str) -> str:
    return html.escape(make_visible(text))


def _head_row(aligns: list[str], cells: Iterable[str]) -> str:
    inner = "".join(f'<th style="text-align:{align}">{cell}</th>' for align, cell in zip(aligns, cells, strict=True))
    return f"<tr>{inner}</tr>"
