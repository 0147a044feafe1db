"""What a table or a comparison prints itself as: the one place that their methods reach up to."""

from __future__ import annotations

from archprof.analysis.compare.comparison import Comparison
from archprof.analysis.table import Table
from archprof.render import plain, text
from archprof.render.page.markup import safe, tag

RENDERERS = {
    "csv": plain.csv, "md": plain.markdown, "json": plain.json, "latex": plain.latex, "notebook": plain.notebook,
}  # fmt: skip
"""Formats that need nothing but the table, by the name in `--format`; "notebook" is a cell of HTML."""


def table_text(table: Table, width: int | None = None) -> str:
    """Plain text, as wide as it needs to be or at most `width`."""
    return text.render(table, width=width, color=False)


def table_as(form: str, table: Table) -> str:
    """The table in a format of `RENDERERS`."""
    return RENDERERS[form](table)


def comparison_cell(comparison: Comparison) -> str:
    """What a notebook shows of a comparison: its summary, its findings and its stages, without style or script."""
    said = tag("ul", "".join(tag("li", safe(finding.text)) for finding in comparison.findings))
    return plain.notebook(comparison.summary) + said + plain.notebook(comparison.stages)
