"""What a table or a comparison prints itself as: the one place that their methods reach up to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from archprof.analysis.compare.comparison import Comparison
from archprof.analysis.table import Table
from archprof.render import latex, plain, text
from archprof.render.page.markup import escape_text, tag

if TYPE_CHECKING:
    from archprof.analysis.memory import MemoryAnswer
    from archprof.analysis.network.strip import Network

RENDERERS = {
    "csv": plain.render_csv,
    "md": plain.render_markdown,
    "json": plain.render_json,
    "latex": latex.render_latex,
    "notebook": plain.render_notebook_cell,
}
"""Formats that need nothing but the table, by the name in `--format`; "notebook" is a cell of HTML."""


def table_text(table: Table, width: int | None = None) -> str:
    """Plain text, as wide as it needs to be or at most `width`."""
    return text.render_text(table, width=width, color=False)


def table_as(form: str, table: Table) -> str:
    """The table in a format of `RENDERERS`."""
    return RENDERERS[form](table)


def comparison_markdown(comparison: Comparison) -> str:
    """The findings as a list, the totals, what changed or the stages; the layers of different nets."""
    said = "".join(f"* {plain.escape_markdown(str(finding))}\n" for finding in comparison.findings)
    totals = replace(comparison.summary, title="Totals")
    tables = [totals, comparison.parts, None if comparison.changes else comparison.layers]
    title = f"### {plain.escape_markdown(comparison.summary.title)}\n"
    return "\n".join([title, said, *(plain.render_markdown(table) for table in tables if table is not None)])


def comparison_latex(comparison: Comparison) -> str:
    """The whole comparison in LaTeX."""
    return latex.render_comparison(comparison)


def comparison_cell(comparison: Comparison) -> str:
    """What a notebook shows of a comparison: its summary, its findings and its parts, without style or script."""
    said = tag("ul", "".join(tag("li", escape_text(finding.text)) for finding in comparison.findings))
    parts = plain.render_notebook_cell(comparison.parts) if comparison.parts else ""
    return plain.render_notebook_cell(comparison.summary) + said + parts


def network_svg(network: Network) -> str:
    """The strip as a drawing that stands alone."""
    from archprof.render.page.strip_svg import draw_alone

    return draw_alone(network)


def memory_svg(answer: MemoryAnswer) -> str:
    """What fills memory as a drawing that stands alone."""
    from archprof.render.page.memory_page import draw_memory_alone

    return draw_memory_alone(answer.profile)


def memory_page(answer: MemoryAnswer) -> str:
    """The drawing and the tables as a page."""
    from archprof.render.page.memory_page import render_memory_page

    return render_memory_page(answer)
