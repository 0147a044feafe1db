"""The picture of the first screen: a treemap by module with a switch between metrics, which needs no script.

Several models stand beside each other like the bars of a bar chart, each as high as its total and filled with its
own modules; the areas of all of them can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from archprof import units
from archprof.analysis.metrics import METRIC_BY_KEY
from archprof.analysis.network.families import FAMILIES, OTHER_FAMILY
from archprof.analysis.report.page import ModelPage
from archprof.analysis.report.treemap import ALL_AREA_METRICS
from archprof.render.page.markup import coord, escape_text, tag, void_tag
from archprof.render.page.squarify import PlacedBox, Rect, place_boxes
from archprof.render.page.text_width import fit_text, measure_text

DEFAULT_METRIC = "macs"
DRAWN_METRICS = tuple(metric for metric in ALL_AREA_METRICS if metric != "flops")
"""FLOPs are about twice the MACs everywhere, and would be the same picture."""

MAP_WIDTH, MAP_HEIGHT, LABEL_HEIGHT, MAP_GAP = 760.0, 400.0, 34.0, 12.0

LABEL_SIZE, MIN_LABEL = 11.0, 36.0
"""Of the labels in boxes, in pixels; and the least room for one that is cut."""

LocateRow = Callable[[int, str], str | None]
"""From a model and the path of a module to the id of its row in the table."""


def draw_switch(models: Sequence[ModelPage], locate: LocateRow) -> str:
    """The treemaps with the radio buttons that choose among them; nothing for models that have no modules."""
    shown = [metric for metric in DRAWN_METRICS if any(_total(page, metric) for page in models)]
    if not shown:
        return ""
    first = DEFAULT_METRIC if DEFAULT_METRIC in shown else shown[0]
    buttons = [
        void_tag("input", type="radio", name="area", id=f"area-{metric}", checked=metric == first)
        + tag("label", METRIC_BY_KEY[metric].short_label, for_=f"area-{metric}")
        for metric in shown
    ]
    maps = "".join(_map(models, metric, locate) for metric in shown)
    legend = tag("legend", "Area shows")
    return tag("fieldset", legend + "".join(buttons) + tag("div", maps, class_="maps"), class_="switch")


def _total(page: ModelPage, metric: str) -> float:
    """Nothing for a model without modules, and for one that was not measured."""
    return page.nodes[0].total.get(metric, 0) if page.nodes else 0


def _map(models: Sequence[ModelPage], metric: str, locate: LocateRow) -> str:
    """The picture for one metric, with what a reader who cannot see it is told."""
    unit = METRIC_BY_KEY[metric].unit
    totals = [_total(page, metric) for page in models]
    scale = units.choose_unit_scale(totals, unit)
    width = (MAP_WIDTH - MAP_GAP * (len(models) - 1)) / len(models)
    pieces, found = [], set[str]()
    for i, (page, total) in enumerate(zip(models, totals, strict=True)):
        high = MAP_HEIGHT * total / max(totals)
        place = Rect(i * (width + MAP_GAP), MAP_HEIGHT - high, width, high)
        drawn = place_boxes(page.nodes, metric, place) if total else []
        found |= {box.node.family for box in drawn if not box.has_head and not box.grouped_count}
        names = {node.id: node.name for node in page.nodes}
        pieces += [_box(box, unit, names, locate(i, names[box.node.id])) for box in drawn]
        if len(models) > 1:
            pieces.append(_name(place, page.profile.model, f"{scale.format(total)} {scale.symbol}".strip()))
    view = f"0 0 {coord(MAP_WIDTH)} {coord(MAP_HEIGHT + (LABEL_HEIGHT if len(models) > 1 else 0))}"
    said = _said(models, metric)
    picture = tag("svg", "".join(pieces), viewBox=view, role="img", aria_label=said, class_="map")
    scroll = tag("div", picture, class_="pic")
    return tag("div", scroll + _legend(found), class_=f"by by-{metric}")


def _said(models: Sequence[ModelPage], metric: str) -> str:
    """The picture in words: of each model its total and the largest parts."""
    label, unit = METRIC_BY_KEY[metric].short_label, METRIC_BY_KEY[metric].unit
    sentences = []
    for page in models:
        if not _total(page, metric):
            continue
        root, *others = page.nodes
        parts = sorted((node for node in others if node.parent == root.id), key=lambda node: -node.total[metric])[:3]
        largest = ", ".join(f"{node.label} {units.show_quantity(node.total[metric], unit)}" for node in parts)
        total = units.show_quantity(root.total[metric], unit)
        sentences.append(f"{page.profile.model} {total}" + (f", largest parts {largest}" if largest else ""))
    return f"Treemap of {label} by module: {'; '.join(sentences)}. The table of layers holds every number."


def _box(box: PlacedBox, unit: str, names: dict[str, str], row: str | None) -> str:
    place, value = box.rect.inset(0.5), units.show_quantity(box.value, unit)
    name = names[box.node.id]
    inner = name.removeprefix(names[box.container_id]).lstrip(". ")
    if box.grouped_count:
        said = f"{box.grouped_count} smaller parts of {name}: {value}"
        return tag("g", tag("title", escape_text(said)) + _rect(place), class_=_colour(OTHER_FAMILY))
    title = tag("title", escape_text(f"{name} ({box.node.kind}): {value}"))
    if box.has_head:
        text = _text(place, inner, box.node.label, 11)
        return tag("g", title + _rect(place) + text, class_="head", data_r=row)
    text = _text(place, inner, box.node.label, 12)
    if text and place.height >= 32 and measure_text(value, LABEL_SIZE) <= place.width - 8:
        text += tag("text", escape_text(value), x=place.x + 5, y=place.y + 26, class_="v")
    return tag("g", title + _rect(place) + text, class_=_colour(box.node.family), data_r=row)


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


def _name(place: Rect, model: str, total: str) -> str:
    """What stands under the treemap of one model among several."""
    short = fit_text(model, place.width, LABEL_SIZE, bold=True)
    name = tag("text", escape_text(short), x=place.x, y=MAP_HEIGHT + 15, class_="n")
    return name + tag("text", escape_text(total), x=place.x, y=MAP_HEIGHT + 30, class_="v")


def _legend(found: set[str]) -> str:
    """The kinds that the picture has, in the order of their colours."""
    order = [name for name in (*FAMILIES, OTHER_FAMILY) if name in found]
    swatch = tag("svg", _rect(Rect(0, 0, 10, 10)), width="10", height="10", aria_hidden="true")
    return tag("ul", "".join(tag("li", swatch + name, class_=_colour(name)) for name in order), class_="legend")
