"""The strips of a page: one for each model, and what is inside each block, which opens where its column is followed.

The strips themselves are in the page, with the inside of a block that holds most. What is inside the others comes
packed, for it is as much again several times over: a script puts it in its place. The address opens it (`:target`).
Without a script the other columns lead to their rows in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from archprof.analysis.network.strip import Block, Network
from archprof.render.page.markup import escape_text, tag
from archprof.render.page.strip_svg import ColumnLink, choose_zoom, draw_strip, find_largest, say_inside

LocateRow = Callable[[int, str], str | None]
"""From a model and the name of a row of its table to the id of that row in the page."""


class RenderedStrips(NamedTuple):
    """What is in the page, and what is packed."""

    shown: str
    packed: str


def render_strips(networks: Sequence[Network], letters: Sequence[str], locate: LocateRow) -> RenderedStrips:
    """The networks under one another, on one scale; `letters` name them where they are several."""
    most = find_largest(networks) if len(networks) > 1 else None
    shown, packed = "", ""
    for i, (network, letter) in enumerate(zip(networks, letters, strict=True)):
        strips = _Strips(i, locate)
        head = tag("h2", escape_text(f"{letter} {network.title}")) if letter else ""
        shown += tag("div", head + strips.render(network, f"net{i}", most, is_shown=True), class_="net", id=f"net{i}")
        packed += "".join(strips.packed)
    return RenderedStrips(shown, packed)


class _Strips:
    """The strips of one model; `packed` are the insides of blocks, each behind what it is in."""

    def __init__(self, model: int, locate: LocateRow) -> None:
        self.model, self.locate = model, locate
        self.packed: list[str] = []

    def render(self, network: Network, id: str, most: Mapping[str, float] | None, is_shown: bool) -> str:
        """A strip; what is inside its blocks is put behind it or packed."""
        zoom, below = choose_zoom(network) if is_shown else None, ""
        drawing = draw_strip(network, id=f"{id}-strip", link=lambda at: self._link(network, at, id, zoom), most=most)
        for at, block in enumerate(network.blocks):
            if block.inner is None:
                continue
            kind, place = "inside first" if at == zoom else "inside", len(self.packed)
            made = self._inside(block.inner, f"{id}-{at}", id, say_inside(block.name, block.count), kind)
            if at == zoom:
                below = made
            else:
                self.packed.insert(place, made)
        return tag("div", drawing, class_="pic") + below

    def _inside(self, network: Network, id: str, outer: str, words: str, kind: str) -> str:
        close = tag("a", "close", href=f"#{outer}", class_="close")
        head = tag("p", f"{tag('b', escape_text(words))} {close}")
        inner = self.render(network, id, None, is_shown=kind != "inside")
        return tag("div", head + inner, class_=kind, id=id, data_of=outer)

    def _link(self, network: Network, at: int, id: str, zoom: int | None) -> ColumnLink:
        """What is inside the block, if that is in the page, or its row in the table."""
        block = network.blocks[at]
        row = next(filter(None, (self.locate(self.model, name) for name in (block.name, *block.rows))), None)
        address = f"#{id}-{at}" if at == zoom else f"#{row or id}"
        return ColumnLink(address, block.inner is not None, _find_query(block))


def _find_query(block: Block) -> str:
    """What the table is filtered by to show the block: its path, or the path that all of several start with."""
    paths = [name.split(" ")[0].split(".") for name in block.rows]
    shared = [words[0] for words in zip(*paths, strict=False) if len(set(words)) == 1]
    own = block.name.split(" ")[0]
    return own if own in block.rows or not shared else ".".join(shared)
