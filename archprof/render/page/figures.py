"""A picture of the page: the drawn chart, its words, its numbers as a table, and the same for plotly as plain data."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from archprof.analysis.report.charts import ChartData
from archprof.render.page import axes, svg
from archprof.render.page.markup import cut_text, escape_text, tag
from archprof.units import MISSING_MARK, UnitScale

MAX_NUMBER_ROWS = 60
"""A picture's table has no more rows than this; the table of layers has them all."""

MAX_UNIT_TICKS = 8
"""So many things are counted one by one along an axis."""

PLOTLY_DASHES = ("solid", "dash", "dot", "dashdot", "3px,2px", "longdash", "longdashdot")
PLOTLY_SYMBOLS = ("circle", "square", "triangle-up", "diamond")


def render_figure(series: ChartData, id: str, *, alone: bool = True) -> str:
    """The chart with its caption, a text alternative and a table of its numbers; one of several that a switch shows
    is no figure of its own."""
    drawing = svg.draw_chart(series).replace("<svg ", f'<svg role="img" aria-label="{escape_text(_said(series))}" ', 1)
    numbers = tag("details", tag("summary", "Numbers") + tag("div", _numbers(series), class_="scroll"))
    joint = series.kind == "stack" or (series.kind == "line" and len(series.names) > 1)
    numbers = "" if joint else numbers  # the tables of stages and of layers below have them
    caption = tag("figcaption" if alone else "p", escape_text(series.title), class_=None if alone else "figcaption")
    return tag("figure" if alone else "div", caption + tag("div", drawing, class_="pic") + numbers, class_="fig", id=id)


def _said(series: ChartData) -> str:
    """The picture in words: what stands against what, and the largest value."""
    points = [(y, f"{label or x}") for points in series.points for x, y, label in points]
    if not points:
        return f"{series.title}: nothing to show."
    largest, where = max(points)
    value = axes.choose_scale(series.y_unit, [largest])
    measure = series.y_label + axes.BASE_UNITS[series.y_unit]
    across = (series.x_label or "part") + axes.BASE_UNITS[series.x_unit]
    drawn = [name for name, own in zip(series.names, series.points, strict=True) if own]
    text = f"{series.title}. {measure} by {across} for {', '.join(drawn)}."
    return f"{text} Largest: {value.format(largest)} {value.symbol} at {where}. The table below holds the numbers."


def _numbers(series: ChartData) -> str:
    heads, rows = _rows_by_point(series) if series.kind == "scatter" else _rows_by_place(series)
    head = tag("tr", "".join(tag("th", escape_text(text), scope="col") for text in heads))
    body = "".join(tag("tr", "".join(tag("td", escape_text(cell)) for cell in row)) for row in rows[:MAX_NUMBER_ROWS])
    more = f"The first {MAX_NUMBER_ROWS} of {len(rows):,} rows." if len(rows) > MAX_NUMBER_ROWS else ""
    table = tag("table", tag("thead", head) + tag("tbody", body), class_="numbers")
    return table + (tag("p", more, class_="note") if more else "")


def _rows_by_place(series: ChartData) -> tuple[list[str], list[list[str]]]:
    """One row per place on the x axis, one column per set; what the point is stands last."""
    across, upwards = axes.choose_scales(series)
    rows: dict[float | str, dict[int, str]] = {}
    labels: dict[float | str, list[str]] = {}
    for i, points in enumerate(series.points):
        for x, y, label in points:
            rows.setdefault(x, {})[i] = upwards.format(y)
            labels.setdefault(x, []).append(label)
    places: Sequence[float | str] = list(rows) if across else axes.order_categories(series)
    said = any(str(x) not in names for x, names in labels.items())
    what = axes.label_with_unit(series.y_label, upwards)
    several = len(series.names) > 1
    heads = [
        series.x_label,
        *(f"{name}: {what}" if several else what for name in series.names),
        *(["what"] if said else []),
    ]
    cells = [
        [
            across.format(x) if across and not isinstance(x, str) else str(x),
            *(values.get(i, MISSING_MARK) for i in range(len(series.names))),
            *([", ".join(dict.fromkeys(labels[x]))] if said else []),
        ]
        for x, values in ((x, rows[x]) for x in places)
    ]
    return heads, cells


