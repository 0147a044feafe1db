"""A sweep as one HTML file: what can be set against what in one picture, and every row; it asks the network nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import Template

from archprof.analysis.report.swept_scatter import Measure, SweptScatter, build_swept_scatter, find_swept_front
from archprof.analysis.tables.swept import describe_size, tabulate_swept
from archprof.errors import ArchprofError
from archprof.facts.swept import SweptRow, count_statuses
from archprof.facts.swept_files import read_swept
from archprof.render.page.assets import join_scripts, join_styles, read_asset, write_policy
from archprof.render.page.html_table import render_html_table, write_column_style
from archprof.render.page.markup import embed_json, escape_sentence, escape_text, tag, void_tag
from archprof.render.page.svg import COLOUR_COUNT
from archprof.render.page.swept_svg import draw_swept_scatter
from archprof.version import __version__
from archprof.wording import name_few

TABLE = "runs"
FILTER_HELP = "Filter: resnet batch:8 status:ok"
SCRIPTS = ("tables.js", "page.js", "pictures.js", "swept.js")

MOST_NAMES = 12
"""Of a front, that are written out under the picture."""


def render_swept(path: str | Path, title: str | None = None, command: str = "") -> str:
    """The page about the sweep in a file; `ArchprofError` where that holds none, or no row."""
    rows = read_swept(path)
    if not rows:
        raise ArchprofError(f"{path} holds no row.", "A sweep with at least one cell.")
    return render_swept_page(rows, title or f"Sweep: {Path(path).name}", command)


def render_swept_page(rows: Sequence[SweptRow], title: str, command: str = "") -> str:
    """The whole file; equal rows give equal bytes."""
    table = render_html_table(tabulate_swept(rows, title), TABLE, filter_help=FILTER_HELP)
    script, style = join_scripts(SCRIPTS), join_styles(["page.css", "swept.css"]) + write_column_style(table)
    scatter = build_swept_scatter(rows)
    return Template(read_asset("swept.html")).substitute(
        policy=write_policy([script], style),
        version=escape_text(__version__),
        title=escape_text(title),
        style=style,
        asked=escape_sentence(" · ".join(_describe(rows))),
        tiles=_render_tiles(rows),
        picture=_render_picture(rows, scatter) if scatter else "",
        table=table,
        method=_render_method(rows, command),
        payload=_render_payload(scatter),
        script=script,
    )


def _describe(rows: Sequence[SweptRow]) -> list[str]:
    """What was asked, in a line."""
    said = [describe_size(rows)]
    for name, word in (
        ("batch", "batch"),
        ("dtype", ""),
        ("mode", ""),
        ("device", "predicted on"),
        ("measured_on", "measured on"),
    ):
        values = list(dict.fromkeys(str(value) for row in rows if (value := getattr(row, name)) is not None))
        if values and values != ["forward"]:
            said.append(f"{word} {name_few(values, 6)}".strip())
    return said


def _render_tiles(rows: Sequence[SweptRow]) -> str:
    tiles = [(status, f"{count:,}") for status, count in count_statuses(rows).items()]
    return tag("dl", "".join(_render_tile(label, text) for label, text in tiles), class_="tiles")


def _render_tile(label: str, text: str) -> str:
    inner = tag("dt", escape_text(label)) + tag("dd", tag("b", text), class_="value")
    return tag("div", inner, class_="tile")


def _render_picture(rows: Sequence[SweptRow], scatter: SweptScatter) -> str:
    """The picture with its switches, its key, and who is on the front."""
    said = (
        f"{scatter.upwards.label} against {scatter.across.label}, a point for each pass; lines join the Pareto fronts."
    )
    drawing = draw_swept_scatter(rows, scatter, said)
    switches = _render_switch("Upwards", "y", scatter, scatter.upwards) + _render_switch(
        "Across", "x", scatter, scatter.across
    )
    caption = tag("figcaption", escape_text(said))
    figure = tag(
        "figure", caption + tag("div", drawing, class_="pic") + _render_key(scatter), class_="fig", id="pareto"
    )
    return tag("div", switches + figure + _render_fronts(rows, scatter), class_="contest sweep")


def _render_switch(legend: str, axis: str, scatter: SweptScatter, chosen: Measure) -> str:
    buttons = [
        void_tag(
            "input", type="radio", name=f"axis-{axis}", id=f"{axis}-{one.key}", value=one.key, checked=one == chosen
        )
        + tag("label", escape_text(one.label), for_=f"{axis}-{one.key}")
        for one in scatter.measures
    ]
    return tag("fieldset", tag("legend", legend) + "".join(buttons), class_="switch", hidden=True)


def _render_key(scatter: SweptScatter) -> str:
    """What each colour is; one setting needs no key."""
    if len(scatter.settings) < 2:
        return ""
    sign = tag("path", d="M5 6h0", class_="dots")
    items = [
        tag(
            "li",
            tag("svg", sign, width="10", height="12", class_=f"c{number % COLOUR_COUNT}")
            + escape_text(name or "other"),
        )
        for number, name in enumerate(scatter.settings)
    ]
    return tag("ul", "".join(items), class_="legend")


def _render_fronts(rows: Sequence[SweptRow], scatter: SweptScatter) -> str:
    """The models of each front, each a link to its row."""
    lines = []
    for number, name in enumerate(scatter.settings):
        places = [place for place, setting in enumerate(scatter.setting_of) if setting == number]
        front = find_swept_front(rows, places, scatter.across, scatter.upwards)
        links = " ".join(
            tag("a", escape_text(rows[place].model), href=f"#{TABLE}-{place}") for place in front[:MOST_NAMES]
        )
        more = f" and {len(front) - MOST_NAMES} more" if len(front) > MOST_NAMES else ""
        head = f"Pareto front, {name}: " if name else "Pareto front: "
        lines.append(
            tag("li", tag("span", escape_text(head)) + tag("span", links + more), data_front=number, hidden=not front)
        )
    return tag("ul", "".join(lines), class_="note fronts")


def _render_method(rows: Sequence[SweptRow], command: str) -> str:
    """What the numbers were made by."""
    made = {
        "archprof": dict.fromkeys(row.archprof for row in rows),
        "torch": dict.fromkeys(row.torch for row in rows),
        "models": dict.fromkeys(row.source for row in rows),
        "engine": dict.fromkeys(row.engine for row in rows),
    }
    lines = [f"{name}: {', '.join(map(str, [*values][:8]))}" for name, values in made.items() if any(values)]
    said = tag("div", tag("h3", "Made by") + tag("ul", "".join(tag("li", escape_text(line)) for line in lines)))
    if command:
        said += tag("div", tag("h3", "Command") + tag("pre", escape_text(command)))
    return said


def _render_payload(scatter: SweptScatter | None) -> str:
    """The setting of each row, and their names, for the script."""
    if scatter is None:
        return ""
    data = embed_json({"of": scatter.setting_of, "names": scatter.settings, "most": MOST_NAMES})
    return f'<script type="application/json" id="settings">{data}</script>'
