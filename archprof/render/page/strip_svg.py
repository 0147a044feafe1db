"""The network along its length as a drawing: boxes in order, what flows between them, and aligned lanes of numbers.

It needs no script: each column of a page is a link to what is inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from archprof.analysis.network.flows import OUTSIDE
from archprof.analysis.network.strip import Block, Lane, Network, show_shape
from archprof.render.page import strip_lanes, strip_layout
from archprof.render.page.markup import coord, escape_text, tag, to_xml
from archprof.render.page.strip_layout import ENTRY_WIDTH, SHEET_OFFSET, TRACK_HEIGHT, Bus, ColumnPlace
from archprof.render.page.text_width import fit_path, fit_text, measure_text

BOX_HEIGHT, BOX_PAD, BOX_TOP = 58.0, 7.0, 3.0
NAME_SIZE, WORD_SIZE = 12.0, 11.0
HEAD_HEIGHT = 34.0
"""The line with the title, of a drawing that stands alone."""

PAD_ALONE = 16.0

LinkColumn = Callable[[int], str | None]
"""From the index of a column to the address that it leads to."""


class StripScale(NamedTuple):
    """What the highest bar of each lane stands for; of several strips beside one another, the same in all of them."""

    most: dict[str, float]


def draw_strip(
    network: Network, *, id: str = "strip", link: LinkColumn = lambda at: None, scale: StripScale | None = None
) -> str:
    """The drawing, in the colours of the page around it."""
    inner, width, height = _draw(network, id, link, scale)
    view = f"0 0 {coord(width)} {coord(height)}"
    said = network.describe()
    return tag("svg", inner, viewBox=view, width=width, height=height, role="group", aria_label=said, class_="strip")


def draw_alone(network: Network) -> str:
    """A whole file: with its title, its own colours and a ground."""
    inner, width, height = _draw(network, "strip", lambda at: None, None)
    pad = PAD_ALONE
    wide, high = width + 2 * pad, height + HEAD_HEIGHT + 2 * pad
    title = fit_text(network.title, width * 0.6, 17, bold=True)
    words = "the network along its length; equal blocks are folded"
    head = tag("text", escape_text(title), x=0, y=17, font_size="17", font_weight="650", class_="head")
    if measure_text(title, 17, bold=True) + measure_text(words, WORD_SIZE) + 20 < width:
        head += tag("text", words, x=width, y=17, text_anchor="end")
    drawn = tag("g", head, transform=f"translate({coord(pad)} {coord(pad)})")
    drawn += tag("g", inner, transform=f"translate({coord(pad)} {coord(pad + HEAD_HEIGHT)})")
    style = tag(
        "style",
        f"{read_style('strip.css')}{read_style('strip_alone.css')}.strip .head{{font-size:17px;fill:var(--ink)}}",
    )
    ground = tag("rect", width=wide, height=high, class_="paper")
    view = f"0 0 {coord(wide)} {coord(high)}"
    said = tag("title", escape_text(network.describe()))
    drawing = tag(
        "svg", said + style + ground + drawn,
        xmlns="http://www.w3.org/2000/svg", viewBox=view, width=wide, height=high, role="img", class_="strip",
    )  # fmt: skip
    return to_xml(drawing)


@cache
def read_style(name: str) -> str:
    return files("archprof.render.page").joinpath(name).read_text("utf-8")


def _draw(network: Network, id: str, link: LinkColumn, scale: StripScale | None) -> tuple[str, float, float]:
    """What is drawn, and how wide and high it is."""
    entry = ENTRY_WIDTH if strip_layout.needs_entry(network.edges) else 0.0
    places = strip_layout.place_columns(len(network.blocks), entry)
    buses = strip_layout.route_branches(network.edges)
    step = min(TRACK_HEIGHT, strip_layout.MAX_TRACKS_HEIGHT / max(len(buses), 1))
    top = BOX_TOP + (8 + step * (1 + max(bus.track for bus in buses)) if buses else 0.0)
    width = max(places[-1].right + 2 * SHEET_OFFSET if places else 0.0, strip_layout.MIN_STRIP)
    lanes, height = strip_lanes.draw_lanes(
        network, places, width, top + BOX_HEIGHT + 2 * SHEET_OFFSET, id, scale and scale.most
    )
    columns = [
        _column(network, at, places[at], top, lanes.columns[at], height, link(at)) for at in range(len(network.blocks))
    ]
    flows = _arrows(network, places, top, entry) + "".join(_bus(bus, places, top, step) for bus in buses)
    return lanes.ground + flows + "".join(columns) + lanes.over, width, height


def _column(
    network: Network, at: int, place: ColumnPlace, top: float, bars: str, height: float, href: str | None
) -> str:
    """One block with its numbers; a link, where it leads somewhere."""
    block, said = network.blocks[at], "\n".join(network.describe_block(at))
    hit = tag("rect", x=place.left - 3, y=0.0, width=place.width + 6, height=height, class_="hit")
    drawn = tag("title", escape_text(said)) + hit + _box(block, place, top) + bars
    if href is None:
        return tag("g", drawn)
    return tag("a", drawn, href=href, aria_label=said.replace("\n", ", "), data_at=at)


def _box(block: Block, place: ColumnPlace, top: float) -> str:
    """The block itself: name, kind and shape; sheets behind it where it stands for several."""
    sheets = range(2 if block.count > 1 else 0, -1, -1)
    drawn = "".join(
        tag(
            "rect",
            x=place.left + i * SHEET_OFFSET,
            y=top + i * SHEET_OFFSET,
            width=place.width,
            height=BOX_HEIGHT,
            rx="6",
            class_="box",
        )
        for i in sheets
    )
    room, x = place.width - 2 * BOX_PAD, place.left + BOX_PAD
    many = f"{block.repeats} × " if block.count > 1 else ""
    lines = [
        (fit_path(block.label, room, NAME_SIZE, bold=True), "t"),
        (fit_text(f"{many}{block.kind}", room, WORD_SIZE, bold=bool(many)), "b" if many else None),
        ("" if block.shape is None else fit_text(show_shape(block.shape), room, WORD_SIZE), "s"),
    ]
    return drawn + "".join(
        tag("text", escape_text(text), x=x, y=top + 17 + 16 * i, class_=kind)
        for i, (text, kind) in enumerate(lines)
        if text
    )


def _arrows(network: Network, places: Sequence[ColumnPlace], top: float, entry: float) -> str:
    """From each block to the next, where something flows."""
    middle, pieces = top + BOX_HEIGHT / 2, []
    for edge in network.edges:
        if edge.is_next and (edge.source != OUTSIDE or entry):
            start = places[edge.source].right if edge.source != OUTSIDE else 0.0
            pieces.append(f"M{coord(start)} {coord(middle)}H{coord(places[edge.target].left - 1)}m-4-3l4 3-4 3")
    return tag("path", d="".join(pieces), class_="flow") if pieces else ""


def _bus(bus: Bus, places: Sequence[ColumnPlace], top: float, step: float) -> str:
    """Up from each source, along, and down to each target."""
    y = top - 8 - step * bus.track
    shift = strip_layout.PORT_GAP * bus.track
    outs = [2.0 if at == OUTSIDE else _port(places[at], -shift, 0.72) for at in bus.sources]
    ins = [_port(places[at], shift, 0.28) for at in bus.targets]
    path = f"M{coord(min(outs + ins))} {coord(y)}H{coord(max(outs + ins))}"
    for at, x in zip(bus.sources, outs, strict=True):
        path += f"M{coord(x)} {coord(y)}V{coord(top if at != OUTSIDE else top + BOX_HEIGHT / 2)}"
    path += "".join(f"M{coord(x)} {coord(y)}V{coord(top - 1)}m-3-4l3 4 3-4" for x in ins)
    return tag("path", d=path, class_="flow")


def _port(place: ColumnPlace, shift: float, share: float) -> float:
    """Where a line meets the top of a box: within it, and no two at one place while there is room."""
    return min(max(place.left + place.width * share + shift, place.left + 6), place.right - 6)


def find_scale(networks: Sequence[Network]) -> StripScale:
    """One scale for the lanes of all of them."""
    lanes: list[Lane] = [lane for network in networks for lane in network.lanes]
    return StripScale(
        {lane.key: max(max(one.values, default=0) for one in lanes if one.key == lane.key) for lane in lanes}
    )
