"""The picture of what is live over the ops, by what it is for, with the peak flagged. It needs no script."""

from __future__ import annotations

from archprof import units
from archprof.analysis.report.memory_areas import MemoryAreas, build_memory_areas
from archprof.facts.records import Profile
from archprof.render.page import axes, svg
from archprof.render.page.axes import PlotAxis
from archprof.render.page.markup import coord, escape_text, tag
from archprof.render.page.text_width import fit_text

TITLE = "Live bytes over the ops, by what they are for"
FLAG_HEIGHT = 16.0
"""Above the areas, for the words at the peak."""


def render_memory_figure(profile: Profile, id: str) -> str:
    """The figure with its key; nothing for a pass without ops."""
    areas = build_memory_areas(profile)
    if areas is None:
        return ""
    key = tag("ul", "".join(_explain(areas, index) for index in range(len(areas.names))), class_="legend")
    picture = tag("div", draw_memory_areas(areas), class_="pic")
    return tag("figure", tag("figcaption", TITLE) + picture + key, class_="fig", id=id)


def draw_memory_areas(areas: MemoryAreas) -> str:
    """One area per category, on top of one another, and a line at the peak."""
    box = f"0 0 {coord(svg.CHART_WIDTH)} {coord(svg.CHART_HEIGHT)}"
    return tag("svg", draw_inside(areas), viewBox=box, class_="chart", role="img", aria_label=describe_areas(areas))


def draw_inside(areas: MemoryAreas) -> str:
    """The drawing without the element around it."""
    scale = units.choose_unit_scale([areas.peak_bytes], "bytes")
    right, bottom = svg.CHART_WIDTH - svg.RIGHT_MARGIN, svg.CHART_HEIGHT - svg.BOTTOM_MARGIN
    x = axes.fit_axis([0, areas.ops - 1], svg.LEFT_MARGIN, right, zero=True)
    y = axes.fit_axis([0, areas.peak_bytes / scale.factor], bottom, svg.TOP_MARGIN + FLAG_HEIGHT, zero=True)
    frame = svg.draw_frame(x, y, "op of the step, in order", f"live, {scale.symbol}")
    return frame + "".join(_draw_areas(areas, x, y, scale.factor)) + _draw_flag(areas, x)


def _draw_areas(areas: MemoryAreas, x: PlotAxis, y: PlotAxis, factor: float) -> list[str]:
    below, drawn = [0] * len(areas.places), []
    for index, sizes in enumerate(areas.sizes):
        above = [low + size for low, size in zip(below, sizes, strict=True)]
        there = [_place(x, y, *one) for one in zip(areas.places, (high / factor for high in above), strict=True)]
        back = [_place(x, y, *one) for one in zip(areas.places, (low / factor for low in below), strict=True)]
        path = tag("path", tag("title", escape_text(areas.names[index])), d=f"M{' '.join([*there, *back[::-1]])}z",
                   class_=colour_of(index))  # fmt: skip
        drawn.append(path)
        below = above
    return drawn


def _place(x: PlotAxis, y: PlotAxis, across: float, high: float) -> str:
    return f"{coord(x.pixel_of(across))} {coord(y.pixel_of(high))}"


def _draw_flag(areas: MemoryAreas, x: PlotAxis) -> str:
    """A line from the bottom to the words above it, which lie on the side that has room."""
    at = x.pixel_of(areas.places[areas.peak])
    left = at > (x.start + x.end) / 2
    room = at - x.start if left else x.end - at
    words = fit_text(_name_peak(areas), room - 4, svg.LABEL_SIZE)
    line = tag(
        "path", d=f"M{coord(at)} {coord(svg.CHART_HEIGHT - svg.BOTTOM_MARGIN)}V{coord(svg.TOP_MARGIN)}", class_="axis"
    )
    place = at - 4 if left else at + 4
    return line + tag("text", escape_text(words), x=place, y=svg.TOP_MARGIN + 9, text_anchor="end" if left else "start")


def _name_peak(areas: MemoryAreas) -> str:
    return f"Peak {units.show_quantity(areas.peak_bytes, 'bytes')}: {areas.peak_words}"


def describe_areas(areas: MemoryAreas) -> str:
    """The picture in words."""
    parts = [
        f"{name} {units.show_quantity(sizes[areas.peak], 'bytes')}"
        for name, sizes in zip(areas.names, areas.sizes, strict=True)
    ]
    return f"{TITLE}. {_name_peak(areas)}. At the peak: {', '.join(parts)}."


def _explain(areas: MemoryAreas, index: int) -> str:
    square = tag("path", d="M0 0h10v10h-10z", class_=colour_of(index))
    swatch = tag("svg", square, width="10", height="10", aria_hidden="true")
    return tag("li", swatch + explain_area(areas, index))


def explain_area(areas: MemoryAreas, index: int) -> str:
    """An area's line in the key, as markup."""
    at_peak = units.show_quantity(areas.sizes[index][areas.peak], "bytes")
    return f"{escape_text(areas.names[index])}: {at_peak} at the peak"


def colour_of(index: int) -> str:
    """The class of an area."""
    return f"c{index % svg.COLOUR_COUNT} bar"
