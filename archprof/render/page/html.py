"""The report as one HTML file: it asks the network for nothing, and reads without a script.

Everything is there as text, tables and drawn pictures; the script adds sorting, folding, opening and copying. Plotly
draws the pictures for those who ask for it. Equal reports give equal bytes.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator, Sequence
from functools import cache
from string import Template, ascii_uppercase
from typing import Literal

from archprof.analysis.compare.findings import Finding
from archprof.analysis.report.charts import ChartData
from archprof.analysis.report.page import ModelPage, Report
from archprof.analysis.table import Table
from archprof.budgets.verdicts import Verdict
from archprof.collector import shorten_collections
from archprof.render.page import figures, memory_svg, treemap_svg
from archprof.render.page.assets import join_scripts, join_styles, read_asset, write_policy
from archprof.render.page.budget_section import render_budget_line, render_budget_section
from archprof.render.page.contest_section import render_contest, write_switch_style
from archprof.render.page.depth_svg import render_line_chart
from archprof.render.page.html_table import render_html_table, write_column_style
from archprof.render.page.markup import embed_json, escape_sentence, escape_text, tag
from archprof.render.page.metric_switch import render_metric_switch, write_metric_style
from archprof.render.page.strip_section import RenderedStrips, render_strips
from archprof.render.page.tile_section import render_tiles
from archprof.version import __version__

PlotlyEmbedding = Literal["inline", "gzip", "none"]

MIN_PLACES = 3
"""A picture with fewer points than this shows nothing that its numbers do not."""

DETAIL_CHARTS = ("intensity",)
"""Pictures, by their keys, that a model has only on a page of its own."""

SWITCHED_TABLES = ("stages", "layers")
"""Tables of several models that show one metric at a time; what changed is shown whole."""

MAX_LINK_CHARACTERS, MAX_LINKS_CHARACTERS = 30, 44
"""Characters of a link to a row, and of all links of a finding."""


@shorten_collections()
def render_page(report: Report, *, plotly: PlotlyEmbedding | bool = "none", budgets: Sequence[Verdict] = ()) -> str:
    """The whole file.

    Args:
        plotly: "gzip" embeds plotly.js too, compressed, which a current browser unpacks, "inline" as it is. The drawn
            pictures are there in each case, and stay where plotly cannot run. `True` is "gzip".
        budgets: how the model of a change stands against its limits.
    """
    if isinstance(plotly, bool):
        plotly = "gzip" if plotly else "none"
    names = ("tables.js", "page.js", "pictures.js", *(() if plotly == "none" else ("plotly.js",)))
    script = join_scripts(names)
    pictures, strips, contest = dict(_pictures(report)), _strips(report), render_contest(_scatters(report))
    sections = render_budget_section(budgets) + (strips.shown if report.comparison else "") + _sections(report)
    style = join_styles(["page.css", "strip.css"]) + write_switch_style() + write_column_style(sections)
    style += "".join(write_metric_style(table, id) for id, table in _joint_tables(report) if id in SWITCHED_TABLES)
    library = "" if plotly == "none" else _plotly()
    return Template(read_asset("page.html")).substitute(
        policy=write_policy([script, library], None) if library else write_policy([script], style),
        version=escape_text(__version__),
        title=escape_text(report.title),
        style=style,
        badge=escape_text(report.badge),
        asked=escape_sentence(" · ".join(report.subtitle)),
        nav=_nav(report, "id=pictures" in sections),
        tiles=render_tiles(report.models) + render_budget_line(budgets),
        findings=_findings(report),
        strips="" if report.comparison else strips.shown,
        beside=contest.shown or _savings(report),
        sections=sections,
        appendix=_appendix(report),
        payload=_pack_insides(strips.packed + contest.packed)
        + _payload(pictures, library, plotly)
        + f"<script>{script}</script>",
    )


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _payload(pictures: dict[str, ChartData], library: str, plotly: PlotlyEmbedding) -> str:
    """The figures as data and plotly itself."""
    if plotly == "none":
        return ""
    drawn = embed_json({id: figures.to_plotly(series) for id, series in pictures.items()})
    if plotly == "inline":
        return f'<script type="application/json" id="figures">{drawn}</script><script>{library}</script>'
    return "".join(
        f'<script type="application/gzip" id="{id}">{_packed(text)}</script>'
        for id, text in (("figures", drawn), ("plotly", library))
    )


@cache
def _packed(text: str) -> str:
    """The text, gzipped, in base64; without a time, so that equal texts give equal bytes."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _pictures(report: Report) -> Iterator[tuple[str, ChartData]]:
    """Every picture with the id it has in the page."""
    for series in report.charts:
        if series not in _scatters(report)[1:]:
            yield f"fig-{series.key}", series
    for i, model in enumerate(report.models):
        for series in _charts_of_model(report, model):
            yield f"fig-m{i}-{series.key}", series


