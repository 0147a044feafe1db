"""A table of several models has a block of columns for each metric: one block at a time, without a script."""

from __future__ import annotations

from archprof.analysis.metrics import METRIC_BY_KEY
from archprof.analysis.table import Table
from archprof.render.page.markup import escape_text, tag, void_tag

MIN_COLUMNS = 8
"""With fewer columns of numbers all stand side by side."""


def render_metric_switch(table: Table, id: str) -> str:
    """Radio buttons for the blocks of the table; nothing where it is narrow."""
    blocks = _find_blocks(table)
    buttons = [
        void_tag("input", type="radio", name=f"{id}-by", id=f"{id}-by-{key}", checked=not at)
        + tag("label", escape_text(_name_block(table, key)), for_=f"{id}-by-{key}")
        for at, key in enumerate(blocks)
    ]
    return tag("fieldset", tag("legend", "Shown") + "".join(buttons), class_="switch shown") if blocks else ""


def write_metric_style(table: Table, id: str) -> str:
    """What hides every other block on a screen; paper has room for all."""
    blocks = _find_blocks(table)
    rules = [
        f"#{id}:has(#{id}-by-{key}:checked) tr>:nth-child(n+{first + 1}):nth-child(-n+{last + 1}){{display:none}}"
        for key in blocks
        for other, (first, last) in blocks.items()
        if other != key
    ]
    return f"@media screen{{{''.join(rules)}}}" if rules else ""


def _find_blocks(table: Table) -> dict[str, tuple[int, int]]:
    """The first and last column of each block, by its metric; what belongs to no metric is a block too."""
    found: dict[str, tuple[int, int]] = {}
    for at, column in enumerate(table.columns[1:], 1):
        key = column.key.split("_ratio_")[0] if column.is_ratio else column.family or column.key
        found[key] = (found.get(key, (at, at))[0], at)
    return found if len(table.columns) > MIN_COLUMNS and len(found) > 1 else {}


def _name_block(table: Table, key: str) -> str:
    if key in METRIC_BY_KEY:
        return METRIC_BY_KEY[key].short_label
    return next(column.header for column in table.columns if column.key == key)
