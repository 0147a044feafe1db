"""Charts drawn by hand as SVG: they need no script, print as they are, and take their colours from the page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from archprof import units
from archprof.analysis.network.families import FAMILIES, OTHER_FAMILY
from archprof.analysis.report.charts import ChartData
from archprof.render.page import axes
from archprof.render.page.axes import PlotAxis
from archprof.render.page.markup import coord, cut_text, escape_text, tag
from archprof.render.page.text_width import fit_text, measure_text

CHART_WIDTH, CHART_HEIGHT = 580.0, 280.0
LEFT_MARGIN, RIGHT_MARGIN, TOP_MARGIN, BOTTOM_MARGIN = 64.0, 20.0, 10.0, 44.0
CATEGORY_WIDTH, VALUE_WIDTH, STACK_HEIGHT, STACK_GAP = 110.0, 70.0, 22.0, 24.0
"""Of bars made of pieces: what is left and right of them, the height of one, and the space under it for names."""

STAGE_RAMP = ((33, 82, 155), (31, 150, 139), (221, 178, 55))
"""From the first stage to the last: red, green and blue at the ends and in the middle, for light and dark grounds."""

LABEL_SIZE, KEY_HEIGHT = 11.5, 18.0
"""Of the names in a chart, and of a line of its key, in pixels."""

COLOUR_COUNT = 9
"""How many colours the page has for series; `c0` is the first."""

SVG_DASHES = (None, "6 3", "2 3", "8 3 2 3", "1 2", "10 4", "4 4")
FRONT_DASH = "2 3"
"""Of the front among the models, in every picture."""

MARKER_PATHS = ("m-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0", "m-5-5h10v10h-10z", "m0-6l6 11h-12z", "m0-7l6 7-6 7-6-7z")
"""A disc, a square, a triangle and a diamond, so that colour is not alone."""

MAX_BAR_WIDTH = 60.0
"""Upright bars of a place are together no wider than this."""

MAX_NAMED_POINTS = 8
"""So many points of a set have their names beside them."""

MAX_KEY_CHARACTERS = 24
"""Characters of a name in the key of a picture."""

MAX_DRAWN_POINTS = 20
"""Up to so many points of a line are drawn as points too."""


class PlotPoint(NamedTuple):
    """A point of a picture, in the units of its axes."""

    x: float
    y: float
    label: str


def draw_chart(series: ChartData) -> str:
    """The picture of the series, without a caption."""
    across, upwards = axes.choose_scales(series)
    if across is None:
        return _stacked(series, upwards)
    sets = [
        [PlotPoint(float(x) / across.factor, y / upwards.factor, label) for x, y, label in points]
        for points in series.points
    ]
    behind = [PlotPoint(float(x) / across.factor, y / upwards.factor, label) for x, y, label in series.backdrop]
    return _plot(
        series,
        sets,
        behind,
        axes.label_with_unit(series.x_label, across),
        axes.label_with_unit(series.y_label, upwards),
    )


def needs_key(series: ChartData) -> bool:
    """Whether the picture needs a key: not for one set, nor for sets of one point, which carries its name."""
    sets = [points for i, points in enumerate(series.points) if not series.is_joined(i)]
    alone = series.kind == "scatter" and all(len(points) <= 1 for points in sets)
    return len(series.names) > 1 and not alone and series.kind != "stack"


def _plot(series: ChartData, sets: list[list[PlotPoint]], behind: list[PlotPoint], x_label: str, y_label: str) -> str:
    """Points, lines or upright bars between two axes."""
    xs, ys = [dot.x for dots in (*sets, behind) for dot in dots], [dot.y for dots in (*sets, behind) for dot in dots]
    legend, key_height = _legend(series, LEFT_MARGIN)
    scatter, bars = series.kind == "scatter", series.kind == "bars"
    end = TOP_MARGIN + key_height
    x = axes.fit_axis(
        xs,
        LEFT_MARGIN,
        CHART_WIDTH - RIGHT_MARGIN,
        log=axes.is_logarithmic(series, xs),
        zero=not scatter and min(xs) >= 0,
    )
    y = axes.fit_axis(ys, CHART_HEIGHT - BOTTOM_MARGIN, end, log=axes.is_logarithmic(series, ys), zero=not scatter)
    if bars:
        x = PlotAxis(min(xs) - 0.6, max(xs) + 0.6, LEFT_MARGIN, CHART_WIDTH - RIGHT_MARGIN, whole_numbers=True)
    marks = "".join(_marks(series, i, dots, x, y) for i, dots in enumerate(sets))
    names = _names(series, sets, x, y) if scatter else ""
    inner = legend + draw_frame(x, y, x_label, y_label) + _backdrop(behind, x, y) + marks + names
    return tag("svg", inner, viewBox=f"0 0 {coord(CHART_WIDTH)} {coord(CHART_HEIGHT)}", class_="chart")


def draw_frame(x: PlotAxis, y: PlotAxis, x_label: str, y_label: str, height: float = CHART_HEIGHT) -> str:
    """Grid lines, numbers and the names of the axes, in a picture of that height."""
    across, upwards = [x.pixel_of(tick) for tick in x.ticks(7)], [y.pixel_of(tick) for tick in y.ticks(5)]
    grid = "".join(f"M{coord(x.start)} {coord(at)}H{coord(x.end)}" for at in upwards)
    base = f"M{coord(x.start)} {coord(y.start)}H{coord(x.end)}"
    base += "".join(f"M{coord(at)} {coord(y.start)}v4" for at in across)
    beside, below = axes.name_ticks(y.ticks(5)), axes.name_ticks(x.ticks(7))
    lefts = [tag("text", text, x=x.start - 8, y=at + 4) for text, at in zip(beside, upwards, strict=True)]
    lows = [tag("text", text, x=at, y=y.start + 18) for text, at in zip(below, across, strict=True)]
    turn = f"translate(13 {coord((y.start + y.end) / 2)}) rotate(-90)"
    lows.append(tag("text", escape_text(x_label), x=(x.start + x.end) / 2, y=height - 6, class_="name"))
    lows.append(tag("text", escape_text(y_label), transform=turn, class_="name"))
    return (
        tag("path", d=grid, class_="grid")
        + tag("path", d=base, class_="axis")
        + tag("g", "".join(lefts), text_anchor="end")
        + tag("g", "".join(lows), text_anchor="middle")
    )


def _marks(series: ChartData, index: int, dots: Sequence[PlotPoint], x: PlotAxis, y: PlotAxis) -> str:
    """What stands for one set."""
    colour, places = name_colour(series, index), [(x.pixel_of(dot.x), y.pixel_of(dot.y)) for dot in dots]
    if not places:
        return ""
    if series.kind == "bars":
        return tag("path", d=_upright(places, x, y, index, len(series.names)), class_=f"{colour} bar")
    if series.kind == "scatter" and not series.is_joined(index):
        several = len(places) > 1
        path = "".join(f"M{coord(a)} {coord(b)}{'h0' if several else MARKER_PATHS[index % 4]}" for a, b in places)
        return tag("path", d=path, class_=f"{colour} {'dots' if several else 'bar'}")
    line = " ".join(f"{coord(a)} {coord(b)}" for a, b in places)
    front = series.is_joined(index) and not needs_key(series)  # the one line, which no key explains
    colour, dash = ("front", FRONT_DASH) if front else (colour, SVG_DASHES[index % len(SVG_DASHES)])
    few = len(places) <= MAX_DRAWN_POINTS and not series.is_joined(index)
    seen = "".join(f"M{coord(a)} {coord(b)}h0" for a, b in places) if few else ""
    drawn = tag("path", d=f"M{line}", class_=f"{colour} line", stroke_dasharray=dash)
    return drawn + (tag("path", d=seen, class_=f"{colour} dots") if few else "")


def name_colour(series: ChartData, index: int) -> str:
    """The class of a set: a kind of work has its colour whichever others there are."""
    kinds, name = (*FAMILIES, OTHER_FAMILY), series.names[index]
    return f"c{(kinds.index(name) if name in kinds else index) % COLOUR_COUNT}"


def _backdrop(dots: Sequence[PlotPoint], x: PlotAxis, y: PlotAxis) -> str:
    """A grey dot for each, in one path, each from the one before, in tenths of a pixel: there are many hundreds. Their
    names, which a script shows, come in the same order."""
    pieces, places = list[str](), [(round(10 * x.pixel_of(dot.x)), round(10 * y.pixel_of(dot.y))) for dot in dots]
    for (left, top), (a, b) in pairwise([(0, 0), *places]):
        pieces.append(f"m{a - left}{'' if b < top else ' '}{b - top}h0")
    return tag("path", d="".join(pieces), class_="dots behind", transform="scale(.1)") if dots else ""


def _upright(places: Sequence[tuple[float, float]], x: PlotAxis, y: PlotAxis, index: int, sets: int) -> str:
    """Bars of one set beside those of the others; at least half a pixel high."""
    step = min((x.end - x.start) / (x.high - x.low) * 0.8, MAX_BAR_WIDTH)
    wide = step / sets
    pieces = []
    for middle, top in places:
        left, high = middle - step / 2 + index * wide, max(y.start - top, 0.5)
        pieces.append(f"M{coord(left)} {coord(y.start)}v-{coord(high)}h{coord(wide)}v{coord(high)}z")
    return "".join(pieces)


def _names(series: ChartData, sets: list[list[PlotPoint]], x: PlotAxis, y: PlotAxis) -> str:
    """The names of the points, each where no other stands yet; one that finds no room is left out."""
    taken = [_around(x.pixel_of(dot.x), y.pixel_of(dot.y)) for dots in sets for dot in dots]
    pieces = []
    for i, dots in enumerate(sets):
        first = {(dot.x, dot.y): dot for dot in dots[::-1]}.values()  # of several in one place the first has its name
        for dot in () if series.is_joined(i) else [*first][::-1][:MAX_NAMED_POINTS]:
            place = _free(
                x.pixel_of(dot.x),
                y.pixel_of(dot.y),
                measure_text(cut_text(dot.label, MAX_KEY_CHARACTERS), LABEL_SIZE),
                taken,
                x,
                y,
            )
            if place is not None:
                taken.append(place)
                pieces.append(
                    tag(
                        "text",
                        escape_text(cut_text(dot.label, MAX_KEY_CHARACTERS)),
                        x=place[0],
                        y=place[3] - 3,
                        class_="name",
                    )
                )
    return "".join(pieces)


LabelBox = tuple[float, float, float, float]
"""Left, top, right and bottom."""


def _around(x: float, y: float) -> LabelBox:
    return x - 4, y - 4, x + 4, y + 4


def _free(
    x: float, y: float, width: float, taken: Sequence[LabelBox], across: PlotAxis, upwards: PlotAxis
) -> LabelBox | None:
    """The room of a label over or under a point, if any is free."""
    starts = ((x + 6, y - 18), (x - width - 6, y - 18), (x + 6, y + 5), (x - width - 6, y + 5))
    for left, top in starts:
        right, bottom = left + width, top + 14
        inside = (
            left >= across.start
            and right <= CHART_WIDTH
            and top >= max(upwards.end - 12, 2)
            and bottom <= upwards.start
        )
        if inside and all(left >= c or right <= a or top >= d or bottom <= b for a, b, c, d in taken):
            return left, top, right, bottom
    return None


def _stacked(series: ChartData, scale: units.UnitScale) -> str:
    """A bar per category, made of one piece per set, which carries the set's name where there is room for it."""
    rows = axes.order_categories(series)
    sizes = [{str(x): y for x, y, _ in points} for points in series.points]
    totals = {row: sum(own.get(row, 0) for own in sizes) for row in rows}
    x = PlotAxis(0, max(totals.values(), default=0) or 1, CATEGORY_WIDTH, CHART_WIDTH - VALUE_WIDTH)
    pieces, names, values = list[str](), list[str](), list[str]()
    for line, row in enumerate(rows):
        y, left, so_far = TOP_MARGIN + line * (STACK_HEIGHT + STACK_GAP), CATEGORY_WIDTH, 0.0
        for i, (name, own) in enumerate(zip(series.names, sizes, strict=True)):
            so_far += own.get(row, 0)
            wide = x.pixel_of(so_far) - left
            if wide < 0.5:
                continue
            d = f"M{coord(left)} {coord(y)}h{coord(max(wide - 1, 0.5))}v{coord(STACK_HEIGHT)}H{coord(left)}z"
            pieces.append(tag("path", d=d, fill=mix_ramp(i, len(series.names)), class_="part"))
            if measure_text(name, LABEL_SIZE) + 8 <= wide:
                names.append(tag("text", escape_text(name), x=left + 4, y=y + STACK_HEIGHT + 11, class_="name"))
            left += wide
        text = escape_text(fit_text(row, CATEGORY_WIDTH - 8, LABEL_SIZE))
        names.append(
            tag("text", text, x=CATEGORY_WIDTH - 8, y=y + STACK_HEIGHT / 2 + 4, text_anchor="end", class_="name")
        )
        values.append(tag("text", escape_text(scale.format(totals[row])), x=left + 6, y=y + STACK_HEIGHT / 2 + 4))
    end = TOP_MARGIN + len(rows) * (STACK_HEIGHT + STACK_GAP) + 8
    name = tag("text", escape_text(axes.label_with_unit(series.y_label, scale)), x=CATEGORY_WIDTH, y=end, class_="name")
    drawn = "".join(pieces) + "".join(names) + tag("g", "".join(values), class_="v") + name
    return tag("svg", drawn, viewBox=f"0 0 {coord(CHART_WIDTH)} {coord(end + 6)}", class_="chart")


