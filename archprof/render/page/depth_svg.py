"""Lines along the depth of a net or along epochs, drawn by hand as SVG, with their numbers as a table below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from archprof.analysis.depth_charts import LineChart, LinePoint
from archprof.render.page.axes import PlotAxis, fit_axis
from archprof.render.page.markup import coord, cut_text, escape_text, tag
from archprof.render.page.svg import draw_frame

WIDTH, HEIGHT = 580.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 68.0, 16.0, 10.0, 44.0
KEY_ROW, KEY_COLUMNS, KEY_CHARACTERS = 18.0, 3, 22
"""Of the key above the picture: the height of a row, how many names stand in it, and their longest."""

DASHES = (None, "7 3", "2 3", "9 3 2 3")
"""So that colour is not alone; after all colours the next of these."""

COLOURS = 7


def render_line_chart(chart: LineChart, id: str) -> str:
    """The picture with its caption, its words for those who do not see it, and its numbers."""
    drawing = draw_line_chart(chart)
    numbers = tag("details", tag("summary", "Numbers") + tag("div", _tabulate(chart), class_="scroll"))
    caption = tag("figcaption", escape_text(chart.title))
    return tag("figure", caption + tag("div", drawing, class_="pic") + numbers, class_="fig", id=id)


def draw_line_chart(chart: LineChart) -> str:
    """A line for each set of points, over a logarithmic or an even axis."""
    points = [point for line in chart.lines for point in line]
    key = _draw_key(chart.names)
    top = TOP + KEY_ROW * -(-len(chart.names) // KEY_COLUMNS)
    values = [_value(chart, point) for point in points]
    x = replace(fit_axis([point.x for point in points], LEFT, WIDTH - RIGHT), whole_numbers=True)
    y = fit_axis(values, HEIGHT - BOTTOM, top, log=chart.log, zero=not chart.log)
    lines = "".join(_draw_line(chart, i, line, x, y) for i, line in enumerate(chart.lines) if line)
    frame = draw_frame(x, y, chart.x_label, f"{chart.y_label} [%]" if chart.percent else chart.y_label, HEIGHT)
    inner = key + frame + lines
    said = (
        f"{chart.title}: {chart.y_label} by {chart.x_label}, for {', '.join(chart.names)}. The table has the numbers."
    )
    box = f"0 0 {coord(WIDTH)} {coord(HEIGHT)}"
    return tag("svg", inner, viewBox=box, class_="chart", role="img", aria_label=said)


def _value(chart: LineChart, point: LinePoint) -> float:
    return 100 * point.y if chart.percent else point.y


def _draw_line(chart: LineChart, index: int, line: Sequence[LinePoint], x: PlotAxis, y: PlotAxis) -> str:
    places = [f"{coord(x.pixel_of(point.x))} {coord(y.pixel_of(_value(chart, point)))}" for point in line]
    look = {"class_": f"c{index % COLOURS} line", "stroke_dasharray": _dash(index)}
    path = tag("path", d=f"M{' '.join(places)}", **look)
    return path + tag("path", d="".join(f"M{place}h0" for place in places), class_=f"c{index % COLOURS} dots")


def _dash(index: int) -> str | None:
    return DASHES[(index // COLOURS + index) % len(DASHES)]


def _draw_key(names: Sequence[str]) -> str:
    """What each line stands for."""
    wide, pieces = (WIDTH - LEFT - RIGHT) / KEY_COLUMNS, []
    for index, name in enumerate(names):
        left, top = LEFT + index % KEY_COLUMNS * wide, 12 + index // KEY_COLUMNS * KEY_ROW
        look = {"class_": f"c{index % COLOURS} line", "stroke_dasharray": _dash(index)}
        pieces.append(tag("path", d=f"M{coord(left)} {coord(top - 4)}h22", **look))
        pieces.append(tag("text", escape_text(cut_text(name, KEY_CHARACTERS)), x=left + 28, y=float(top)))
    return "".join(pieces)


def _tabulate(chart: LineChart) -> str:
    """Every point: where it is on its line, what stands there, and its value."""
    heads = ("line", chart.x_label, "what", chart.y_label)
    rows = [
        (name, f"{point.x:g}", point.label, f"{_value(chart, point):.4g}{'%' if chart.percent else ''}")
        for name, line in zip(chart.names, chart.lines, strict=True)
        for point in line
    ]
    head = tag("tr", "".join(tag("th", escape_text(text), scope="col") for text in heads))
    body = "".join(tag("tr", "".join(tag("td", escape_text(cell)) for cell in row)) for row in rows)
    return tag("table", tag("thead", head) + tag("tbody", body), class_="numbers")
