"""The boxes of a strip, and the lines of what flows between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from archprof.analysis.network.flows import OUTSIDE, Edge
from archprof.analysis.network.strip import Block, Shape, show_shape
from archprof.render.page import strip_layout
from archprof.render.page.markup import coord, escape_text, tag
from archprof.render.page.strip_layout import SHEET_OFFSET, Bus, ColumnPlace
from archprof.render.page.text_width import fit_path, fit_text, measure_text

LINE_HEIGHT, BOX_PAD = 15.0, 6.0
NAME_SIZE, WORD_SIZE = 12.0, 11.0


def count_lines(blocks: Sequence[Block], places: Sequence[ColumnPlace]) -> int:
    """Lines of text in a box: name, kind and shape, and above the name where it lies if not all names fit."""
    return 3 if all(_fits(block, place.width) for block, place in zip(blocks, places, strict=True)) else 4


def measure_height(lines: int) -> float:
    return LINE_HEIGHT * lines + 11


def _fits(block: Block, width: float) -> bool:
    return measure_text(block.label, NAME_SIZE, bold=True) <= width - 2 * BOX_PAD


def draw_box(block: Block, width: float, top: float, lines: int) -> str:
    """The block itself, from x = 0 on; sheets behind it where it stands for several."""
    high = measure_height(lines)
    drawn = "".join(
        tag("rect", x=shift or None, y=top + shift, width=width, height=high, rx="6", class_="box")
        for shift in ([2 * SHEET_OFFSET, SHEET_OFFSET, 0.0] if block.count > 1 else [0.0])
    )
    return drawn + "".join(_write_lines(block, width, top + 15, lines))


def _write_lines(block: Block, width: float, y: float, lines: int) -> Iterator[str]:
    room, x = width - 2 * BOX_PAD, BOX_PAD
    above, last = ("", block.label) if _fits(block, width) else _break_label(block.label, room)
    if above:
        yield tag("text", escape_text(fit_path(above, room, WORD_SIZE)), x=x, y=y)
    y += LINE_HEIGHT * (lines - 3)
    yield tag("text", escape_text(fit_path(last, room, NAME_SIZE, bold=True)), x=x, y=y, class_="t")
    many = f"{block.repeats}× " if block.count > 1 else ""
    kind = fit_text(block.kind, room - measure_text(many, WORD_SIZE, bold=True), WORD_SIZE)
    count = tag("tspan", many, class_="b") if many else ""
    yield tag("text", f"{count}{escape_text(kind)}", x=x, y=y + LINE_HEIGHT)
    if block.shape is not None:
        yield tag("text", escape_text(_fit_shape(block.shape, room)), x=x, y=y + 2 * LINE_HEIGHT, class_="s")


def _break_label(text: str, room: float) -> tuple[str, str]:
    """The label on two lines: the longest end that has room, from behind a dot on, or else a dash or an underscore."""
    for signs in (".", "_– "):
        for at, sign in enumerate(text):
            if sign in signs and measure_text(text[at + 1 :], NAME_SIZE, bold=True) <= room:
                return text[: at + (sign != ".")].rstrip(), text[at + 1 :]
    above, _, last = text.rpartition(".")
    return above, last


def _fit_shape(shape: Shape, room: float) -> str:
    """The shape; with "56²" for "56×56" where that alone has room."""
    whole = show_shape(shape)
    if measure_text(whole, WORD_SIZE) <= room:
        return whole
    runs = [(str(size), len(list(same))) for size, same in groupby(shape[1:])]
    powers = [f"{size}{'²³⁴'[count - 2]}" if 1 < count < 5 else "×".join([size] * count) for size, count in runs]
    short = "×".join([str(shape[0]), *powers])
    return fit_text(short, room, WORD_SIZE)


def draw_arrows(edges: Sequence[Edge], places: Sequence[ColumnPlace], middle: float, entry: float) -> str:
    """From each block to the next, where something flows."""
    pieces = []
    for edge in edges:
        if edge.is_next and (edge.source != OUTSIDE or entry):
            start = places[edge.source].right if edge.source != OUTSIDE else 0.0
            pieces.append(f"M{coord(start)} {coord(middle)}H{coord(places[edge.target].left - 1)}m-4-3l4 3-4 3")
    return tag("path", d="".join(pieces), class_="flow") if pieces else ""


def draw_bus(bus: Bus, places: Sequence[ColumnPlace], top: float, step: float, middle: float) -> str:
    """Up from each source, along, and down to each target."""
    y = top - 8 - step * bus.track
    shift = strip_layout.PORT_GAP * bus.track
    outs = [2.0 if at == OUTSIDE else _port(places[at], -shift, 0.72) for at in bus.sources]
    ins = [_port(places[at], shift, 0.28) for at in bus.targets]
    path = f"M{coord(min(outs + ins))} {coord(y)}H{coord(max(outs + ins))}"
    for at, x in zip(bus.sources, outs, strict=True):
        path += f"M{coord(x)} {coord(y)}V{coord(top if at != OUTSIDE else middle)}"
    path += "".join(f"M{coord(x)} {coord(y)}V{coord(top - 1)}m-3-4l3 4 3-4" for x in ins)
    return tag("path", d=path, class_="flow")


def _port(place: ColumnPlace, shift: float, share: float) -> float:
    """Where a line meets the top of a box: within it, and no two at one place while there is room."""
    return min(max(place.left + place.width * share + shift, place.left + 6), place.right - 6)
