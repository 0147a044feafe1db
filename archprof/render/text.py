"""Tables for the terminal: a tree by path, one unit per column, never wider than it may be.

Where the page is too narrow, this gives way, in this order: long words, down to 24 cells in the first column, 20 in
other paths (cut in the middle), 20 in words (which go on in the next line) and 14 in kinds (cut at the end); whole
columns, by rank, which a line under the table then names, and the bars among them; the first column again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from rich.cells import cell_len, chop_cells, set_cell_size

from archprof.analysis.table import Column, Row, Table, explain_shown
from archprof.render.printed_columns import CellMarks, PrintedColumn, to_printed_columns
from archprof.units import Unit
from archprof.wording import make_visible

COLUMN_GAP = "  "
BAR_CELLS = 8
BARS = Column("", "", "share", "bars beside the first share", rank=4)
MIN_FIRST_CELLS = 24
MIN_CELLS: dict[Unit, int] = {"text": 14, "words": 20, "path": 20}

Paint = Callable[[str, str], str]
"""Text and a style of rich, to text with or without ANSI codes."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The signs a page is drawn with."""

    marks: CellMarks
    branch: str
    last: str
    through: str
    rule: str
    ellipsis: str
    bar: str
    """A full cell first, then the part cells from small to large."""


UNICODE_GLYPHS = Glyphs(CellMarks(make_visible), "├─ ", "└─ ", "│  ", "─", "…", "█▏▎▍▌▋▊▉")
ASCII_GLYPHS = Glyphs(
    CellMarks(lambda text: make_visible(text).encode("ascii", "backslashreplace").decode(), "-", ">= ", "x"),
    "|- ", "`- ", "|  ", "-", "~", "#",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PageColumn:
    """A column on the page; its unit says how its cells give way."""

    column: Column
    head: tuple[str, str]
    cells: list[str]
    total: str
    width: int
    right_aligned: bool = True
    shrinks_to: int | None = None
    is_bar: bool = False
    guides: list[str] = field(default_factory=list)

    @property
    def min_width(self) -> int:
        return self.width if self.shrinks_to is None else min(self.width, self.shrinks_to)


def render_text(table: Table, *, width: int | None, color: bool, unicode: bool = True) -> str:
    """The table as text that ends in a newline; no line is longer than `width` cells (`None`: as wide as needed)."""
    table, glyphs = table.shown, UNICODE_GLYPHS if unicode else ASCII_GLYPHS
    paint = _pen(color)
    blocks, dropped = _fit(_blocks(table, glyphs), width)
    blocks = [_narrowed(block, glyphs.ellipsis) for block in blocks]
    wide = _width(blocks)
    rule = paint(glyphs.rule * wide, "dim")
    lines = [paint(line, "bold") for line in _wrapped(glyphs.marks.escape(table.title), width or wide)]
    lines += ["", *_heads(blocks, paint), rule, *_body(table.rows, blocks, paint, glyphs.marks)]
    if table.total is not None:
        lines += [rule, _line([paint(_placed(block, block.total), "bold") for block in blocks])]
    shown = [explain_shown(note, {block.column.key for block in dropped}) for note in table.notes]
    notes = [glyphs.marks.escape(note) for note in [*filter(None, shown), *_left_out(dropped)]]
    page = width or max(wide, 80)
    lines += ["", *(paint(line, "dim") for note in notes for line in _wrapped(note, page))] if notes else []
    return "\n".join(lines) + "\n"


def _pen(color: bool) -> Paint:
    if not color:
        return lambda text, style: text
    from rich.style import Style

    return lambda text, style: Style.parse(style).render(text) if text.strip() else text


def _blocks(table: Table, glyphs: Glyphs) -> list[PageColumn]:
    """Every column at its natural width, with the bars behind the first share."""
    blocks: list[PageColumn] = []
    for i, printed in enumerate(to_printed_columns(table, glyphs.marks)):
        blocks.append(_first(table.rows, printed, glyphs) if i == 0 else _block(printed))
        if printed.column.unit == "share" and not any(block.is_bar for block in blocks):
            blocks.append(_bars(table, printed.column.key, glyphs.bar))
    return blocks


def _block(printed: PrintedColumn) -> PageColumn:
    printed = _aligned(printed) if printed.column.unit in ("seconds", "duration") else printed
    column, total = printed.column, printed.total or ""
    head = (printed.header, f"[{printed.symbol}]" if printed.symbol else "")
    width = max(map(cell_len, (*head, total, *printed.cells)))
    least, right = MIN_CELLS.get(column.unit), printed.right_aligned
    return PageColumn(column, head, printed.cells, total, width, right, least)


def _aligned(printed: PrintedColumn) -> PrintedColumn:
    """Measured times have as many decimals as say something: their points stand below each other all the same."""
    cells = [*printed.cells, *([] if printed.total is None else [printed.total])]
    decimals = [len(cell) - cell.find(".") if "." in cell else 0 for cell in cells]
    most = max(decimals, default=0)
    padded = [cell + " " * (most - own) for cell, own in zip(cells, decimals, strict=True)]
    return replace(printed, cells=padded[: len(printed.cells)], total=padded[-1] if printed.total is not None else None)


def _first(rows: Iterable[Row], printed: PrintedColumn, glyphs: Glyphs) -> PageColumn:
    """The column that names the rows: as a tree where the rows have depths."""
    names = [
        name if row.short is None else glyphs.marks.escape(row.short)
        for row, name in zip(rows, printed.cells, strict=True)
    ]
    guides = _guides([row.depth for row in rows], glyphs)
    block = _block(replace(printed, cells=[guide + name for guide, name in zip(guides, names, strict=True)]))
    return replace(block, cells=names, guides=guides, shrinks_to=MIN_FIRST_CELLS, right_aligned=False)


def _guides(depths: list[int], glyphs: Glyphs) -> list[str]:
    """The lines of the tree before each row; the outermost rows have none."""
    guides, follows = [], list[bool]()  # follows[d]: a later row of depth d hangs on the same row
    for depth in reversed(depths):
        del follows[depth + 1 :]
        follows += [False] * (depth + 1 - len(follows))
        outer = "".join(glyphs.through if on else " " * len(glyphs.through) for on in follows[1:depth])
        guides.append(outer + (glyphs.branch if follows[depth] else glyphs.last) if depth else "")
        follows[depth] = True
    return guides[::-1]


def _bars(table: Table, key: str, signs: str) -> PageColumn:
    """Shares as bars: a full one is the whole."""
    at = [column.key for column in table.columns].index(key)
    shares = [min(max(float(row.cells[at] or 0), 0.0), 1.0) for row in table.rows]  # type: ignore[arg-type]
    cells = [_bar(BAR_CELLS * share, signs) for share in shares]
    return PageColumn(BARS, ("", ""), cells, "", BAR_CELLS, right_aligned=False, is_bar=True)


def _bar(cells: float, signs: str) -> str:
    whole, part = divmod(round(cells * len(signs)), len(signs))
    return signs[0] * whole + (signs[part] if part else "")


def _fit(blocks: list[PageColumn], width: int | None) -> tuple[list[PageColumn], list[PageColumn]]:
    """The blocks that fit the page, at their widths there, and those that do not."""
    if width is None or _width(blocks) <= width:
        return blocks, []
    kept = list(blocks)
    dropped: list[PageColumn] = []
    while _least(kept) > width and len(kept) > 1:
        out = max(kept[1:], key=lambda block: block.column.rank)
        kept.remove(out)
        dropped.insert(0, out)
    spare = max(width - _least(kept), 0)
    sized = []
    for block in kept:
        more = min(spare, block.width - block.min_width)
        spare -= more
        sized.append(replace(block, width=min(block.min_width + more, width)))
    return sized, dropped


def _width(blocks: list[PageColumn]) -> int:
    return sum(block.width for block in blocks) + len(COLUMN_GAP) * (len(blocks) - 1)


def _least(blocks: list[PageColumn]) -> int:
    return sum(block.min_width for block in blocks) + len(COLUMN_GAP) * (len(blocks) - 1)


def _narrowed(block: PageColumn, ellipsis: str) -> PageColumn:
    """The block with every cell cut to its width, but for words."""
    guides = [set_cell_size(g, block.width) if len(g) > block.width else g for g in block.guides]
    rooms = [block.width - len(guide) for guide in guides] or [block.width] * len(block.cells)
    cut = _middle_out if block.column.unit == "path" else _end_off
    cells = [cut(cell, room, ellipsis) for cell, room in zip(block.cells, rooms, strict=True)]
    cells = block.cells if block.column.unit == "words" else cells
    head = (_end_off(block.head[0], block.width, ellipsis), block.head[1])
    return replace(block, cells=cells, guides=guides, head=head, total=_end_off(block.total, block.width, ellipsis))


def _end_off(text: str, room: int, ellipsis: str) -> str:
    """At most `room` cells of the text, from its start."""
    if cell_len(text) <= room:
        return text
    return set_cell_size(text, room - 1) + ellipsis if room > 1 else ellipsis[:room]


def _middle_out(text: str, room: int, ellipsis: str) -> str:
    """At most `room` cells of the text, more from its end than from its start: so a path is known."""
    if cell_len(text) <= room:
        return text
    front = max(room - 1, 0) // 3
    tail = set_cell_size(text[::-1], max(room - 1 - front, 0))[::-1].strip()
    return _end_off(set_cell_size(text, front) + ellipsis + tail, room, ellipsis)


def _heads(blocks: list[PageColumn], paint: Paint) -> Iterator[str]:
    yield _line([paint(_placed(block, block.head[0]), "bold") for block in blocks])
    if any(block.head[1] for block in blocks):
        yield _line([paint(_placed(block, block.head[1]), "dim") for block in blocks])


def _body(rows: Iterable[Row], blocks: list[PageColumn], paint: Paint, marks: CellMarks) -> Iterator[str]:
    for i, row in enumerate(rows):
        named = _named(blocks[0], i, row, paint)
        told = [list(_wrapped(block.cells[i], block.width)) if block.column.unit == "words" else [] for block in blocks]
        texts = [own[0] if own else block.cells[i] for own, block in zip(told, blocks, strict=True)]
        yield _line([named, *map(lambda block, text: _cell(block, text, paint, marks), blocks[1:], texts[1:])])
        for rest in zip_longest(*(own[1:] for own in told), fillvalue=""):
            yield _line([_placed(block, text) for block, text in zip(blocks, rest, strict=True)])


def _named(block: PageColumn, i: int, row: Row, paint: Paint) -> str:
    """The first cell: the tree in the background, a container set off from its parts."""
    guide, text = block.guides[i], block.cells[i]
    pad = " " * (block.width - len(guide) - cell_len(text))
    return paint(guide, "dim") + (paint(text, "bold") if row.subtotal else text) + pad


def _cell(block: PageColumn, text: str, paint: Paint, marks: CellMarks) -> str:
    """What is nothing steps back; what is not exact, and the bars, stand out."""
    placed = _placed(block, text)
    if text.strip() in ("0", marks.missing):
        return paint(placed, "dim")
    if block.right_aligned and text.startswith(marks.at_least):
        return paint(placed, "yellow")
    return paint(placed, "cyan") if block.is_bar else placed


def _placed(block: PageColumn, text: str) -> str:
    pad = " " * (block.width - cell_len(text))
    return pad + text if block.right_aligned else text + pad


def _line(cells: list[str]) -> str:
    return COLUMN_GAP.join(cells).rstrip()


def _left_out(blocks: list[PageColumn]) -> list[str]:
    """The columns that had no room, but those that only set others against each other."""
    told = [block for block in blocks if not block.is_bar and not block.column.is_ratio]
    names = ", ".join(dict.fromkeys(block.head[0] + " share" * (block.head[1] == "[%]") for block in told))
    return [f"Too narrow for: {names}."] if names else []


def _wrapped(text: str, width: int) -> Iterator[str]:
    """The text in lines of at most `width` cells, those after the first set in by two, of which none is a command."""
    return map(make_visible, _wrap(text, width))


def _wrap(text: str, width: int) -> Iterator[str]:
    line = ""
    for word in text.split():
        joined = f"{line} {word}" if line else word
        if cell_len(joined) <= width:
            line = joined
            continue
        if line:
            yield line
        *full, line = chop_cells(f"  {word}" if line else word, width)
        yield from full
    yield line