def mix_ramp(index: int, count: int) -> str:
    """The colour of one of so many in order: no two are the same."""
    at = (len(STAGE_RAMP) - 1) * index / max(count - 1, 1)
    low = min(int(at), len(STAGE_RAMP) - 2)
    mixed = (a + (b - a) * (at - low) for a, b in zip(STAGE_RAMP[low], STAGE_RAMP[low + 1], strict=True))
    return "#" + "".join(f"{round(part):02x}" for part in mixed)


def _legend(series: ChartData, start: float) -> tuple[str, float]:
    """What each colour, dash and marker stands for, above the picture, and how high that is: in lines that fit."""
    pieces, x, y = list[str](), start, 13.0
    drawn = [i for i, points in enumerate(series.points) if points] if needs_key(series) else []
    for i in drawn:
        colour, dash = name_colour(series, i), SVG_DASHES[i % len(SVG_DASHES)]
        text = cut_text(series.names[i], MAX_KEY_CHARACTERS)
        wide = 26 + measure_text(text, LABEL_SIZE)
        if x > start and x + wide > CHART_WIDTH:
            x, y = start, y + KEY_HEIGHT
        if series.kind == "bars":
            sign = tag("path", d=f"M{coord(x)} {coord(y - 8)}h14v9h-14z", class_=f"{colour} bar")
        elif series.kind == "scatter" and not series.is_joined(i):
            one = len(series.points[i]) == 1
            d = f"M{coord(x + 7)} {coord(y - 4)}{MARKER_PATHS[i % 4] if one else 'h0'}"
            sign = tag("path", d=d, class_=f"{colour} {'bar' if one else 'dots'}")
        else:
            sign = tag("path", d=f"M{coord(x)} {coord(y - 4)}h20", class_=f"{colour} line", stroke_dasharray=dash)
        pieces.append(sign + tag("text", escape_text(text), x=x + 26, y=y))
        x += wide + 18
    return "".join(pieces), y + 9 if pieces else 0.0