def _rows_by_point(series: ChartData) -> tuple[list[str], list[list[str]]]:
    """One row per point."""
    across, upwards = axes.choose_scales(series)
    heads = [
        axes.label_with_unit(series.x_label, across) if across else "",
        axes.label_with_unit(series.y_label, upwards),
        "what",
    ]
    cells = [
        [
            across.format(float(x)) if across else str(x),
            upwards.format(y),
            f"{label} ({name})" if series.is_joined(i) else label,
        ]
        for i, (name, points) in enumerate(zip(series.names, series.points, strict=True))
        for x, y, label in points
    ]
    return heads, cells


def to_plotly(series: ChartData) -> dict[str, Any]:
    """The figure as plotly takes it; the page adds the colours, which change with light and dark."""
    across, upwards = axes.choose_scales(series)
    layout = {
        "margin": {"l": 64, "r": 16, "t": 8, "b": 44},
        "showlegend": svg.needs_key(series) or series.kind == "stack",
        "barmode": "stack" if series.kind == "stack" else "group",
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        "hovermode": "closest",
        "bargap": 0.25,
    }
    upright = {"title": _title(series.y_label, upwards), "exponentformat": "none", "separatethousands": True}
    if across is None:
        order = {
            "categoryorder": "array",
            "categoryarray": [html.escape(name) for name in axes.order_categories(series)],
        }
        layout["xaxis"] = upright
        layout["yaxis"] = {"type": "category", "autorange": "reversed", "automargin": True} | order
    else:
        ground = {"rangemode": "normal" if series.kind == "scatter" else "tozero"}
        layout["xaxis"] = {"title": _title(series.x_label, across)} | _type(series, 0)
        layout["yaxis"] = upright | ground | _type(series, 1)
    return {"data": [_trace(series, i, across, upwards) for i in range(len(series.names))], "layout": layout}


def _title(label: str, scale: UnitScale) -> dict[str, object]:
    return {"text": html.escape(axes.label_with_unit(label, scale)), "standoff": 10}


def _type(series: ChartData, at: int) -> dict[str, object]:
    """Logarithmic or not; things that are counted have no half between them."""
    values = [float(point[at]) for points in series.points for point in points]
    if axes.is_logarithmic(series, values):
        return {"type": "log"}
    counted = at == 0 and series.kind != "scatter" and max(values, default=0) <= MAX_UNIT_TICKS
    return {"type": "linear"} | ({"dtick": 1} if counted else {})


def _trace(series: ChartData, index: int, across: UnitScale | None, upwards: UnitScale) -> dict[str, Any]:
    points, name = series.points[index], series.names[index]
    places = [html.escape(x) if isinstance(x, str) else x / across.factor if across else x for x, _, _ in points]
    values = [y / upwards.factor for _, y, _ in points]
    said = [html.escape(f"{label or x}: {upwards.format(y)} {upwards.symbol}") for x, y, label in points]
    trace: dict[str, Any] = {
        "name": html.escape(cut_text(name, svg.MAX_KEY_CHARACTERS)),
        "text": said,
        "hovertemplate": "%{text}<extra></extra>",
    }
    if series.kind == "bars":
        return trace | {"type": "bar", "x": places, "y": values, "textposition": "none"}
    if series.kind == "stack":
        colour = {"color": svg.mix_ramp(index, len(series.names))}
        bar = {"type": "bar", "orientation": "h", "textposition": "none", "marker": colour}
        return trace | bar | {"x": values, "y": places}
    trace |= {"type": "scatter", "x": places, "y": values}
    if series.kind == "scatter" and not series.is_joined(index):
        names = [html.escape(cut_text(label, svg.MAX_KEY_CHARACTERS)) for _, _, label in points]
        marker = {"symbol": PLOTLY_SYMBOLS[index % len(PLOTLY_SYMBOLS)], "size": 10}
        hover = {"customdata": said, "hovertemplate": "%{customdata}<extra></extra>", "text": names}
        named = "markers+text" if len(points) <= svg.MAX_NAMED_POINTS else "markers"
        return trace | hover | {"mode": named, "cliponaxis": False, "textposition": "top center", "marker": marker}
    trace |= {
        "mode": "lines+markers" if len(points) <= svg.MAX_DRAWN_POINTS and series.kind == "line" else "lines",
        "line": {"dash": PLOTLY_DASHES[index % len(PLOTLY_DASHES)], "width": 2},
    }
    return trace
