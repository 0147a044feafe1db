"""Charts drawn by hand as SVG: they need no script, print as they are, and take their colours from the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from archprof import units
from archprof.analysis.report.charts import Series
from archprof.render.page import axes
from archprof.render.page.axes import Axis
from archprof.render.page.markup import cut, number, safe, tag

WIDTH, HEIGHT = 580.0, 280.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 20.0, 10.0, 44.0
BAR, BETWEEN, CATEGORY, ROOM = 15.0, 7.0, 110.0, 70.0
"""Of bars that lie: the height of one, the space between groups, and what is left and right of them."""

STACK, UNDER = 22.0, 24.0
"""Of bars made of pieces: the height of one, and the space under it for the names of its pieces."""

CHARACTER = 6.3
"""The width of a character of a label on average, in pixels."""

COLOURS = 7
"""How many colours the page has for series; `c0` is the first."""

DASHES = (None, "6 3", "2 3", "8 3 2 3", "1 2", "10 4", "4 4")
MARKERS = ("m-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0", "m-5-5h10v10h-10z", "m0-6l6 11h-12z", "m0-7l6 7-6 7-6-7z")
"""A disc, a square, a triangle and a diamond, so that colour is not alone."""

WIDEST = 60.0
"""Upright bars of a place are together no wider than this."""

NAMED = 8
"""So many points of a set have their names beside them."""

KEY = 24
"""Characters of a name in the key of a picture."""

SEEN = 20
"""Up to so many points of a line are drawn as points too."""


class Dot(NamedTuple):
    """A point of a picture, in the units of its axes."""

    x: float
    y: float
    label: str


def chart(series: Series) -> str:
    """The picture of the series, without a caption."""
    across, upwards = axes.scales(series)
    if across is None:
        return (_stacked if series.kind == "stack" else _lying)(series, upwards)
    sets = [
        [Dot(float(x) / across.factor, y / upwards.factor, label) for x, y, label in points] for points in series.points
    ]
    return _plot(series, sets, axes.titled(series.x_label, across), axes.titled(series.y_label, upwards))


def joined(name: str) -> bool:
    """A set of points in a scatter that is a line: the front of Pareto, or a roof."""
    return "front" in name.lower() or "roof" in name.lower()


def keyed(series: Series) -> bool:
    """Whether the picture needs a key: not for one set, nor for sets of one point, which carries its name."""
    alone = series.kind == "scatter" and all(len(points) <= 1 for points in series.points[:-1])
    return len(series.names) > 1 and not alone and series.kind != "stack"


def _plot(series: Series, sets: list[list[Dot]], x_label: str, y_label: str) -> str:
    """Points, lines or upright bars between two axes."""
    xs, ys = [dot.x for dots in sets for dot in dots], [dot.y for dots in sets for dot in dots]
    legend = _legend(series, LEFT)
    scatter, bars = series.kind == "scatter", series.kind == "bars"
    end = TOP + (22 if legend else 0)
    x = axes.fitted(xs, LEFT, WIDTH - RIGHT, log=axes.logarithmic(series, xs), zero=not scatter and min(xs) >= 0)
    y = axes.fitted(ys, HEIGHT - BOTTOM, end, log=axes.logarithmic(series, ys), zero=not scatter)
    if bars:
        x = Axis(min(xs) - 0.6, max(xs) + 0.6, LEFT, WIDTH - RIGHT, whole=True)
    marks = "".join(_marks(series, i, dots, x, y) for i, dots in enumerate(sets))
    names = _names(series, sets, x, y) if scatter else ""
    inner = legend + _frame(x, y, x_label, y_label) + marks + names
    return tag("svg", inner, viewBox=f"0 0 {number(WIDTH)} {number(HEIGHT)}", class_="chart")


def _frame(x: Axis, y: Axis, x_label: str, y_label: str) -> str:
    """Grid lines, numbers and the names of the axes."""
    across, upwards = [x.at(tick) for tick in x.ticks(7)], [y.at(tick) for tick in y.ticks(5)]
    grid = "".join(f"M{number(x.start)} {number(at)}H{number(x.end)}" for at in upwards)
    base = f"M{number(x.start)} {number(y.start)}H{number(x.end)}"
    base += "".join(f"M{number(at)} {number(y.start)}v4" for at in across)
    lefts = [tag("text", f"{tick:,.4g}", x=x.start - 8, y=at + 4) for tick, at in zip(y.ticks(5), upwards, strict=True)]
    lows = [tag("text", f"{tick:,.6g}", x=at, y=y.start + 18) for tick, at in zip(x.ticks(7), across, strict=True)]
    turn = f"translate(13 {number((y.start + y.end) / 2)}) rotate(-90)"
    lows.append(tag("text", safe(x_label), x=(x.start + x.end) / 2, y=HEIGHT - 6, class_="name"))
    lows.append(tag("text", safe(y_label), transform=turn, class_="name"))
    return (
        tag("path", d=grid, class_="grid")
        + tag("path", d=base, class_="axis")
        + tag("g", "".join(lefts), text_anchor="end")
        + tag("g", "".join(lows), text_anchor="middle")
    )


def _marks(series: Series, index: int, dots: Sequence[Dot], x: Axis, y: Axis) -> str:
    """What stands for one set."""
    colour, places = f"c{index % COLOURS}", [(x.at(dot.x), y.at(dot.y)) for dot in dots]
    if not places:
        return ""
    if series.kind == "bars":
        return tag("path", d=_upright(places, x, y, index, len(series.names)), class_=f"{colour} bar")
    if series.kind == "scatter" and not joined(series.names[index]):
        several = len(places) > 1
        path = "".join(f"M{number(a)} {number(b)}{'h0' if several else MARKERS[index % 4]}" for a, b in places)
        return tag("path", d=path, class_=f"{colour} {'dots' if several else 'bar'}")
    line, dash = " ".join(f"{number(a)} {number(b)}" for a, b in places), DASHES[index % len(DASHES)]
    if series.kind == "area":
        ends = (f"M{number(place[0])} {number(y.start)} " for place in (places[0], places[-1]))
        path = f"{next(ends)}{line} {next(ends)[1:].strip()}"
        return tag("path", d=path, class_=f"{colour} line under", stroke_dasharray=dash)
    few = len(places) <= SEEN and not joined(series.names[index])
    seen = "".join(f"M{number(a)} {number(b)}h0" for a, b in places) if few else ""
    drawn = tag("path", d=f"M{line}", class_=f"{colour} line", stroke_dasharray=dash)
    return drawn + (tag("path", d=seen, class_=f"{colour} dots") if few else "")


def _upright(places: Sequence[tuple[float, float]], x: Axis, y: Axis, index: int, sets: int) -> str:
    """Bars of one set beside those of the others; at least half a pixel high."""
    step = min((x.end - x.start) / (x.high - x.low) * 0.8, WIDEST)
    wide = step / sets
    pieces = []
    for middle, top in places:
        left, high = middle - step / 2 + index * wide, max(y.start - top, 0.5)
        pieces.append(f"M{number(left)} {number(y.start)}v-{number(high)}h{number(wide)}v{number(high)}z")
    return "".join(pieces)


def _names(series: Series, sets: list[list[Dot]], x: Axis, y: Axis) -> str:
    """The names of the points, each where no other stands yet; one that finds no room is left out."""
    taken = [_around(x.at(dot.x), y.at(dot.y)) for dots in sets for dot in dots]
    pieces = []
    for name, dots in zip(series.names, sets, strict=True):
        for dot in () if joined(name) else dots[:NAMED]:
            place = _free(x.at(dot.x), y.at(dot.y), min(len(dot.label), KEY) * CHARACTER, taken, x, y)
            if place is not None:
                taken.append(place)
                pieces.append(tag("text", safe(cut(dot.label, KEY)), x=place[0], y=place[3] - 3, class_="name"))
    return "".join(pieces)


Room = tuple[float, float, float, float]
"""Left, top, right and bottom."""


def _around(x: float, y: float) -> Room:
    return x - 4, y - 4, x + 4, y + 4


def _free(x: float, y: float, width: float, taken: Sequence[Room], across: Axis, upwards: Axis) -> Room | None:
    """The room of a label over or under a point, if any is free."""
    starts = ((x + 6, y - 18), (x - width - 6, y - 18), (x + 6, y + 5), (x - width - 6, y + 5))
    for left, top in starts:
        right, bottom = left + width, top + 14
        inside = left >= across.start and right <= WIDTH and top >= upwards.end - 12 and bottom <= upwards.start
        if inside and all(left >= c or right <= a or top >= d or bottom <= b for a, b, c, d in taken):
            return left, top, right, bottom
    return None


def _lying(series: Series, scale: units.Scale) -> str:
    """A group of bars a category, one bar a set, each with its number at its end."""
    heights = [{str(x): y for x, y, _ in points} for points in series.points]
    legend = _legend(series, CATEGORY)
    x = Axis(0, max((y for own in heights for y in own.values()), default=0) or 1, CATEGORY, WIDTH - ROOM)
    top = y = TOP + (22 if legend else 0)
    names, values = list[str](), list[str]()
    bars = [""] * len(heights)
    for category in axes.categories(series):
        group = [(i, own[category]) for i, own in enumerate(heights) if category in own]
        names.append(
            tag(
                "text",
                safe(cut(category, int((CATEGORY - 8) / CHARACTER))),
                x=CATEGORY - 8,
                y=y + len(group) * BAR / 2 + 4,
            )
        )
        for i, value in group:
            wide = max(x.at(value) - CATEGORY, 0.5 if value else 0)
            bars[i] += f"M{number(CATEGORY)} {number(y + 1)}h{number(wide)}v{number(BAR - 2)}h-{number(wide)}z"
            values.append(tag("text", safe(scale.format(value)), x=CATEGORY + wide + 6, y=y + BAR - 4))
            y += BAR
        y += BETWEEN
    drawn = "".join(tag("path", d=path, class_=f"c{i % COLOURS} bar") for i, path in enumerate(bars) if path)
    axis = tag("path", d=f"M{number(CATEGORY)} {number(top - 3)}V{number(y - BETWEEN + 3)}", class_="axis")
    name = tag("text", safe(axes.titled(series.y_label, scale)), x=CATEGORY, y=y + 12, class_="name")
    texts = tag("g", "".join(names), text_anchor="end", class_="name") + tag("g", "".join(values), class_="v")
    return tag(
        "svg", legend + drawn + axis + texts + name, viewBox=f"0 0 {number(WIDTH)} {number(y + 18)}", class_="chart"
    )


def _stacked(series: Series, scale: units.Scale) -> str:
    """A bar a category, made of one piece a set, which carries the set's name where there is room for it."""
    rows = axes.categories(series)
    sizes = [{str(x): y for x, y, _ in points} for points in series.points]
    totals = {row: sum(own.get(row, 0) for own in sizes) for row in rows}
    x = Axis(0, max(totals.values(), default=0) or 1, CATEGORY, WIDTH - ROOM)
    pieces, names, values = list[str](), list[str](), list[str]()
    for line, row in enumerate(rows):
        y, left, so_far = TOP + line * (STACK + UNDER), CATEGORY, 0.0
        for i, (name, own) in enumerate(zip(series.names, sizes, strict=True)):
            so_far += own.get(row, 0)
            wide = x.at(so_far) - left
            if wide < 0.5:
                continue
            d = f"M{number(left)} {number(y)}h{number(max(wide - 1, 0.5))}v{number(STACK)}H{number(left)}z"
            pieces.append(tag("path", d=d, class_=f"c{i % COLOURS} bar part"))
            if len(name) * CHARACTER + 8 <= wide:
                names.append(tag("text", safe(name), x=left + 4, y=y + STACK + 11, class_="name"))
            left += wide
        text = safe(cut(row, int((CATEGORY - 8) / CHARACTER)))
        names.append(tag("text", text, x=CATEGORY - 8, y=y + STACK / 2 + 4, text_anchor="end", class_="name"))
        values.append(tag("text", safe(scale.format(totals[row])), x=left + 6, y=y + STACK / 2 + 4))
    end = TOP + len(rows) * (STACK + UNDER) + 8
    name = tag("text", safe(axes.titled(series.y_label, scale)), x=CATEGORY, y=end, class_="name")
    drawn = "".join(pieces) + "".join(names) + tag("g", "".join(values), class_="v") + name
    return tag("svg", drawn, viewBox=f"0 0 {number(WIDTH)} {number(end + 6)}", class_="chart")


def _legend(series: Series, x: float) -> str:
    """What each colour, dash and marker stands for, above the picture."""
    pieces = []
    for i, name in enumerate(series.names if keyed(series) else ()):
        colour, dash = f"c{i % COLOURS}", DASHES[i % len(DASHES)]
        if series.kind == "bars":
            sign = tag("path", d=f"M{number(x)} 5h14v9h-14z", class_=f"{colour} bar")
        elif series.kind == "scatter" and not joined(name):
            sign = tag("path", d=f"M{number(x + 7)} 9{MARKERS[i % 4]}", class_=f"{colour} bar")
        else:
            sign = tag("path", d=f"M{number(x)} 9h20", class_=f"{colour} line", stroke_dasharray=dash)
        text = cut(name, KEY)
        pieces.append(sign + tag("text", safe(text), x=x + 26, y=13.0))
        x += 44 + len(text) * CHARACTER
    return "".join(pieces)
