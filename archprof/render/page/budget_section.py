"""How a changed model stands against its limits, as the page says it."""

from __future__ import annotations

from collections.abc import Sequence

from archprof.budgets.verdicts import Verdict
from archprof.render import ci
from archprof.render.page.html_table import render_html_table
from archprof.render.page.markup import escape_text, tag


def render_budget_line(verdicts: Sequence[Verdict]) -> str:
    """The outcome in one line, which leads to the limits."""
    if not verdicts:
        return ""
    kept = all(verdict.ok for verdict in verdicts)
    link = tag("a", escape_text(f"Budgets: {ci.summarise_outcome(verdicts)}"), href="#budgets")
    return tag("p", link, class_=f"budget {'kept' if kept else 'broken'}")


def render_budget_section(verdicts: Sequence[Verdict]) -> str:
    """Every limit of each model, the value and the verdict."""
    tables = [render_html_table(verdict.table, f"limits{i}") for i, verdict in enumerate(verdicts)]
    return tag("section", tag("h2", "Budgets") + "".join(tables), id="budgets") if tables else ""
