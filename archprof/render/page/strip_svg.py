"""The network along its length as a drawing: boxes in order, what flows between them, and aligned lanes of numbers.

It needs no script: each column of a page is a link to what is inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from archprof.analysis.network.strip import Lane, Network
from archprof.render.page import strip_boxes, strip_lanes, strip_layout
from archprof.render.page.assets import read_asset
from archprof.render.page.markup import coord, escape_text, tag, to_xml
from archprof.render.page.strip_layout import ENTRY_WIDTH, SHEET_OFFSET, TRACK_HEIGHT, ColumnPlace
from archprof.render.page.text_width import fit_text, measure_text

BOX_TOP = 3.0
TITLE_SIZE, NOTE_SIZE, TITLE_HEIGHT, PAD_ALONE = 17.0, 11.0, 32.0, 16.0
"""Of a drawing that stands alone."""

ZOOM_HEIGHT = 46.0
"""Between the strip and what is inside its largest block."""

FOLD_WORDS = "the network along its length; equal blocks are folded"


class ColumnLink(NamedTuple):
    """Where a column leads: an address, whether it opens, and what its rows in the table have in common."""

    address: str
    opens: bool
    rows: str


LinkColumn = Callable[[int], ColumnLink | None]


class DrawnStrip(NamedTuple):
    """What is drawn, its size, and where its columns are."""

    inner: str
    width: float
    height: float
    places: tuple[ColumnPlace, ...]


def draw_strip(
    network: Network, *, id: str = "strip", link: LinkColumn = lambda at: None, most: Mapping[str, float] | None = None
) -> str:
    """The drawing, in the colours of the page around it.

    Args:
        id: of the drawing in its page.
        link: from the index of a column to where it leads.
        most: what the highest bar of a lane stands for, by its key; left out: its largest value.
    """
    drawn = _draw(network, id, link, most)
    view = f"0 0 {coord(drawn.width)} {coord(drawn.height)}"
    return tag(
        "svg", drawn.inner, viewBox=view, width=drawn.width, height=drawn.height,
        role="group", aria_label=network.describe(), class_="strip",
    )  # fmt: skip


def draw_alone(network: Network) -> str:
    """A whole file: with its title, its own colours and a ground; and what is inside the block that holds most."""
    strip = _draw(network, "strip", lambda at: None, None)
    width, height = strip.width, strip.height
    zoom = choose_zoom(network)
    inner = None if zoom is None else network.blocks[zoom].inner
    below = ""
    if zoom is not None and inner is not None:
        inside = _draw(inner, "inside", lambda at: None, None)
        below = _draw_zoom(network, zoom, strip, inside)
        width, height = max(width, inside.width), height + ZOOM_HEIGHT + inside.height
    title = fit_text(network.title, width * 0.6, TITLE_SIZE, bold=True)
    head = tag("text", escape_text(title), x=0, y=16, class_="head")
    if measure_text(title, TITLE_SIZE, bold=True) + measure_text(FOLD_WORDS, NOTE_SIZE) + 20 < width:
        head += tag("text", FOLD_WORDS, x=width, y=16, text_anchor="end")
    body = head + tag("g", strip.inner + below, transform=f"translate(0 {coord(TITLE_HEIGHT)})")
    return _write_file(network, body, width + 2 * PAD_ALONE, height + TITLE_HEIGHT + 2 * PAD_ALONE)


def _write_file(network: Network, body: str, width: float, height: float) -> str:
    style = tag("style", read_asset("strip.css") + read_asset("strip_alone.css"))
    said = tag("title", escape_text(network.describe()))
    ground = tag("rect", width=width, height=height, class_="paper")
    moved = tag("g", body, transform=f"translate({coord(PAD_ALONE)} {coord(PAD_ALONE)})")
    view = f"0 0 {coord(width)} {coord(height)}"
    drawing = tag(
        "svg", said + style + ground + moved,
        xmlns="http://www.w3.org/2000/svg", viewBox=view, width=width, height=height, role="img", class_="strip alone",
    )  # fmt: skip
    return to_xml(drawing)


def choose_zoom(network: Network) -> int | None:
    """The block whose inside is shown without being asked for: the largest of few, if it holds most."""
    lane = next((lane for lane in network.lanes if lane.total), None)
    if lane is None or len(network.blocks) > 5:
        return None
    share = lane.share(lane.largest)
    return lane.largest if share and share > 0.5 and network.blocks[lane.largest].inner else None


def _draw_zoom(network: Network, zoom: int, strip: DrawnStrip, inside: DrawnStrip) -> str:
    """The inside of a block under its strip, with lines that say whose it is."""
    block, place, top = network.blocks[zoom], strip.places[zoom], strip.height
    said = fit_text(say_inside(block.name, block.count), inside.width, 12, bold=True)
    ends = ((place.left, 0.0), (place.right, inside.width))
    lines = "".join(f"M{coord(a)} {coord(top)}L{coord(b)} {coord(top + 18)}" for a, b in ends)
    words = tag("text", escape_text(said), x=0, y=top + 34, class_="t")
    moved = tag("g", inside.inner, transform=f"translate(0 {coord(top + ZOOM_HEIGHT)})")
    return tag("path", d=lines, class_="base") + words + moved


def say_inside(name: str, count: int) -> str:
    return f"Inside {name}" + (f": one of {count} equal" if count > 1 else "")


def _draw(network: Network, id: str, link: LinkColumn, most: Mapping[str, float] | None) -> DrawnStrip:
    entry = ENTRY_WIDTH if strip_layout.needs_entry(network.edges) else 0.0
    places = strip_layout.place_columns(len(network.blocks), entry)
    buses = strip_layout.route_branches(network.edges)
    step = min(TRACK_HEIGHT, strip_layout.MAX_TRACKS_HEIGHT / max(len(buses), 1))
    top = BOX_TOP + (8 + step * (1 + max(bus.track for bus in buses)) if buses else 0.0)
    lines = strip_boxes.count_lines(network.blocks, places)
    high = strip_boxes.measure_height(lines)
    width = max(places[-1].right + 2 * SHEET_OFFSET if places else 0.0, strip_layout.MIN_STRIP)
    lanes, height = strip_lanes.draw_lanes(network, places, width, top + high + 2 * SHEET_OFFSET, id, most)
    flows = strip_boxes.draw_arrows(network.edges, places, top + high / 2, entry)
    flows += "".join(strip_boxes.draw_bus(bus, places, top, step, top + high / 2) for bus in buses)
    columns = []
    for at, (block, place) in enumerate(zip(network.blocks, places, strict=True)):
        box = strip_boxes.draw_box(block, place.width, top, lines)
        columns.append(_column(network, at, place, box + lanes.columns[at], height, link(at)))
    return DrawnStrip(lanes.ground + flows + "".join(columns) + lanes.over, width, height, places)


def _column(network: Network, at: int, place: ColumnPlace, inner: str, height: float, link: ColumnLink | None) -> str:
    """One block with its numbers; a link, where it leads somewhere."""
    said = "\n".join(map(escape_text, network.describe_block(at)))
    hit = tag("rect", x=-3, width=place.width + 6, height=height, class_="hit")
    drawn = tag("title", said) + hit + inner
    moved = f"translate({coord(place.left)})" if place.left else None
    if link is None:
        return tag("g", drawn, transform=moved)
    return tag("a", drawn, href=link.address, data_in=link.opens, data_q=link.rows, transform=moved)


def find_largest(networks: Sequence[Network]) -> dict[str, float]:
    """The largest value of each lane in any of them: one scale for all."""
    lanes: list[Lane] = [lane for network in networks for lane in network.lanes]
    return {
        key: max(max(one.values, default=0) for one in lanes if one.key == key) for key in {lane.key for lane in lanes}
    }
