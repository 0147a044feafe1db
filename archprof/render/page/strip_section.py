"""The strips of a page: one for each model, and what is inside each block, which opens where its column is followed.

The strips themselves are in the page, with the inside of a block that holds most. What is inside the others comes
packed, for it is as much again several times over: a script puts it in its place, and the address opens it (`:target`).
Without a script a column leads to its row in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from archprof.analysis.network.strip import Network
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
        """A strip, and what is shown inside it from the start."""
        drawing = draw_strip(network, id=f"{id}-strip", link=lambda at: self._link(network, at, id), most=most)
        zoom, below = choose_zoom(network) if is_shown else None, ""
        for at, block in enumerate(network.blocks):
            if block.inner is not None and at == zoom:
                below = self._inside(block.inner, f"{id}-{at}", id, say_inside(block.name, block.count), "inside first")
            elif block.inner is not None:
                said, place = say_inside(block.name, block.count), len(self.packed)
                made = self._inside(block.inner, f"{id}-{at}", id, said, "inside")
                self.packed.insert(place, made)
        return tag("div", drawing, class_="pic") + below

    def _inside(self, network: Network, id: str, outer: str, words: str, kind: str) -> str:
        close = tag("a", "close", href=f"#{outer}", class_="close")
        head = tag("p", f"{tag('b', escape_text(words))} {close}")
        inner = self.render(network, id, None, is_shown=kind != "inside")
        return tag("div", head + inner, class_=kind, id=id, data_of=outer)

    def _link(self, network: Network, at: int, id: str) -> ColumnLink:
        """The row of the block in the table, and what is inside it."""
        block = network.blocks[at]
        row = next(filter(None, (self.locate(self.model, name) for name in block.rows)), None)
        return ColumnLink(f"#{row or id}", block.inner is not None, _find_common(block.rows))


def _find_common(names: Sequence[str]) -> str:
    """What the table is filtered by to show these rows: the path that all of them start with, or the first of them."""
    names = [name.split(" ")[0] for name in names]
    paths = [name.split(".") for name in names]
    shared = [words[0] for words in zip(*paths, strict=False) if len(set(words)) == 1]
    return ".".join(shared) + ("." if len(names) > 1 else "") if shared else names[0] if names else ""
