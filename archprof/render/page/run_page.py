"""A run of training as one HTML file: curves, gradient flow and filters, each with its numbers; it needs no script."""

from __future__ import annotations

from pathlib import Path
from string import Template

from archprof.analysis.depth_charts import build_run_charts
from archprof.analysis.tables.run import describe_run, tabulate_run
from archprof.facts.trained import TrainingRun, load_run
from archprof.render.page.assets import join_styles, read_asset, write_policy
from archprof.render.page.depth_svg import render_line_chart
from archprof.render.page.filter_png import render_filters
from archprof.render.page.html_table import render_html_table, write_column_style
from archprof.render.page.markup import escape_sentence, escape_text, tag
from archprof.version import __version__

FILTER_STYLE = (
    ".filters{display:flex;flex-wrap:wrap;gap:16px}.filters img{display:block;image-rendering:pixelated}"
    ".filters span{font-size:12px;color:var(--soft)}"
)


def render_run(folder: str | Path, title: str | None = None) -> str:
    """The page about the run in a folder."""
    return render_run_page(load_run(folder), title)


def render_run_page(run: TrainingRun, title: str | None = None) -> str:
    """The whole file; equal runs give equal bytes."""
    table = tabulate_run(run)
    asked, shown = describe_run(run)[0], render_html_table(table, "run")
    return fill_page(title or table.title, "trained", asked, shown, _render_sections(run), FILTER_STYLE)


def fill_page(title: str, badge: str, asked: str, table: str, sections: str, more_style: str = "") -> str:
    """A page without a script: title and question in words, the first table, and sections, both as markup."""
    style = join_styles(["page.css"]) + write_column_style(table + sections) + more_style
    return Template(read_asset("run.html")).substitute(
        policy=write_policy([], style),
        version=escape_text(__version__),
        title=escape_text(title),
        style=style,
        badge=escape_text(badge),
        asked=escape_sentence(asked),
        table=table,
        sections=sections,
    )


def _render_sections(run: TrainingRun) -> str:
    charts = build_run_charts(run)
    parts = {
        "curves": ("Curves", [render_line_chart(one, one.key) for one in charts if not one.log]),
        "gradients": ("Gradient flow", [render_line_chart(one, one.key) for one in charts if one.log]),
        "filters": (
            "Filters of the first layer",
            [render_filters(one.filters, one.name, f"filters{i}") for i, one in enumerate(run.models) if one.filters],
        ),
    }
    return "".join(
        tag("section", tag("h2", heading) + tag("div", "".join(shown), class_="gallery"), id=id)
        for id, (heading, shown) in parts.items()
        if shown
    )
