"""Aligned rows as they open on a page: those that changed."""

from __future__ import annotations

from collections.abc import Sequence

from archprof.analysis.table import OutlinedRow, Row
from archprof.analysis.tables.fold import MAX_SHOWN_ROWS


def outline_changes(rows: Sequence[Row], changed: Sequence[bool]) -> tuple[OutlinedRow, ...]:
    """Of many rows, those that changed and what they are part of; the others are closed away. None where few do not."""
    if len(rows) <= MAX_SHOWN_ROWS:
        return ()
    heads = [i for i, row in enumerate(rows) if not row.depth]
    ends = [*heads[1:], len(rows)]
    open_heads = {head for head, end in zip(heads, ends, strict=True) if any(changed[head:end])}
    few = sum(changed) <= MAX_SHOWN_ROWS - len(open_heads)
    made, head = [], 0
    for i, row in enumerate(rows):
        head = head if row.depth else i
        made.append(OutlinedRow(row, i, hidden=i != head and not (few and head in open_heads and changed[i])))
    return tuple(made)