def _scatters(report: Report) -> list[ChartData]:
    """Those that share one picture; the first of them stands in it."""
    return [series for series in report.charts if series.kind == "scatter"]


def _charts_of_model(report: Report, model: ModelPage) -> list[ChartData]:
    """The pictures of a model; among several, what all of them have in one picture is not drawn again for each."""
    if report.comparison is None:
        return [series for series in model.charts if len(series.list_places()) >= MIN_PLACES]
    together = {series.key for series in report.charts}
    return [series for series in model.charts if series.key not in together.union(DETAIL_CHARTS)]


class _RowAnchors:
    """Where the page shows what a finding speaks of."""

    def __init__(self, report: Report) -> None:
        self.models: list[dict[str, str]] = []
        for i, model in enumerate(report.models):
            rows: dict[str, str] = {}
            for n, row in enumerate(model.table.rows):
                for name in (str(row.cells[0]), row.name or ""):
                    rows.setdefault(name, f"m{i}-{n}")
            self.models.append(rows)
        self.stages: dict[str, str] = {}
        if report.comparison and report.comparison.parts is report.comparison.stages:
            for n, row in enumerate(report.comparison.stages.rows):
                for name in row.stages:
                    self.stages.setdefault(name, f"stages-{n}")
        self.summary = "summary" if report.comparison else "m0"

    def find_module_row(self, model: int, path: str) -> str | None:
        return self.models[model].get(path)

    def find_finding_rows(self, finding: Finding) -> list[tuple[str, str]]:
        """Name and id of each row; of the summary, where it names none."""
        found = []
        for name in finding.rows:
            places = (self.models[i].get(name) for i in finding.models if i < len(self.models))
            place = next((place for place in places if place), None) or self.stages.get(name)
            if place:
                found.append((name, place))
        return found or [("summary" if self.summary == "summary" else "layers", self.summary)]


def _findings(report: Report) -> str:
    rows = _RowAnchors(report)
    said = report.comparison.findings if report.comparison else report.models[0].findings
    items = []
    for finding in said:
        links = tag("span", _links(rows.find_finding_rows(finding)), class_="rows")
        items.append(tag("li", f"{escape_sentence(finding.text)} {links}"))
    return tag("ol", "".join(items)) if items else tag("p", "Nothing stands out.")


def _savings(report: Report) -> str:
    """What could be changed in the one model of a page, and what that would save."""
    if report.comparison or not report.models[0].savings:
        return ""
    name = report.models[0].profile.model
    items = []
    for saving in report.models[0].savings:
        how = f" {tag('code', escape_text(f'archprof whatif {name} {saving.option}'))}" if saving.option else ""
        items.append(tag("li", escape_sentence(saving.text) + how))
    return tag("div", tag("h2", "Where to save") + tag("ol", "".join(items)), class_="findings")


def _links(found: Sequence[tuple[str, str]]) -> str:
    """Links to the first rows, as many as have room in a line, and how many more there are."""
    shown: list[str] = []
    room = MAX_LINKS_CHARACTERS
    for name, id in found:
        short = name if len(name) <= MAX_LINK_CHARACTERS else f"…{name[1 - MAX_LINK_CHARACTERS :]}"
        room -= len(short) + 2
        if shown and room < 0:
            break
        shown.append(tag("a", escape_text(short), href=f"#{id}", title=name if short != name else None))
    if len(found) > len(shown):
        words, places = f"and {len(found) - len(shown):,} more", ",".join(id for _, id in found)
        shown.append(tag("a", words, href=f"#{found[len(shown)][1]}", data_rows=places))
    return " ".join(shown)


