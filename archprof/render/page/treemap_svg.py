"""A treemap by module with a switch between metrics, which needs no script; boxes are in the order of the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from archprof import units
from archprof.analysis import phrases
from archprof.analysis.metrics import METRIC_BY_KEY
from archprof.analysis.network.families import FAMILIES, OTHER_FAMILY
from archprof.analysis.report.page import ModelPage
from archprof.analysis.report.treemap import ALL_AREA_METRICS, TreemapNode
from archprof.analysis.report.treemap_folding import fold_equal_nodes
from archprof.render.page.markup import coord, escape_text, tag, void_tag
from archprof.render.page.squarify import PlacedBox, Rect, place_boxes
from archprof.render.page.text_width import fit_text, measure_text

FIRST_METRICS = ("latency", "macs")
DRAWN_METRICS = tuple(metric for metric in ALL_AREA_METRICS if metric != "flops")
"""FLOPs are about twice the MACs everywhere, and would be the same picture."""

MAP_WIDTH, MAP_HEIGHT = 1100.0, 400.0

ROOT_ID = "n0"

LABEL_SIZE, MIN_LABEL = 11.0, 36.0
"""Of the labels in boxes, in pixels; and the least room for one that is cut."""

LocateRow = Callable[[int, str], str | None]
"""From a model and the path of a module to the id of its row in the table."""


def draw_switch(model: ModelPage, locate: LocateRow) -> str:
    """The treemaps with the radio buttons that choose among them; nothing for a model that has no parts to set apart.

    What was measured is what it opens on.
    """
    nodes = fold_equal_nodes(model.nodes)
    shown = [metric for metric in DRAWN_METRICS if len(nodes) > 2 and nodes[0].total.get(metric)]
    if not shown:
        return ""
    first = next((metric for metric in FIRST_METRICS if metric in shown), shown[0])
    buttons = [
        void_tag("input", type="radio", name="area", id=f"area-{metric}", checked=metric == first)
        + tag("label", METRIC_BY_KEY[metric].short_label, for_=f"area-{metric}")
        for metric in shown
    ]
    maps = "".join(_map(model, nodes, metric, locate) for metric in shown)
    legend = tag("legend", "Area shows")
    return tag("fieldset", legend + "".join(buttons) + tag("div", maps, class_="maps"), class_="switch")


def _map(model: ModelPage, nodes: Sequence[TreemapNode], metric: str, locate: LocateRow) -> str:
    """The picture for one metric, with what a reader who cannot see it is told."""
    drawn = place_boxes(nodes, metric, Rect(0, 0, MAP_WIDTH, MAP_HEIGHT))
    found = {box.node.family for box in drawn if not box.has_head and not box.grouped_count}
    by_id = {node.id: node for node in nodes}
    pieces = [_box(box, metric, by_id, locate(0, box.node.name)) for box in drawn]
    view, said = f"0 0 {coord(MAP_WIDTH)} {coord(MAP_HEIGHT)}", _said(model, nodes, metric)
    picture = tag("svg", "".join(pieces), viewBox=view, role="img", aria_label=said, class_="map")
    return tag("div", tag("div", picture, class_="pic") + _legend(found), class_=f"by by-{metric}")


def _said(model: ModelPage, nodes: Sequence[TreemapNode], metric: str) -> str:
    """The picture in words: the total and the largest parts."""
    label, unit = METRIC_BY_KEY[metric].short_label, METRIC_BY_KEY[metric].unit
    root, *others = nodes
    parts = sorted((node for node in others if node.parent == root.id), key=lambda node: -node.total[metric])[:3]
    largest = ", ".join(f"{node.label} {units.show_quantity(node.total[metric], unit)}" for node in parts)
    total = f"{model.profile.model} {units.show_quantity(root.total[metric], unit)}"
    return f"Treemap of {label} by module: {total}, largest parts {largest}. The table of layers holds every number."


def _box(box: PlacedBox, metric: str, by_id: Mapping[str, TreemapNode], row: str | None) -> str:
    place, value = box.rect.inset(0.5), units.show_quantity(box.value, METRIC_BY_KEY[metric].unit)
    node, share = box.node, phrases.say_percent(box.value / by_id[ROOT_ID].total[metric])
    if box.grouped_count:
        title = _title(f"{box.grouped_count:,} smaller parts of {node.name}", f"{value} ({share})")
        text = _text(place, f"{box.grouped_count:,} smaller parts", f"{box.grouped_count:,} more", 12)
        return tag("g", title + _rect(place) + text + _value(place, text, value), class_=_colour(OTHER_FAMILY))
    around, whole = by_id[box.container_id], node.whole_name or node.name
    inner = whole.removeprefix(around.whole_name or around.name).lstrip(". ") + _say_times(node.times // around.times)
    title = _title(whole + _say_times(node.times), node.kind, f"{value} ({share})")
    if box.has_head:
        text = _text(place, inner, node.label, 11)
        return tag("g", title + _rect(place) + text, class_="head", data_r=row)
    long, short = (f"{inner} {node.kind}", inner) if node.label.isdigit() else (inner, node.label)
    text = _text(place, long, short, 12)
    text += _value(place, text, value)
    return tag("g", title + _rect(place) + text, class_=_colour(node.family), data_r=row)


def _value(place: Rect, text: str, value: str) -> str:
    """The value under the name of a box, where there is one and both have room."""
    if not text or place.height < 32 or measure_text(value, LABEL_SIZE) > place.width - 8:
        return ""
    return tag("text", escape_text(value), x=place.x + 5, y=place.y + 26, class_="v")


def _say_times(times: int) -> str:
    return f" ×{times:,}" if times > 1 else ""


def _title(*lines: str) -> str:
    return tag("title", "\n".join(escape_text(line) for line in lines if line))


def _rect(place: Rect) -> str:
    wide, high = coord(place.width), coord(place.height)
    return tag("path", d=f"M{coord(place.x)} {coord(place.y)}h{wide}v{high}h-{wide}z")


def _colour(name: str) -> str:
    """The class of a family: `k1` is the first, `k0` what has none."""
    return f"k{FAMILIES.index(name) + 1 if name in FAMILIES else 0}"


def _text(place: Rect, long: str, short: str, down: float) -> str:
    """The longer of two names that fits into the first line of a box; nothing where neither does."""
    room = place.width - 8
    fits = next((name for name in (long, short) if measure_text(name, LABEL_SIZE, bold=True) <= room), "")
    if not fits and room >= MIN_LABEL:
        fits = fit_text(short, room, LABEL_SIZE, bold=True)
    return tag("text", escape_text(fits), x=place.x + 5, y=place.y + down) if fits and place.height >= 15 else ""


def _legend(found: set[str]) -> str:
    """The kinds that the picture has, in the order of their colours."""
    order = [name for name in (*FAMILIES, OTHER_FAMILY) if name in found]
    swatch = tag("svg", _rect(Rect(0, 0, 10, 10)), width="10", height="10", aria_hidden="true")
    return tag("ul", "".join(tag("li", swatch + name, class_=_colour(name)) for name in order), class_="legend")
