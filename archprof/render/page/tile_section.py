"""The numbers of a page's first screen."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase

from archprof import units
from archprof.analysis.report.page import ModelPage
from archprof.analysis.report.tiles import Tile
from archprof.render.page.markup import escape_sentence, escape_text, tag

MAX_WORDS = 80
"""Characters under a number that have room; the style cuts the rest, and it stands in the title."""


def render_tiles(models: Sequence[ModelPage]) -> str:
    """The numbers of a model; of several, each tile lists them all under one unit."""
    keys = dict.fromkeys(tile.key for model in models for tile in model.tiles)
    tiles = []
    for key in keys:
        same = [next((tile for tile in model.tiles if tile.key == key), None) for model in models]
        shown = next(tile for tile in same if tile)
        values = _values(same, models) if len(same) > 1 else _value(shown)
        tiles.append(tag("div", tag("dt", escape_text(shown.label)) + values, class_="tile", id=f"tile-{key}"))
    said = " · ".join(models[0].details) if len(models) == 1 else ""
    line = tag("p", escape_sentence(said), class_="details") if said else ""
    return tag("dl", "".join(tiles), class_="tiles many" if len(models) > 1 else "tiles") + line


def _value(tile: Tile) -> str:
    main = tag("dd", _amount(tile, [tile.value]), class_="value")
    words = tile.note
    if tile.second:
        words = f"{words}; {units.show_quantity(tile.second[0], tile.unit)} {tile.second[1]}".lstrip("; ")
    whole = words if len(words) > MAX_WORDS else None
    return main + (tag("dd", escape_sentence(words), class_="beside", title=whole) if words else "")


def _values(tiles: Sequence[Tile | None], models: Sequence[ModelPage]) -> str:
    values, lines = [tile.value if tile else None for tile in tiles], []
    for letter, tile, model in zip(ascii_uppercase, tiles, models, strict=False):
        who = tag("span", letter, class_="who", title=model.profile.model)
        amount = _amount(tile, values) if tile else tag("span", units.MISSING_MARK, class_="none")
        lines.append(tag("dd", who + amount, title=(tile.note or None) if tile else None))
    return "".join(lines)


def _amount(tile: Tile, values: Sequence[float | None]) -> str:
    """A number with its unit."""
    if tile.unit == "percent":
        number, symbol = f"{tile.value:.2f}", "%"
    else:
        scale = units.choose_unit_scale(values, tile.unit)
        number, symbol = scale.format(tile.value, tile.half_interval), scale.symbol
    least = "≥ " if tile.is_lower_bound else ""
    return tag("b", escape_text(least + number), data_v=repr(tile.value)) + tag("small", f" {escape_text(symbol)}")