def _strips(report: Report) -> RenderedStrips:
    letters = [_letter(report, i).strip() for i in range(len(report.models))]
    return render_strips([page.network for page in report.models], letters, _RowAnchors(report).find_module_row)


def _pack_insides(packed: str) -> str:
    return f'<script type="application/gzip" id="insides">{_packed(packed)}</script>' if packed else ""


def _nav(report: Report, pictured: bool) -> str:
    links = [("#summary", "Side by side")] if report.comparison else []
    links += [(f"#model-{i}", f"{_letter(report, i)}{page.profile.model}") for i, page in enumerate(report.models)]
    links = links if report.comparison else [("#model-0", "Layers"), *([("#pictures", "Pictures")] if pictured else [])]
    links += [("#method", "Method")]
    return tag("nav", "".join(tag("a", escape_text(text), href=href) for href, text in links), aria_label="Sections")


def _letter(report: Report, i: int) -> str:
    return f"{ascii_uppercase[i]} " if len(report.models) > 1 else ""


def _sections(report: Report) -> str:
    return (
        (_joint_section(report) if report.comparison else "")
        + _probe_section(report)
        + "".join(_model(report, i, model) for i, model in enumerate(report.models))
    )


def _probe_section(report: Report) -> str:
    """What real batches did along the depth, all models in each picture."""
    drawn = "".join(render_line_chart(chart, f"fig-probe-{chart.key}") for chart in report.probe_charts)
    return tag("section", tag("h2", "Real batches") + tag("div", drawn, class_="gallery"), id="probe") if drawn else ""


def _joint_section(report: Report) -> str:
    """What is said of all models at once."""
    assert report.comparison is not None
    tables = report.comparison
    parts = [
        tag("h2", "Side by side"),
        render_html_table(tables.summary, "summary"),
        _gallery(_figures([series for series in report.charts if series.kind != "scatter"], "fig")),
        *(render_html_table(table, id, switch=_switch(table, id)) for id, table in _joint_tables(report)),
    ]
    return tag("section", "".join(parts), id="together")


def _switch(table: Table, id: str) -> str:
    return render_metric_switch(table, id) if id in SWITCHED_TABLES else ""


def _joint_tables(report: Report) -> list[tuple[str, Table]]:
    """What changed or the stages beside each other, and the layers, with their ids."""
    if report.comparison is None:
        return []
    tables = report.comparison
    parts = [("changes" if tables.changes else "stages", tables.parts)] if tables.parts else []
    return [*parts, ("layers", tables.layers)]


def _model(report: Report, i: int, model: ModelPage) -> str:
    name = model.profile.model
    heading = tag("h2", escape_text(f"{_letter(report, i)}{name}") if report.comparison else "Layers")
    body = render_html_table(model.table, f"m{i}", f"Every call of every layer of {name}")
    charts = _figures(_charts_of_model(report, model), f"fig-m{i}")
    if report.comparison:
        return tag("section", heading + body + _gallery(charts), id=f"model-{i}")
    charts.append(memory_svg.render_memory_figure(model.profile, f"fig-m{i}-memory"))
    pictures = treemap_svg.draw_switch(model, _RowAnchors(report).find_module_row) + _gallery(charts)
    drawn = tag("section", tag("h2", "Pictures") + pictures, id="pictures") if pictures else ""
    return tag("section", heading + body, id=f"model-{i}") + drawn


def _figures(pictures: Sequence[ChartData], prefix: str) -> list[str]:
    return [figures.render_figure(series, f"{prefix}-{series.key}") for series in pictures if any(series.points)]


def _gallery(drawn: Sequence[str]) -> str:
    return tag("div", "".join(drawn), class_="gallery") if any(drawn) else ""


def _appendix(report: Report) -> str:
    parts = []
    for head, text in report.appendix:
        if isinstance(text, str):
            content = tag("pre", escape_text(text))
        else:
            content = tag("ul", "".join(tag("li", escape_sentence(line)) for line in text))
        parts.append(tag("div", tag("h3", escape_text(head)) + content))
    return "".join(parts)
