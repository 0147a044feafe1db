"""The filters of a first convolution as pictures: 8x8 of them, before training, after it, and what changed."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from archprof.facts.trained import Filters
from archprof.render.page.markup import escape_text, tag, void_tag

GRID, GAP, SIDE = 8, 2, 272
"""Filters along a side, pixels between them, and about how wide the picture is."""

Filter = Sequence[Any]
"""(channel, row, column)."""

Pixel = tuple[int, int, int]


def render_filters(filters: Filters, name: str, id: str) -> str:
    """Three pictures beside one another, in one figure."""
    change = tuple(_subtract(after, before) for after, before in zip(filters.after, filters.before, strict=True))
    furthest = max((abs(value) for one in change for value in _flatten(one)), default=0.0)
    said = ("before", "after", "difference")
    images = [
        _embed(draw_grid(filters.before, _stretch), f"Filters of {filters.name} of {name} before training"),
        _embed(draw_grid(filters.after, _stretch), "The same after training"),
        _embed(draw_grid(change, lambda one: _around_grey(one, furthest)), "What training changed in them"),
    ]
    shown = "".join(tag("div", image + tag("span", word)) for image, word in zip(images, said, strict=True))
    caption = tag("figcaption", escape_text(f"{filters.name} of {name}; largest change {furthest:.3g}"))
    return tag("figure", caption + tag("div", shown, class_="filters"), class_="fig", id=id)


def draw_grid(filters: Sequence[Filter], colour: Callable[[Filter], list[list[Pixel]]]) -> bytes:
    """A PNG of the first 64 filters, in rows of eight; white where there are fewer."""
    high, wide = len(filters[0][0]), len(filters[0][0][0])
    scale = max(1, (SIDE // GRID - GAP) // max(high, wide))
    cell_high, cell_wide = high * scale + GAP, wide * scale + GAP
    rows = -(-min(len(filters), GRID * GRID) // GRID)
    picture = [[(255, 255, 255)] * (GRID * cell_wide) for _ in range(rows * cell_high)]
    for at, one in enumerate(filters[: GRID * GRID]):
        top, left = at // GRID * cell_high, at % GRID * cell_wide
        for y, line in enumerate(colour(one)):
            for x, pixel in enumerate(line):
                for down in range(scale):
                    start = left + x * scale
                    picture[top + y * scale + down][start : start + scale] = [pixel] * scale
    return encode_png(picture)


def encode_png(picture: Sequence[Sequence[Pixel]]) -> bytes:
    """Eight bits for each of red, green and blue: https://www.w3.org/TR/png-3/."""
    raw = b"".join(b"\0" + bytes(value for pixel in line for value in pixel) for line in picture)
    size = struct.pack(">IIBBBBB", len(picture[0]), len(picture), 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", size) + _chunk(b"IDAT", zlib.compress(raw, 9)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _stretch(one: Filter) -> list[list[Pixel]]:
    """Each filter from its least weight, black, to its greatest."""
    values = _flatten(one)
    low, span = min(values), (max(values) - min(values)) or 1.0
    return _colour(one, lambda value: (value - low) / span)


def _around_grey(one: Filter, furthest: float) -> list[list[Pixel]]:
    """No change is grey; the largest of all filters is black or full colour."""
    return _colour(one, lambda value: 0.5 + value / (2 * furthest) if furthest else 0.5)


def _colour(one: Filter, share: Callable[[float], float]) -> list[list[Pixel]]:
    """Red, green and blue where there are three channels; grey, by their mean, where there are others."""
    high, wide = range(len(one[0])), range(len(one[0][0]))
    if len(one) == 3:
        red, green, blue = one
        return [
            [(_byte(share(red[y][x])), _byte(share(green[y][x])), _byte(share(blue[y][x]))) for x in wide] for y in high
        ]
    means = [[_byte(share(sum(channel[y][x] for channel in one) / len(one))) for x in wide] for y in high]
    return [[(value, value, value) for value in line] for line in means]


def _byte(share: float) -> int:
    return round(255 * min(max(share, 0.0), 1.0))


def _subtract(after: Any, before: Any) -> Any:
    if isinstance(after, tuple):
        return tuple(_subtract(a, b) for a, b in zip(after, before, strict=True))
    return after - before


def _flatten(value: Any) -> list[float]:
    return [number for item in value for number in _flatten(item)] if isinstance(value, tuple) else [value]


def _embed(png: bytes, said: str) -> str:
    return void_tag("img", src=f"data:image/png;base64,{base64.b64encode(png).decode()}", alt=said)
