"""The scatter of a sweep as SVG: the first axes with their points, and every other axis hidden, for the script."""

from __future__ import annotations

from collections.abc import Sequence

from archprof.analysis.report.swept_scatter import Measure, SweptScatter, find_swept_front
from archprof.facts.swept import SweptRow
from archprof.render.page import axes
from archprof.render.page.axes import LOG_SPAN, PlotAxis
from archprof.render.page.markup import coord, escape_text, tag
from archprof.render.page.svg import COLOUR_COUNT

WIDTH, HEIGHT = 720.0, 380.0
LEFT, RIGHT, TOP, BOTTOM = 68.0, 700.0, 12.0, 336.0


def draw_swept_scatter(rows: Sequence[SweptRow], scatter: SweptScatter, said: str) -> str:
    """The picture, with `said` as what it shows in words."""
    drawn = _draw_axes(rows, scatter, upright=True) + _draw_axes(rows, scatter, upright=False)
    drawn += "".join(_draw_setting(rows, scatter, number) for number in range(len(scatter.settings)))
    view = f"0 0 {coord(WIDTH)} {coord(HEIGHT)}"
    return tag("svg", drawn, viewBox=view, class_="chart swept", role="img", aria_label=said)


def _draw_setting(rows: Sequence[SweptRow], scatter: SweptScatter, number: int) -> str:
    """The points of a setting, and its front."""
    across, upwards = scatter.across, scatter.upwards
    x, y = fit_measure(rows, across, upwards, upright=False), fit_measure(rows, upwards, across, upright=True)
    places = [place for place, setting in enumerate(scatter.setting_of) if setting == number]

    def point(place: int) -> str:
        at = x.pixel_of(getattr(rows[place], across.key) / 1), y.pixel_of(getattr(rows[place], upwards.key) / 1)
        return f"{coord(at[0])} {coord(at[1])}"

    known = [
        place
        for place in places
        if getattr(rows[place], across.key) is not None and getattr(rows[place], upwards.key) is not None
    ]
    dots = "".join(f"M{point(place)}h0" for place in known)
    front = " ".join(map(point, find_swept_front(rows, places, across, upwards)))
    colour = f"c{number % COLOUR_COUNT}"
    return tag("path", d=f"M{front}" if front else "", class_=f"{colour} line", data_f=number) + tag(
        "path", d=dots, class_=f"{colour} dots", data_p=number
    )


def list_values(rows: Sequence[SweptRow], measure: Measure, other: Measure) -> list[float]:
    """Of the rows that have both, which are drawn; of all that have the measure, where none are."""
    held = [row for row in rows if getattr(row, measure.key) is not None]
    both = [row for row in held if getattr(row, other.key) is not None]
    return [float(getattr(row, measure.key)) for row in both or held]


def fit_measure(rows: Sequence[SweptRow], measure: Measure, other: Measure, *, upright: bool) -> PlotAxis:
    """The axis of a measure over the points that are drawn against another; logarithmic where its span is wide."""
    values = list_values(rows, measure, other)
    log = min(values) > 0 and max(values) / min(values) >= LOG_SPAN
    return axes.fit_axis(values, *((BOTTOM, TOP) if upright else (LEFT, RIGHT)), log=log)


def _draw_axes(rows: Sequence[SweptRow], scatter: SweptScatter, *, upright: bool) -> str:
    """Of every measure an axis for those others with which it has the same ends."""
    shown = (scatter.upwards, scatter.across) if upright else (scatter.across, scatter.upwards)
    drawn = ""
    for one in scatter.measures:
        alike: dict[tuple[float, float], list[Measure]] = {}
        for other in scatter.measures:
            values = list_values(rows, one, other)
            alike.setdefault((min(values), max(values)), []).append(other)
        for others in alike.values():
            drawn += _draw_axis(rows, one, others, shown=shown[0] == one and shown[1] in others, upright=upright)
    return drawn


def _draw_axis(
    rows: Sequence[SweptRow], measure: Measure, others: Sequence[Measure], *, shown: bool, upright: bool
) -> str:
    """Lines, numbers and the name of an axis; the script reads its ends to place points."""
    axis = fit_measure(rows, measure, others[0], upright=upright)
    scale = axes.choose_scale(measure.unit, list_values(rows, measure, others[0]))
    name = escape_text(axes.label_with_unit(measure.label, scale))
    ticks = [(axis.pixel_of(tick * scale.factor), f"{tick:,.4g}") for tick in _scaled(axis, scale.factor)]
    if upright:
        path = "".join(f"M{coord(LEFT)} {coord(at)}H{coord(RIGHT)}" for at, _ in ticks)
        drawn = tag("path", d=path, class_="grid")
        drawn += "".join(tag("text", text, x=LEFT - 8, y=at + 4, text_anchor="end") for at, text in ticks)
        turn = f"translate(13 {coord((TOP + BOTTOM) / 2)}) rotate(-90)"
        drawn += tag("text", name, transform=turn, class_="name", text_anchor="middle")
    else:
        path = f"M{coord(LEFT)} {coord(BOTTOM)}H{coord(RIGHT)}"
        path += "".join(f"M{coord(at)} {coord(BOTTOM)}v4" for at, _ in ticks)
        drawn = tag("path", d=path, class_="axis")
        drawn += "".join(tag("text", text, x=at, y=BOTTOM + 18, text_anchor="middle") for at, text in ticks)
        middle = (LEFT + RIGHT) / 2
        drawn += tag("text", name, x=middle, y=HEIGHT - 6, class_="name", text_anchor="middle")
    ends = {"data_low": repr(axis.low), "data_high": repr(axis.high), "data_log": axis.log, "hidden": not shown}
    against = " ".join(one.key for one in others)
    return tag("g", drawn, **{"data_y" if upright else "data_x": measure.key}, data_with=against, **ends)


def _scaled(axis: PlotAxis, factor: float) -> list[float]:
    """Round numbers along an axis, in its unit."""
    shown = PlotAxis(axis.low / factor, axis.high / factor, axis.start, axis.end, axis.log)
    return shown.ticks(5 if axis.start == BOTTOM else 7)
